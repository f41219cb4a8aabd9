"""Reliable provisional responses and attended transfers with SIPp and Asterisk (RFC 3262, RFC 3891), and who calls (RFC 3325)."""

import asyncio
import re

import pytest

from cxml.daemon.config import Peer
from sipua.agent import UserAgent
from sipua.errors import CallFailedError
from sipua.message import Request
from sipua.usage.call.call import Call
from tests.support import sipp
from tests.support.ami import Ami
from tests.support.asterisk import Asterisk
from tests.support.daemon import HOST, DaemonUnderTest, action_parameters, daemon_under_test, until
from tests.support.pbx_calls import call_daemon, is_at, target_uri, trunk
from tests.support.sipp_steps import invite, optional, pause, receive, refuse_ack, request, respond, scenario, sdp

STAYS = "<Refer><Sip>sip:nobody@127.0.0.1:9</Sip></Refer><Pause length='60'/>"
IS_ANSWERED = [receive("REFER"), respond("603 Declined")]
REQUIRE = "Require: 100rel"
GATE_S = 0.5
"""How long the application takes: as long the call rings."""

READ_RSEQ = '<ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" assign_to="rseq"/>'


def ringing(*headers: str, body: str | None = None) -> list[str]:
    return [invite(*headers, body=body), *optional("100"), receive("180", action=READ_RSEQ, attributes='rrs="true"')]


def prack(cseq: int, rack: str = "[$rseq] 1 INVITE", body: str = "") -> str:
    return request("PRACK", cseq, f"RAck: {rack}", body=body)


CASES: dict[str, list[str | list[str]]] = {
    "acknowledged": [ringing(REQUIRE), prack(2), receive("200"), receive("200"), request("ACK", 1), IS_ANSWERED],
    "late": [ringing(REQUIRE), pause(1800), prack(2), receive("200"), receive("200"), request("ACK", 1), IS_ANSWERED],
    "wrong": [
        ringing(REQUIRE),
        prack(2, "1 1 INVITE"),
        receive("481"),
        prack(3),
        receive("200"),
        receive("200"),
        request("ACK", 1),
        IS_ANSWERED,
    ],
    "no-offer": [
        ringing(REQUIRE, body=""),
        prack(2, body=sdp()),
        receive("200"),
        receive("200"),
        request("ACK", 1),
        IS_ANSWERED,
    ],
}
SECONDS = {"late": 3.0, "wrong": 1.0}
"""How long the application takes where the phone needs longer than GATE_S."""


OVER_TCP = ("acknowledged", "wrong", "no-offer")
"""SIPp takes no repetition of a response over TCP."""


@pytest.mark.parametrize(("name", "tcp"), [*((name, False) for name in CASES), *((name, True) for name in OVER_TCP)])
async def test_a_phone_that_requires_100rel(sipp: None, name: str, tcp: bool) -> None:
    async with daemon_under_test() as daemon:
        await play(daemon, scenario(*CASES[name], request("BYE", 9), receive("200")), SECONDS.get(name, GATE_S), tcp=tcp)
        labels = [passed.label for passed in daemon.traffic]
        assert labels.count("< 200 PRACK") == 1
        rings = [passed.message.encode() for passed in daemon.traffic if passed.label == "< 180 INVITE"]
        assert len(set(rings)) == 1
        assert (len(rings) > 2) is (name == "late"), "repeated until it is acknowledged, on every transport"
        with_sdp = [label for passed in daemon.traffic if passed.message.body and (label := passed.label).startswith("<")]
        assert with_sdp[0] == ("< 180 INVITE" if name == "no-offer" else "< 200 INVITE")


async def test_a_bye_in_the_early_dialog_before_the_prack(sipp: None) -> None:
    hung_up = [ringing(REQUIRE), prack(2, "5 1 INVITE"), receive("481"), request("BYE", 3), receive("200"), receive("487"), refuse_ack()]
    async with daemon_under_test() as daemon:
        await play(daemon, scenario(*hung_up), 5.0)
        assert [passed.label for passed in daemon.traffic].count("< 200 PRACK") == 0


async def play(daemon: DaemonUnderTest, text: str, seconds: float, *, tcp: bool = False) -> None:
    async def slow(_form: dict[str, str]) -> str:
        await asyncio.sleep(seconds)
        return STAYS

    daemon.app.calls["rings"] = slow
    used = '<Reference variables="rseq"/>\n'
    result = await sipp_run(text.replace("</scenario>", f"{used}</scenario>"), daemon, tcp=tcp)
    result.check()
    await daemon.wait_idle()


async def sipp_run(text: str, daemon: DaemonUnderTest, *, tcp: bool) -> sipp.Result:
    return await sipp.run(text, remote=(HOST, daemon.port), service="rings", tcp=tcp, timeout_s=20)


# -- Asterisk -------------------------------------------------------------------------------------------------------------------------


async def test_asterisk_with_100rel_required_calls_the_daemon(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test() as daemon:
        daemon.app.calls["rel"] = f"<Refer action='done/rel'><Sip>{target_uri(asterisk, 'plays')}</Sip></Refer>"
        daemon.app.pages["/done/rel"] = "<Hangup/>"
        call = await call_daemon(ami, trunk("rel", daemon.port, endpoint="cxmld-rel"))
        done = await daemon.app.wait("/done/rel")
        assert action_parameters(done.form) == ("transferred", "in-progress", "202", "200")
        labels = daemon.labels(done.form["SipCallId"])
        assert {"< 180 INVITE", "> PRACK", "< 200 PRACK"} <= set(labels)
        await call.wait(lambda channels: is_at("plays", channels), "the caller at plays")


async def test_asterisk_with_100rel_required_is_called(asterisk: Asterisk) -> None:
    async with UserAgent(listen=[f"udp:{HOST}:0"], identity=f"<sip:cxmld-rel@{HOST}>") as ours:
        seen: list[bytes] = []
        ours.transports.trace.append(lambda direction, data, _channel: seen.append(data) if direction == "out" else None)
        call = await ours.dial(target_uri(asterisk, "slow"))
        assert any(data.startswith(b"PRACK ") for data in seen)
        await call.hold()
        await call.resume()
        await call.hangup()
        await call.wait_ended()


@pytest.mark.parametrize("trusted", [False, True])
async def test_only_a_trusted_asterisk_says_who_calls(ami: Ami, asterisk: Asterisk, trusted: bool) -> None:
    async with daemon_under_test(peers=(Peer(name="pbx", match=("127.0.0.0/8",), trusted=trusted),)) as daemon:
        daemon.app.calls["who"] = "<Reject/>"
        await call_daemon(ami, trunk("who", daemon.port, endpoint="cxmld-rel"))
        form = (await daemon.app.wait("/voice", "who")).form
        invite_seen = next(passed.message for passed in daemon.traffic if passed.label == "> INVITE")
        assert "2000" in (invite_seen.headers.get("P-Asserted-Identity") or "")
        assert form["From"].startswith("sip:2000@" if trusted else "sip:pbx@")
        await daemon.wait_idle()


def pointing_at(call: Call) -> str:
    dialog = call.dialog_as_plain()
    return f"{dialog['call_id']};to-tag={dialog['remote_tag']};from-tag={dialog['local_tag']}"


async def test_another_phone_takes_a_call_over_on_real_sockets() -> None:
    identity = f"<sip:phone@{HOST}>"
    async with (
        daemon_under_test() as daemon,
        UserAgent(listen=[f"udp:{HOST}:0"], identity=identity) as first,
        UserAgent(listen=[f"tcp:{HOST}:0"], identity=identity) as second,
    ):
        daemon.app.calls["desk"] = STAYS
        target = f"sip:desk@{HOST}:{daemon.port}"
        old = await first.dial(target)
        await until(lambda: bool(old.is_confirmed and daemon.labels(old.id).count("< REFER")), "the first transfer, declined")
        await asyncio.sleep(0.3)
        new = await second.call(f"{target};transport=tcp", headers={"Replaces": pointing_at(old)})
        await new.wait_answered()
        assert (await old.wait_ended()).reason == 'SIP;cause=200;text="Replaced"'
        late = await second.call(f"{target};transport=tcp", headers={"Replaces": pointing_at(old)})
        with pytest.raises(CallFailedError) as failed:
            await late.wait_answered()
        assert failed.value.status == 481
        assert len(daemon.app.of("/voice")) == 1
        await new.hangup()
        await daemon.wait_idle()


async def test_an_attended_transfer_by_asterisk_exchanges_the_party(ami: Ami, asterisk: Asterisk) -> None:
    """A phone has a caller at the PBX and a call of its own to the daemon, and joins the two: the PBX calls the daemon with Replaces."""
    async with daemon_under_test() as daemon, UserAgent(listen=[f"udp:{HOST}:0"], identity=f"<sip:phone@{HOST}>") as phone:
        daemon.app.calls["desk"] = (
            "<Refer><Sip>sip:nobody@127.0.0.1:9</Sip></Refer><Pause length='3'/>"
            f"<Refer action='done/desk'><Sip>{target_uri(asterisk, 'sings')}</Sip></Refer>"
        )
        daemon.app.pages["/done/desk"] = "<Hangup/>"
        caller = await call_daemon(ami, trunk("phone", phone.endpoints[0].port))
        first = await anext(aiter(phone))
        await first.answer()
        consulted = await phone.dial(f"sip:desk@{HOST}:{daemon.port}")
        await until(lambda: bool(daemon.labels(consulted.id).count("< REFER")), "the first transfer, declined")
        await asyncio.sleep(0.3)
        escaped = re.sub(r"[^\w.-]", lambda match: f"%{ord(match[0]):02X}", pointing_at(consulted))
        await first.transfer(f"sip:desk@{HOST}:{daemon.port}?Replaces={escaped}")
        assert (await consulted.wait_ended()).reason == 'SIP;cause=200;text="Replaced"'
        done = await daemon.app.wait("/done/desk")
        assert done.form["SipCallId"] == consulted.id
        assert action_parameters(done.form) == ("transferred", "in-progress", "202", "200")
        replacing = [passed.message for passed in daemon.traffic if passed.label == "> INVITE" and "Replaces" in passed.message.headers]
        assert isinstance(replacing[0], Request)
        await caller.wait(lambda channels: any(channel.exten == "sings" for channel in channels), "the caller at sings")
        await first.hangup()
