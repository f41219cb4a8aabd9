"""The caller hangs up, at every moment a call has: the action request comes exactly once, or not at all, and nothing is left."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from cxml.access.peers import ReferRules
from sipua.message import Response
from sipua.transport.memory import Packet
from sipua.usage.call.referred import IncomingTransfer
from tests.support.pbx import EMPTY, REFER_DOCUMENT, Application, Stage, refer_after
from tests.support.wire import Wire

pytestmark = pytest.mark.looptime

QUIET_S = 70.0


def status_lines(stage: Stage) -> list[str]:
    return [str(call.status) for call, _ in stage.observer.ended]


async def settled(stage: Stage) -> None:
    await asyncio.sleep(QUIET_S)
    assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)


class SlowApplication(Application):
    """Answers after some seconds."""

    delay_s = 5.0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        response = Application.__call__(self, request)
        await asyncio.sleep(self.delay_s)
        return response


def slow_stage(pages: dict[str, str], **settings: object) -> tuple[SlowApplication, Stage]:
    application = SlowApplication(dict(pages))
    stage = Stage(application, **settings)  # type: ignore[arg-type]
    stage.application = application.answer  # type: ignore[assignment]
    return application, stage


async def test_a_caller_who_gives_up_while_the_application_thinks_is_cancelled_and_asks_nothing_more() -> None:
    application, stage = slow_stage({"/voice": REFER_DOCUMENT, "/done": EMPTY})
    async with stage:
        call = await stage.pbx.call("sip:1000@10.0.0.1")
        await asyncio.sleep(1.0)
        await call.hangup()
        await call.wait_ended()
        await asyncio.sleep(0.1)
        assert status_lines(stage) == ["canceled"]
        assert stage.reasons == ["call_ended"]
        await settled(stage)
        assert application.of("/done") == []
        assert len(application.of("/voice")) == 1


async def test_a_caller_who_gives_up_during_a_pause_before_the_answer_is_cancelled() -> None:
    page = "<Response><Pause length='10'/><Redirect>/done</Redirect></Response>"
    async with Stage(Application({"/voice": page, "/done": EMPTY})) as stage:
        call = await stage.pbx.call("sip:1000@10.0.0.1")
        await asyncio.sleep(2.0)
        await call.hangup()
        await settled(stage)
        assert status_lines(stage) == ["canceled"]
        assert stage.application.of("/done") == []


async def test_bye_instead_of_ack_still_reports_the_transfer_that_never_began() -> None:
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})) as stage:
        wire = await Wire().open(stage.network)
        wire.send(wire.invite())
        ok = await wire.final("INVITE")
        wire.send(wire.request("BYE", number=2, call_id=ok.call_id, to_tag=ok.to.tag))
        assert (await wire.final("BYE")).status == 200
        await settled(stage)
        (told,) = stage.application.of("/done")
        assert told["CxmldReferOutcome"] == "call_lost"
        assert told["ReferCallStatus"] == "failed"
        assert "ReferSipResponseCode" not in told
        assert [result.kind for result in stage.observer.transfers] == [told["CxmldReferOutcome"]]
        assert stage.seen("REFER") == []


async def test_a_caller_who_hangs_up_between_ack_and_refer_is_reported_as_lost() -> None:
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": EMPTY}), rules=ReferRules(settle_s=2.0)) as stage:
        call = await stage.dial()
        await asyncio.sleep(0.5)
        await call.hangup()
        await settled(stage)
        (told,) = stage.application.of("/done")
        assert (told["CxmldReferOutcome"], told["ReferCallStatus"], told["CallStatus"]) == ("call_lost", "failed", "completed")
        assert stage.seen("REFER") == []


Handler = Callable[[IncomingTransfer], None]


def ignoring(_transfer: IncomingTransfer) -> None:
    """Never decide."""


@pytest.mark.parametrize(
    ("handler", "after_s", "expected"),
    [
        # while the REFER has no answer: it is waited for; our PBX gives one after 25 s
        (ignoring, 0.5, {"CxmldReferOutcome": "rejected", "ReferCallStatus": "failed", "ReferSipResponseCode": "603"}),
        # accepted, ringing, then BYE
        (
            refer_after((0.2, 180)),
            3.0,
            {
                "CxmldReferOutcome": "peer_hangup",
                "ReferCallStatus": "canceled",
                "ReferSipResponseCode": "202",
                "NotifySipResponseCode": "180",
            },
        ),
        # the BYE overtakes the truth by a second
        (
            refer_after((0.2, 180), (4.0, 200)),
            3.0,
            {
                "CxmldReferOutcome": "transferred",
                "ReferCallStatus": "in-progress",
                "ReferSipResponseCode": "202",
                "NotifySipResponseCode": "200",
            },
        ),
    ],
)
async def test_a_caller_who_hangs_up_during_a_transfer_gets_the_outcome_reported_once(
    handler: Handler, after_s: float, expected: dict[str, str]
) -> None:
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})) as stage:
        call = await stage.dial()
        call.on_transfer_request(handler)
        await asyncio.sleep(after_s)
        await call.hangup()
        await asyncio.sleep(QUIET_S)
        (told,) = stage.application.of("/done")
        names = ("CxmldReferOutcome", "ReferCallStatus", "ReferSipResponseCode", "NotifySipResponseCode")
        assert {name: told[name] for name in names if name in told} == expected
        assert told["CallStatus"] == "completed"
        assert status_lines(stage) == ["completed"]
        await asyncio.sleep(200)  # the transferee's own subscription ends by itself
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)


@pytest.mark.parametrize(("on_bye", "status"), [("canceled", "canceled"), ("success", "in-progress"), ("unknown", None)])
async def test_what_a_bye_without_result_means_is_the_peers_rule(on_bye: str, status: str | None) -> None:
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": EMPTY}), rules=ReferRules(on_bye=on_bye)) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((0.2, 180)))
        await asyncio.sleep(3.0)
        await call.hangup()
        await asyncio.sleep(5.0)
        (told,) = stage.application.of("/done")
        assert told.get("ReferCallStatus") == status
        assert told["CxmldReferOutcome"] == "peer_hangup"


async def test_a_caller_who_hangs_up_during_the_action_request_lets_it_finish_and_its_document_is_dropped() -> None:
    application, stage = slow_stage({"/voice": REFER_DOCUMENT, "/done": "<Response><Redirect>/then</Redirect></Response>", "/then": EMPTY})
    async with stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((0.5, 486)))
        await asyncio.sleep(2.0)
        assert len(application.of("/done")) == 1
        await call.hangup()
        await settled(stage)
        assert len(application.of("/done")) == 1
        assert application.of("/done")[0]["CallStatus"] == "in-progress"
        assert application.of("/then") == []


async def test_a_caller_who_hangs_up_during_a_redirect_ends_the_documents() -> None:
    _, stage = slow_stage({"/voice": "<Response><Redirect>/then</Redirect></Response>", "/then": EMPTY})
    async with stage:
        call = await stage.pbx.call("sip:1000@10.0.0.1")
        await asyncio.sleep(7.0)
        await call.hangup()
        await settled(stage)
        assert stage.reasons == ["call_ended"]


# -- peers that fall silent ---------------------------------------------------------------------------------------------------------------


def sends(word: bytes, source: str) -> Callable[[Packet], bool]:
    return lambda packet: packet.source[0] == source and packet.data.startswith(word)


async def test_a_caller_who_never_acknowledges_is_hung_up_after_32_s_and_the_action_is_told() -> None:
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})) as stage:
        wire = await Wire().open(stage.network)
        wire.send(wire.invite())
        await wire.final("INVITE")
        await asyncio.sleep(40)
        assert any(message.startswith(b"BYE") for message in wire.received)
        assert wire.statuses("INVITE").count(200) >= 8  # repeated until given up
        (told,) = stage.application.of("/done")
        assert told["CxmldReferOutcome"] == "call_lost"
        await settled(stage)
        assert status_lines(stage) == ["completed"]


async def test_a_pbx_that_vanishes_after_the_ack_costs_64_t1_and_one_action_request() -> None:
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": "<Response><Redirect>/then</Redirect></Response>"})) as stage:
        wire = await Wire().open(stage.network)
        wire.send(wire.invite())
        wire.ack(await wire.final("INVITE"))
        await asyncio.sleep(0.05)
        wire.close()
        await asyncio.sleep(35)
        (told,) = stage.application.of("/done")
        assert (told["CxmldReferOutcome"], told["ReferSipResponseCode"], told["ReferCallStatus"]) == ("no_response", "408", "failed")
        await settled(stage)


async def test_a_pbx_that_accepts_and_never_notifies_is_given_up_by_timer_n() -> None:
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})) as stage:
        stage.network.drop(sends(b"NOTIFY", "10.0.0.2"))
        call = await stage.dial()
        call.on_transfer_request(refer_after())
        await call.wait_ended()
        (told,) = stage.application.of("/done")
        assert told["CxmldReferOutcome"] == "notify_timeout"
        assert "ReferCallStatus" not in told
        assert told["CallStatus"] == "in-progress"


async def test_a_pbx_that_does_not_answer_bye_leaves_nothing_behind() -> None:
    page = "<Response><Hangup/></Response>"
    async with Stage(Application({"/voice": page})) as stage:
        wire = await Wire().open(stage.network)
        wire.send(wire.invite())
        wire.ack(await wire.final("INVITE"))
        await settled(stage)
        assert sum(message.startswith(b"BYE") for message in wire.received) == 11  # RFC 3261 §17.1.2.2 with T2 = 4 s
        assert stage.reasons == ["hangup"]


async def test_a_pbx_that_has_lost_the_call_gets_no_further_verb() -> None:
    page = "<Response><Refer action='/done'><Sip>sip:a@b.example</Sip></Refer></Response>"
    async with Stage(Application({"/voice": page, "/done": "<Response><Redirect>/then</Redirect></Response>"})) as stage:
        wire = await Wire().open(stage.network)
        wire.send(wire.invite())
        wire.ack(await wire.final("INVITE"))
        await asyncio.sleep(0.5)
        refer = next(data.decode() for data in wire.received if data.startswith(b"REFER"))
        head = "\r\n".join(line for line in refer.split("\r\n")[1:] if line.split(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq"))
        wire.send(f"SIP/2.0 481 Gone\r\n{head}\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(1.0)
        (told,) = stage.application.of("/done")
        assert (told["CxmldReferOutcome"], told["ReferSipResponseCode"]) == ("call_lost", "481")
        assert told["CallStatus"] == "completed"
        await settled(stage)
        assert stage.application.of("/then") == []


async def test_the_same_invite_again_is_one_call() -> None:
    async with Stage(Application({"/voice": "<Response><Pause length='3'/><Reject/></Response>"})) as stage:
        wire = await Wire().open(stage.network)
        for _ in range(3):
            wire.send(wire.invite())
            await asyncio.sleep(0.3)
        # the same Call-ID, tags and number by another way: merged (RFC 3261 §8.2.2.2)
        wire.send(wire.invite(branch="other-way"))
        assert isinstance(answer := await wire.final("INVITE"), Response)
        assert answer.status == 482
        await asyncio.sleep(3)
        assert any(data.startswith(b"SIP/2.0 603") for data in wire.received)
        assert len(stage.application.of("/voice")) == 1


async def test_daemon_that_stops_while_an_ack_is_missing_tells_the_action_at_once_and_hangs_up() -> None:
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})) as stage:
        wire = await Wire().open(stage.network)
        wire.send(wire.invite())
        assert (await wire.final("INVITE")).status == 200
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await stage.registry.drain(0.0, 10.0) == 1
        assert loop.time() - began < 1.0
        assert [told["CxmldReferOutcome"] for told in stage.application.of("/done")] == ["call_lost"]
        await stage.daemon.aclose(4.0)
        assert any(data.startswith(b"BYE ") for data in wire.received)
