"""Admission, limits, drain, peers' own rules, and calls that run side by side, on the in-memory network."""

import asyncio

import httpx
import pytest
from structlog.testing import capture_logs

from cxml.access.peers import ReferRules
from cxml.calls.facts import SidStyle
from cxml.calls.registry import CallLimits
from sipua.auth import Credential
from sipua.errors import CallFailedError
from sipua.message import Response
from sipua.usage.subscription.refer import ReferSettings
from tests.support.pbx import EMPTY, REFER_DOCUMENT, Application, Page, Stage, refer_after
from tests.support.wire import Wire

pytestmark = pytest.mark.looptime

WAIT = "<Response><Refer action='/done'><Sip>sip:target@10.0.0.3</Sip></Refer></Response>"
THINK = "<Response><Pause length='5'/><Reject/></Response>"
STRANGER = "192.0.2.66"


async def settled(stage: Stage) -> None:
    await asyncio.sleep(70)
    assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)


# -- who may call ------------------------------------------------------------------------------------------------------------------------


async def test_strangers_are_refused_and_logged_once_in_an_interval() -> None:
    with capture_logs() as logs:
        async with Stage(Application({"/voice": THINK})) as stage:
            wire = await Wire(STRANGER).open(stage.network)
            for number in range(20):
                wire.send(wire.invite(call_id=f"c{number}"))
                await asyncio.sleep(0.1)
            assert set(wire.statuses("INVITE")) == {403}
            await asyncio.sleep(10)
            wire.send(wire.invite(call_id="again"))
            await asyncio.sleep(1)
            assert stage.observer.refused == ["stranger"] * 21
            assert stage.application.requests == []
            await settled(stage)
    lines = [line for line in logs if line["event"] == "request_refused"]
    assert [line["held_back"] for line in lines] == [0, 19]
    assert lines[0]["source"] == f"udp:{STRANGER}:5060"
    assert lines[0]["reason"] == "stranger"


async def test_options_of_strangers_are_refused() -> None:
    async with Stage(Application({})) as stage:
        wire = await Wire(STRANGER).open(stage.network)
        wire.send(wire.request("OPTIONS"))
        assert (await wire.final("OPTIONS")).status == 403
        assert stage.observer.refused == ["stranger"]


async def test_options_of_a_peer_are_answered() -> None:
    async with Stage(Application({})) as stage:
        response = await stage.pbx.options("sip:10.0.0.1")
        assert response.status == 200
        assert "REFER" in (response.headers.get("Allow") or "")


@pytest.mark.parametrize(("method", "status"), [("REGISTER", 405), ("MESSAGE", 405), ("SUBSCRIBE", 489), ("BYE", 481), ("NOTIFY", 489)])
async def test_requests_that_the_daemon_has_no_use_for_are_refused(method: str, status: int) -> None:
    async with Stage(Application({})) as stage:
        wire = await Wire().open(stage.network)
        wire.send(wire.request(method, extra=("Event: presence",)))
        assert (await wire.final(method)).status == status


# -- limits ------------------------------------------------------------------------------------------------------------------------------


async def test_calls_beyond_the_limit_get_503_and_a_time_to_come_back() -> None:
    with capture_logs() as logs:
        async with Stage(Application({"/voice": THINK}), limits=CallLimits(max_calls=2)) as stage:
            wire = await Wire().open(stage.network)
            for number in range(5):
                wire.send(wire.invite(call_id=f"c{number}"))
            await asyncio.sleep(1)
            assert set(wire.statuses("INVITE")) == {180, 503}
            refusals = [m for m in wire.messages if getattr(m, "status", 0) == 503]
            assert len({m.call_id for m in refusals}) == 3
            assert {5 <= int(m.headers.get("Retry-After") or 0) <= 15 for m in refusals} == {True}
            await asyncio.sleep(10)
            wire.send(wire.invite(call_id="later"))
            await asyncio.sleep(1)
            assert {m.status for m in wire.messages if isinstance(m, Response) and m.call_id == "later"} == {180}
    assert [line["reason"] for line in logs if line["event"] == "request_refused"] == ["max_calls"]


async def test_calls_of_one_read_over_a_stream_do_not_overrun_the_limit() -> None:
    async with Stage(Application({"/voice": THINK}), limits=CallLimits(max_calls=2)) as stage:
        opened: list[bytes] = []

        class Receiver:
            def on_data(self, data: bytes) -> None:
                opened.append(data)

            def on_closed(self) -> None:
                return

        stream = await stage.network.host("10.0.0.9").connect_tcp("10.0.0.1", 5060, lambda _stream: Receiver())
        wire = Wire()
        stream.write("".join(wire.invite(call_id=f"c{n}").replace("SIP/2.0/UDP", "SIP/2.0/TCP") for n in range(6)).encode())
        await asyncio.sleep(1)
        assert len(stage.observer.began) == 2
        assert stage.observer.refused == ["max_calls"] * 4
        stream.close()
        await settled(stage)


async def test_calls_that_come_too_fast_get_503() -> None:
    async with Stage(Application({"/voice": THINK}), limits=CallLimits(max_calls_per_s=3)) as stage:
        wire = await Wire().open(stage.network)
        for number in range(10):
            wire.send(wire.invite(call_id=f"c{number}"))
        await asyncio.sleep(0.2)
        assert len(stage.observer.began) == 3
        assert stage.observer.refused == ["max_calls_per_s"] * 7
        await asyncio.sleep(1)
        wire.send(wire.invite(call_id="next"))
        await asyncio.sleep(0.2)
        assert len(stage.observer.began) == 4


# -- drain -------------------------------------------------------------------------------------------------------------------------------


async def test_a_draining_daemon_refuses_calls_and_options_and_lets_a_transfer_finish() -> None:
    async with Stage(Application({"/voice": WAIT, "/done": "<Response><Pause length='2'/></Response>"})) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((5.0, 200)))
        await asyncio.sleep(1)
        drain = asyncio.create_task(stage.registry.drain(60, 10))
        await asyncio.sleep(1)
        with pytest.raises(CallFailedError) as refused:
            await stage.dial()
        assert refused.value.status == 503
        assert (await stage.pbx.options("sip:10.0.0.1")).status == 503
        assert await drain == 0
        assert stage.application.of("/done")[0]["CxmldReferOutcome"] == "transferred"
        assert stage.reasons == ["completed"]
        await settled(stage)


async def test_a_drain_that_runs_out_of_time_hangs_up_and_still_tells_the_outcome() -> None:
    with capture_logs() as logs:
        async with Stage(Application({"/voice": WAIT, "/done": EMPTY})) as stage:
            call = await stage.dial()
            call.on_transfer_request(refer_after((0.5, 180)))
            await asyncio.sleep(2)
            assert await stage.registry.drain(5, 10) == 1
            (told,) = stage.application.of("/done")
            assert (told["CxmldReferOutcome"], told["ReferCallStatus"], told["CallStatus"]) == ("local_hangup", "canceled", "completed")
            await call.wait_ended()
            assert len(stage.registry) == 0
    (line,) = [line for line in logs if line["event"] == "call_ended"]
    assert (line["why"], line["documents"], line["verbs"]) == ("cut_off", 1, 0)


async def test_an_unanswered_call_that_a_drain_ends_is_refused() -> None:
    async with Stage(Application({"/voice": "<Response><Pause length='500'/><Reject/></Response>"})) as stage:
        call = await stage.pbx.call("sip:1000@10.0.0.1")
        await asyncio.sleep(1)
        assert await stage.registry.drain(3, 10) == 1
        ending = await call.wait_ended()
        assert ending.status == 480
        assert [str(ended.status) for ended, _ in stage.observer.ended] == ["no-answer"]
        await settled(stage)


async def test_an_action_that_hangs_at_shutdown_is_cut_off_after_the_grace_and_stays_in_the_journal() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/done":
            await asyncio.sleep(14.0)
        return httpx.Response(200, content=WAIT, headers={"Content-Type": "text/xml"})

    stage = Stage(Application({}))
    stage.application = hang  # type: ignore[assignment]  # MockTransport takes an asynchronous handler as well
    async with stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((0.5, 486)))
        await asyncio.sleep(2)
        begun = asyncio.get_running_loop().time()
        assert await stage.registry.drain(0, 4) == 1
        assert asyncio.get_running_loop().time() - begun == pytest.approx(4.0, abs=0.2)
        (position,) = stage.journal.positions()
        assert position.pending["CxmldReferOutcome"] == "busy"
        assert len(stage.registry) == 0


# -- peers' own rules --------------------------------------------------------------------------------------------------------------------

CHALLENGE = 'Digest realm="pbx", nonce="n1", algorithm=MD5, qop="auth"'


async def challenged(stage: Stage) -> Wire:
    wire = await Wire().open(stage.network)
    wire.send(wire.invite())
    wire.ack(await wire.final("INVITE"))
    wire.answer(await wire.request_of("REFER"), 407, ("Proxy-Authenticate", CHALLENGE))
    return wire


async def test_a_challenged_refer_and_bye_are_sent_again_with_the_peers_password() -> None:
    async with Stage(Application({"/voice": WAIT, "/done": EMPTY}), credentials=(Credential("daemon", "s3cret"),)) as stage:
        wire = await challenged(stage)
        again = await wire.request_of("REFER", 2)
        assert 'username="daemon"' in (again.headers.get("Proxy-Authorization") or "")
        wire.answer(again, 603)
        bye = await wire.request_of("BYE")
        wire.answer(bye, 407, ("Proxy-Authenticate", CHALLENGE.replace("n1", "n2") + ", stale=true"))
        second = await wire.request_of("BYE", 2)
        assert 'nonce="n2"' in (second.headers.get("Proxy-Authorization") or "")
        wire.answer(second, 200)
        (told,) = stage.application.of("/done")
        assert (told["CxmldReferOutcome"], told["ReferSipResponseCode"]) == ("rejected", "603")
        await settled(stage)


async def test_a_challenge_without_a_password_is_reported() -> None:
    async with Stage(Application({"/voice": WAIT, "/done": EMPTY})) as stage:
        wire = await challenged(stage)
        wire.answer(await wire.request_of("BYE"), 200)
        (told,) = stage.application.of("/done")
        assert (told["CxmldReferOutcome"], told["ReferSipResponseCode"]) == ("unauthenticated", "407")


async def test_the_wait_for_notify_is_the_peers() -> None:
    rules = ReferRules(ReferSettings(notify_timeout_s=7.0))
    async with Stage(Application({"/voice": WAIT, "/done": EMPTY}), rules=rules) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((0.5, 180)))
        begun = asyncio.get_running_loop().time()
        await call.wait_ended()
        assert 7.0 <= asyncio.get_running_loop().time() - begun < 9.5
        assert stage.application.of("/done")[0]["CxmldReferOutcome"] == "notify_timeout"


async def test_a_refused_target_gives_one_warning_that_names_the_setting() -> None:
    with capture_logs() as logs:
        async with Stage(Application({"/voice": WAIT, "/done": EMPTY}), rules=ReferRules(is_allowed=lambda _uri: False)) as stage:
            call = await stage.dial()
            await call.wait_ended()
            told = stage.application.of("/done")[0]
            assert (told["CxmldReferOutcome"], told["ReferCallStatus"]) == ("invalid_target", "failed")
    (line,) = [line for line in logs if line["log_level"] == "warning"]
    assert (line["event"], "[refer] allow" in line["remedy"]) == ("refer_target_refused", True)
    assert line["target"].startswith("sip:")
    assert all(line[key] for key in ("peer", "call_sid", "sip_call_id"))


# -- what requests carry -----------------------------------------------------------------------------------------------------------------


async def test_the_first_request_carries_everything_that_the_invite_says() -> None:
    async with Stage(Application({"/voice": THINK}), sid_style=SidStyle.TWILIO) as stage:
        wire = await Wire().open(stage.network)
        extra = ("X-Account: 7", "Diversion: <sip:boss@x.example>", "Subject: hidden")
        wire.send(
            wire.invite(
                from_='"Zoë" <sip:zoe@[2001:db8::9]:5070;transport=udp>',
                to="<sip:ivr@pbx.example>",
                uri="sip:ivr@10.0.0.1:5060",
                extra=extra,
            )
        )
        await asyncio.sleep(1)
        (params,) = stage.application.of("/voice")
        assert params.pop("CallSid").startswith("CA")
        assert params == {
            "AccountSid": "AC1",
            "ApiVersion": "2010-04-01",
            "Direction": "inbound",
            "CallStatus": "ringing",
            "From": "sip:zoe@[2001:db8::9]:5070",
            "To": "sip:ivr@pbx.example",
            "CallerName": "Zoë",
            "ForwardedFrom": "sip:boss@x.example",
            "SipCallId": "wire-call",
            "SipSourceIp": "10.0.0.9",
            "SipUser": "ivr",
            "SipDomain": "10.0.0.1",
            "SipHeader_X-Account": "7",
        }


async def test_a_call_from_a_telephone_number_is_taken() -> None:
    async with Stage(Application({"/voice": THINK})) as stage:
        wire = await Wire().open(stage.network)
        wire.send(wire.invite(from_="<tel:+4930123>"))
        assert (await wire.final("INVITE")).status == 603
        assert stage.application.of("/voice")[0]["From"] == "+4930123"


async def test_a_caller_over_ipv6_is_told_by_its_address() -> None:
    stage = Stage(Application({"/voice": THINK}))
    daemon = stage.network.host("2001:db8::1")
    stage.daemon = type(stage.daemon)(listen=["udp:[2001:db8::1]:5060"], network=daemon)
    async with stage:
        wire = await Wire("2001:db8::9", ("2001:db8::1", 5060)).open(stage.network)
        wire.send(wire.invite(from_="<sip:9@[2001:db8::9]>", to="<sip:1000@[2001:db8::1]>", uri="sip:1000@[2001:db8::1]"))
        assert (await wire.final("INVITE")).status == 603
        (params,) = stage.application.of("/voice")
        assert (params["SipSourceIp"], params["SipDomain"], params["From"]) == ("2001:db8::9", "2001:db8::1", "sip:9@[2001:db8::9]")


async def test_calls_side_by_side_keep_their_cookies_sids_and_outcomes_apart() -> None:
    pages: dict[str, Page] = {
        "/voice": lambda params: httpx.Response(
            200, content=WAIT, headers={"Content-Type": "text/xml", "Set-Cookie": f"who={params['SipUser']}; Path=/"}
        ),
        "/done": EMPTY,
    }
    async with Stage(Application(dict(pages))) as stage:
        codes = {"1": 200, "2": 486, "3": 603}

        async def one(user: str) -> None:
            call = await stage.dial(f"sip:{user}@10.0.0.1")
            call.on_transfer_request(refer_after((1.0, codes[user])))
            await call.wait_ended()

        await asyncio.gather(*(one(user) for user in codes))
        application = stage.application
        asked = [(path, params, headers) for (path, params), headers in zip(application.requests, application.headers, strict=True)]
        sids = {params["SipUser"]: params["CallSid"] for path, params, _ in asked if path == "/voice"}
        assert len(set(sids.values())) == 3
        done = [(params, headers) for path, params, headers in asked if path == "/done"]
        for params, headers in done:
            user = params["SipUser"]
            assert params["CallSid"] == sids[user]
            assert params["NotifySipResponseCode"] == str(codes[user])
            assert headers["cookie"] == f"who={user}"
        assert len({headers["x-cxmld-idempotency-key"] for headers in application.headers}) == 6
        await settled(stage)


async def test_a_crash_below_the_webhooks_costs_one_call_not_the_daemon() -> None:
    def crash(_params: object) -> httpx.Response:
        raise RuntimeError("boom")

    with capture_logs() as logs:
        async with Stage(Application({"/voice": crash})) as stage:
            for _ in range(2):
                with pytest.raises(CallFailedError) as refused:
                    await stage.dial()
                assert refused.value.status == 500
            await settled(stage)
    crashes = [(line["event"], line["what"]) for line in logs if line["log_level"] == "error"]
    assert crashes == [("step_crashed", "first request")] * 2


async def test_the_journal_knows_what_a_transfer_waits_for() -> None:
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((5.0, 200)))
        await asyncio.sleep(2.0)
        (position,) = stage.journal.positions()
        assert position.pending["target"] == "sip:target@10.0.0.3"
        assert position.dialog["call_id"] == call.id
        await call.wait_ended()
        assert stage.journal.positions() == ()
