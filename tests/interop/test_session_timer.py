"""Session timers with SIPp, which takes intervals of seconds, and with Asterisk, which takes none below 90 s (RFC 4028)."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sipua.agent import UserAgent
from sipua.message import Request, Response
from sipua.usage.call.core import CallSettings
from sipua.usage.call.machine.interval import TimerSettings
from tests.support import sipp
from tests.support.ami import Ami
from tests.support.asterisk import Asterisk
from tests.support.daemon import HOST, DaemonUnderTest, daemon_under_test, until
from tests.support.pbx_calls import call_daemon, target_uri, trunk
from tests.support.sipp_steps import hung_up_on, invite, opened, pause, receive, refuse_ack, request, respond, scenario, sdp

INTERVAL_S = 6
"""Refreshed after 3 s, expired after 4 s."""

SHORT = (INTERVAL_S, 2)
STAYS = "<Refer><Sip>sip:nobody@127.0.0.1:9</Sip></Refer><Pause length='180'/>"
IS_ANSWERED = [receive("REFER"), respond("603 Declined")]
TIMER = "Supported: timer"
WITH_UPDATE = "Allow: UPDATE"
OURS = f"Session-Expires: {INTERVAL_S};refresher=uas"
THEIRS = f"x: {INTERVAL_S};refresher=uac"
KEPT = f"Session-Expires: {INTERVAL_S};refresher=uac"
MIN_SE = "Min-SE: 2"


async def run(daemon: DaemonUnderTest, text: str, *, tcp: bool = False) -> str:
    """Call the daemon by a scenario, which has to pass; return the Call-ID."""
    daemon.app.calls["stays"] = STAYS
    result = await sipp.run(text, remote=(HOST, daemon.port), service="stays", tcp=tcp, timeout_s=30)
    result.check()
    await daemon.wait_idle()
    return daemon.traffic[0].message.call_id


def metric(daemon: DaemonUnderTest, event: str) -> float | None:
    return daemon.daemon.metrics.registry.get_sample_value("cxmld_session_timer_total", {"event": event})


def first(daemon: DaemonUnderTest, call_id: str, label: str) -> Request | Response:
    return next(passed.message for passed in daemon.of(call_id) if passed.label == label)


@pytest.mark.parametrize("tcp", [False, True])
async def test_the_daemon_refreshes_by_update(tcp: bool) -> None:
    again = [receive("UPDATE"), respond("200 OK", KEPT)]
    text = scenario(opened(TIMER, WITH_UPDATE, OURS, MIN_SE), IS_ANSWERED, again, again, request("BYE", 2), receive("200"))
    async with daemon_under_test(session_timer=SHORT) as daemon:
        call_id = await run(daemon, text, tcp=tcp)
        times = [passed.at for passed in daemon.of(call_id) if passed.label == "< UPDATE"]
        assert times[1] - times[0] == pytest.approx(INTERVAL_S / 2, abs=0.5)
        assert (metric(daemon, "refreshes_sent"), metric(daemon, "sessions_expired")) == (2, 0)


async def test_the_daemon_refreshes_by_reinvite_and_acknowledges() -> None:
    again = [receive("INVITE"), respond("200 OK", KEPT, body=sdp()), receive("ACK")]
    text = scenario(opened(TIMER, OURS, MIN_SE), IS_ANSWERED, again, again, request("BYE", 2), receive("200"))
    async with daemon_under_test(session_timer=SHORT) as daemon:
        call_id = await run(daemon, text)
        offers = {passed.message.body for passed in daemon.of(call_id) if passed.label == "< INVITE"}
        assert offers == {first(daemon, call_id, "< 200 INVITE").body}, "the offer of before, with the same version"


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_phone_that_stops_refreshing_is_hung_up_on(tcp: bool, caplog: pytest.LogCaptureFixture) -> None:
    text = scenario(
        opened(TIMER, THEIRS, MIN_SE),
        IS_ANSWERED,
        pause(2500),
        request("UPDATE", 2, TIMER, THEIRS),
        receive("200"),
        pause(2500),
        request("INVITE", 3, TIMER, THEIRS, body=sdp()),
        receive("200"),
        request("ACK", 3),
        hung_up_on(),
    )
    with caplog.at_level(logging.WARNING, "sipua.call"):
        async with daemon_under_test(session_timer=SHORT) as daemon:
            call_id = await run(daemon, text, tcp=tcp)
            refreshed = max(passed.at for passed in daemon.of(call_id) if passed.label == "< 200 INVITE")
            bye = next(passed for passed in daemon.of(call_id) if passed.label == "< BYE")
            assert bye.at - refreshed == pytest.approx(INTERVAL_S * 2 / 3, abs=0.5)
            assert bye.message.headers.get("Reason") == 'SIP;cause=408;text="Session expired"'
            assert (metric(daemon, "refreshes_received"), metric(daemon, "sessions_expired")) == (2, 1)
    (line,) = [record.getMessage() for record in caplog.records if "session expired" in record.getMessage()]
    assert call_id in line
    assert HOST in line


async def test_a_refresh_that_the_phone_does_not_know_ends_the_call() -> None:
    text = scenario(
        opened(TIMER, WITH_UPDATE, OURS, MIN_SE), IS_ANSWERED, receive("UPDATE"), respond("481 Call Does Not Exist"), hung_up_on()
    )
    async with daemon_under_test(session_timer=SHORT) as daemon:
        await run(daemon, text)
        assert (metric(daemon, "refreshes_failed"), metric(daemon, "sessions_expired")) == (1, 0)


async def test_too_short_an_interval_gets_422_and_the_longer_one_a_call() -> None:
    text = scenario(
        invite(TIMER, "Session-Expires: 1", MIN_SE),
        receive("422"),
        refuse_ack(),
        invite(TIMER, OURS, MIN_SE, cseq=2),
        '<recv response="100" optional="true"/>',
        '<recv response="180" optional="true"/>',
        receive("200"),
        request("ACK", 2),
        IS_ANSWERED,
        request("BYE", 3),
        receive("200"),
    )
    async with daemon_under_test(session_timer=SHORT) as daemon:
        call_id = await run(daemon, text)
        assert first(daemon, call_id, "< 422 INVITE").headers.get("Min-SE") == "2"
        assert metric(daemon, "intervals_refused") == 1


def answering(*steps: str | list[str]) -> str:
    """Return a scenario of a callee."""
    return scenario(receive("INVITE"), *steps).replace('name="caller"', 'name="callee"')


async def test_an_agent_asks_again_after_422_and_refreshes() -> None:
    text = answering(
        respond("422 Session Interval Too Small", "Min-SE: 7200"),
        receive("ACK"),
        receive("INVITE"),
        respond("200 OK", TIMER, WITH_UPDATE, KEPT, body=sdp()),
        receive("ACK"),
        receive("UPDATE"),
        respond("200 OK", KEPT),
        receive("BYE"),
        respond("200 OK"),
    )
    settings = CallSettings(timer=TimerSettings(1800, 2))
    async with sipp.scenario(text) as phone, UserAgent(listen=[f"udp:{HOST}:0"], settings=settings) as agent:
        call = await agent.dial(f"sip:phone@{HOST}:{phone.port}")
        assert call.invite.headers.get("Session-Expires") == "1800"
        await until(lambda: "CSeq" in phone.text("messages.log") and "UPDATE sip:" in phone.text("messages.log"), "UPDATE")
        await call.hangup()
        (await phone.wait()).check()
        assert "Session-Expires: 7200" in phone.text("messages.log")


# -- Asterisk -------------------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def called(ami: Ami, daemon: DaemonUnderTest, user: str) -> AsyncIterator[str]:
    """Let Asterisk call by the endpoint that insists on session timers; gives the Call-ID."""
    daemon.app.calls[user] = STAYS
    call = await call_daemon(ami, trunk(user, daemon.port, endpoint="cxmld-timer"))
    yield (await daemon.app.wait("/voice", user)).form["SipCallId"]
    await call.hang_up()


async def test_asterisk_and_the_daemon_agree_on_its_interval(ami: Ami) -> None:
    async with daemon_under_test() as daemon, called(ami, daemon, "agree") as call_id:
        await daemon.wait_label(call_id, "> ACK")
        asked, said = first(daemon, call_id, "> INVITE"), first(daemon, call_id, "< 200 INVITE")
        assert (asked.headers.get("Session-Expires") or "").startswith("90")
        assert (said.headers.get("Session-Expires") or "").startswith("90;refresher=ua")
        assert said.headers.get("Require") == "timer"


async def test_asterisk_calls_again_with_the_interval_that_422_asks_for(ami: Ami) -> None:
    async with daemon_under_test(session_timer=(1800, 120)) as daemon, called(ami, daemon, "raise") as call_id:
        await daemon.wait_label(call_id, "> ACK")
        assert daemon.labels(call_id).count("> INVITE") == 2
        said = first(daemon, call_id, "< 200 INVITE")
        assert (said.headers.get("Session-Expires") or "").startswith("120;refresher=ua")


async def test_an_agent_raises_its_interval_to_the_minimum_of_asterisk(asterisk: Asterisk) -> None:
    seen: list[bytes] = []
    settings = CallSettings(timer=TimerSettings(60, 30))
    async with UserAgent(listen=[f"udp:{HOST}:0"], identity=f"<sip:nobody@{HOST}>", settings=settings) as agent:
        agent.transports.trace.append(lambda _direction, data, _channel: seen.append(data))
        call = await agent.dial(target_uri(asterisk, "echo"))
        assert any(data.startswith(b"SIP/2.0 422") for data in seen)
        ok = next(data for data in seen if data.startswith(b"SIP/2.0 200"))
        assert b"Session-Expires: 90;refresher=" in ok
        assert call.is_confirmed
        await call.hangup()


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.skipif("SLOW" not in os.environ, reason="Asterisk takes no interval below 90 s; set SLOW=1")
@pytest.mark.parametrize("refresher", ["uac", "uas"])
async def test_a_call_to_asterisk_is_refreshed_by_either_side(asterisk: Asterisk, refresher: str) -> None:
    settings = CallSettings(timer=TimerSettings(90, 90))
    async with UserAgent(listen=[f"udp:{HOST}:0"], identity=f"<sip:nobody@{HOST}>", settings=settings) as agent:
        call = await agent.dial(target_uri(asterisk, "echo"))
        given = await call.request("UPDATE", headers={"Supported": "timer", "Session-Expires": f"90;refresher={refresher}"})
        assert given.headers.get("Session-Expires") == f"90;refresher={refresher}"
        await asyncio.sleep(130)
        assert call.is_confirmed, call.ending
        statistics = agent.core.statistics
        assert (statistics.refreshes_sent, statistics.refreshes_received) == ((2, 0) if refresher == "uac" else (0, 2))
        assert (statistics.refreshes_failed, statistics.sessions_expired) == (0, 0)
        await call.hangup()


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.skipif("SLOW" not in os.environ, reason="Asterisk takes no interval below 90 s; set SLOW=1")
async def test_a_call_of_asterisk_goes_on_beyond_its_interval(ami: Ami) -> None:
    async with daemon_under_test() as daemon, called(ami, daemon, "long") as call_id:
        await asyncio.sleep(100)
        assert not {"> BYE", "< BYE"} & set(daemon.labels(call_id))
        assert (metric(daemon, "refreshes_sent"), metric(daemon, "refreshes_failed")) == (2, 0)
