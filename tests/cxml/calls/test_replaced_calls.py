"""An attended transfer exchanges the party that a document talks to: the document goes on with the new one (RFC 3891)."""

import asyncio

import pytest
from structlog.testing import capture_logs

from cxml.calls.registry import CallLimits
from sipua.errors import CallFailedError
from sipua.usage.call.call import Call
from tests.support.pbx import EMPTY, Application, Stage, refer_after

pytestmark = pytest.mark.looptime

TARGET = "sip:1000@10.0.0.1"
DOCUMENT = "<Response><Pause length='{pause}'/><Refer action='/done'><Sip>sip:target@10.0.0.9</Sip></Refer></Response>"


def stage(pause: int = 20, limits: CallLimits | None = None) -> Stage:
    # Pause answers nothing by itself: a first, failing transfer answers the call
    first = "<Response><Refer><Sip>sip:nobody@10.0.0.9</Sip></Refer>" + DOCUMENT.format(pause=pause).removeprefix("<Response>")
    return Stage(Application({"/voice": first, "/done": EMPTY}), limits=limits)


def refuse_transfers(call: Call) -> None:
    call.on_transfer_request(lambda transfer: transfer.reject(403))


def pointing_at(call: Call) -> dict[str, str]:
    """What the new party of *call*, a call of the PBX, writes: the tag of the daemon is the one that receives."""
    dialog = call.dialog_as_plain()
    return {"Replaces": f"{dialog['call_id']};to-tag={dialog['remote_tag']};from-tag={dialog['local_tag']}"}


async def test_the_document_goes_on_with_the_new_party_and_transfers_it() -> None:
    async with stage() as made:
        old = await made.dial()
        refuse_transfers(old)
        await asyncio.sleep(5)
        with capture_logs() as logs:
            new = await made.pbx.call(TARGET, headers=pointing_at(old), caller="<sip:boss@10.0.0.2>")
            new.on_transfer_request(refer_after((0.5, 180), (2.0, 200)))
            await new.wait_answered()
            ending = await old.wait_ended()
            assert ending.reason == 'SIP;cause=200;text="Replaced"'
            await asyncio.sleep(5)
            assert len(made.registry) == 1
            assert not new.is_ended
            await new.wait_ended()
        (done,) = made.application.of("/done")
        (voice,) = made.application.of("/voice")
        assert (done["CxmldReferOutcome"], done["CallStatus"]) == ("transferred", "in-progress")
        assert done["CallSid"] == voice["CallSid"]
        assert done["SipCallId"] == voice["SipCallId"] == old.id
        (line,) = [line for line in logs if line["event"] == "call_replaced"]
        assert (line["former_sip_call_id"], line["sip_call_id"], line["from_"]) == (old.id, new.id, "sip:boss@10.0.0.2")
        assert line["call_sid"] == voice["CallSid"]
        await asyncio.sleep(70)
        assert made.leftovers() == dict.fromkeys(made.leftovers(), 0)


async def test_a_limit_of_calls_does_not_forbid_to_exchange_the_party() -> None:
    async with stage(limits=CallLimits(max_calls=1)) as made:
        old = await made.dial()
        refuse_transfers(old)
        await asyncio.sleep(3)
        second = await made.pbx.call(TARGET)
        with pytest.raises(CallFailedError) as refused:
            await second.wait_answered()
        assert refused.value.status == 503
        new = await made.pbx.call(TARGET, headers=pointing_at(old))
        await new.wait_answered()
        await old.wait_ended()
        await new.hangup()
        await asyncio.sleep(70)
        assert made.leftovers() == dict.fromkeys(made.leftovers(), 0)
        assert len(made.observer.ended) == 1


async def test_a_hangup_of_the_new_party_ends_the_document() -> None:
    async with stage() as made:
        old = await made.dial()
        refuse_transfers(old)
        await asyncio.sleep(3)
        new = await made.pbx.call(TARGET, headers=pointing_at(old))
        await new.wait_answered()
        await asyncio.sleep(1)
        await new.hangup()
        await asyncio.sleep(5)
        ((ended, _),) = made.observer.ended
        assert ended.sip.id == new.id
        assert str(ended.status) == "completed"


async def test_a_call_that_is_not_answered_yet_is_not_replaced() -> None:
    async with Stage(Application({"/voice": "<Response><Pause length='30'/></Response>"})) as made:
        old = await made.pbx.call(TARGET)
        await asyncio.sleep(3)
        new = await made.pbx.call(TARGET, headers=pointing_at(old))
        with pytest.raises(CallFailedError) as refused:
            await new.wait_answered()
        assert refused.value.status == 481
        await old.hangup()


async def test_a_transfer_that_waits_is_canceled_and_the_document_transfers_the_new_party() -> None:
    again = "<Response><Refer action='/second'><Sip>sip:target@10.0.0.9</Sip></Refer></Response>"
    first = "<Response><Refer action='/first'><Sip>sip:target@10.0.0.9</Sip></Refer></Response>"
    async with Stage(Application({"/voice": first, "/first": again, "/second": EMPTY})) as made:
        old = await made.pbx.call(TARGET)
        old.on_transfer_request(refer_after((0.5, 180)))  # it rings for ever
        await old.wait_answered()
        await asyncio.sleep(5)
        new = await made.pbx.call(TARGET, headers=pointing_at(old))
        new.on_transfer_request(refer_after((0.5, 180), (2.0, 200)))
        await new.wait_answered()
        await old.wait_ended()
        await new.wait_ended()
        (canceled,) = made.application.of("/first")
        assert (canceled["CxmldReferOutcome"], canceled["ReferCallStatus"]) == ("local_hangup", "canceled")
        assert (canceled["CallStatus"], canceled["NotifySipResponseCode"]) == ("in-progress", "180")
        (done,) = made.application.of("/second")
        assert done["CxmldReferOutcome"] == "transferred"
        assert done["CallSid"] == canceled["CallSid"]
        await asyncio.sleep(700)  # the PBX never ends its report: the subscription expires
        assert made.leftovers() == dict.fromkeys(made.leftovers(), 0)
