"""What the PBX may ask in the middle of a transfer: hold, INFO, OPTIONS, a transfer of its own, an offer in the other direction."""

import asyncio

import pytest
from structlog.testing import capture_logs

from sipua.usage.subscription.outcome import TransferKind
from tests.support.pbx import EMPTY, REFER_DOCUMENT, Application, Stage, refer_after
from tests.support.wire import SDP, Wire

pytestmark = pytest.mark.looptime


def stage() -> Stage:
    return Stage(Application({"/voice": REFER_DOCUMENT, "/done": EMPTY}))


async def test_hold_info_and_options_during_a_transfer_change_nothing() -> None:
    async with stage() as made:
        call = await made.dial()
        call.on_transfer_request(refer_after((0.5, 180), (6.0, 200)))
        await asyncio.sleep(1)
        await call.hold()
        assert (await call.request("INFO", b"Signal=5", "application/dtmf-relay")).status == 200
        assert (await call.request("OPTIONS")).status == 200
        await call.resume()
        await call.wait_ended()
        (told,) = made.application.of("/done")
        assert told["CxmldReferOutcome"] == "transferred"


async def test_a_hold_right_after_the_answer_does_not_cost_the_transfer() -> None:
    async with stage() as made:
        call = await made.dial()
        call.on_transfer_request(refer_after((0.5, 486)))
        await call.hold()
        await call.wait_ended()
        assert made.application.of("/done")[0]["CxmldReferOutcome"] == "busy"


async def test_a_transfer_that_the_pbx_asks_for_is_declined() -> None:
    async with stage() as made:
        call = await made.dial()
        call.on_transfer_request(refer_after((3.0, 486)))
        outcome = await call.transfer("sip:elsewhere@10.0.0.3")
        assert (outcome.kind, outcome.refer_code) == (TransferKind.REJECTED, 603)
        await call.wait_ended()
        assert made.application.of("/done")[0]["CxmldReferOutcome"] == "busy"


async def test_a_call_without_an_offer_gets_ours_and_is_transferred() -> None:
    async with stage() as made:
        wire = await Wire().open(made.network)
        wire.send(wire.request("INVITE", call_id="late"))
        ok = await wire.final("INVITE")
        assert b"m=audio" in ok.body
        wire.send(wire.request("ACK", call_id="late", branch="ack", to_tag=ok.to.tag, body=SDP.format(host="10.0.0.9")))
        wire.answer(await wire.request_of("REFER"), 403)
        wire.answer(await wire.request_of("BYE"), 200)
        assert made.application.of("/done")[0]["ReferSipResponseCode"] == "403"


async def test_no_media_in_common_refuses_the_call_says_so_and_reports_the_transfer(caplog: pytest.LogCaptureFixture) -> None:
    async with stage() as made:
        wire = await Wire().open(made.network)
        wire.send(wire.invite(sdp=SDP.format(host="10.0.0.9").replace("RTP/AVP 0", "RTP/AVP 99")))
        assert (await wire.final("INVITE")).status == 488
        await asyncio.sleep(1)
        (told,) = made.application.of("/done")
        assert (told["CxmldReferOutcome"], told["CallStatus"]) == ("call_lost", "failed")
        (line,) = [text for text in caplog.messages if "refused with 488" in text]
        assert line.endswith("we speak PCMU and PCMA over RTP/AVP")
        await asyncio.sleep(70)
        assert made.leftovers() == dict.fromkeys(made.leftovers(), 0)


async def test_a_bye_of_the_pbx_has_its_reason_in_the_log_and_the_ending() -> None:
    async with stage() as made:
        call = await made.dial()
        call.on_transfer_request(refer_after((0.5, 180)))
        await asyncio.sleep(1)
        with capture_logs() as logs:
            await call.hangup(reason='Q.850;cause=16;text="bye"')
            await asyncio.sleep(5)
        (line,) = [line for line in logs if line["event"] == "call_ended"]
        assert (line["q850_cause"], line["answered_elsewhere"]) == (16, False)
        ((ended, _),) = made.observer.ended
        assert ended.sip.ending is not None
        assert ended.sip.ending.reason == 'Q.850;cause=16;text="bye"'


async def test_the_bye_after_a_transfer_says_so() -> None:
    async with stage() as made:
        call = await made.dial()
        call.on_transfer_request(refer_after((0.5, 200)))
        assert (await call.wait_ended()).reason == 'SIP;cause=200;text="transferred"'
