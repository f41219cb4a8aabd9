"""IPv6 on every place where an address stands: calls by SIPp and by Asterisk over ::1, and both families at one daemon."""

import asyncio
import socket

import httpx
import pytest

from cxml.daemon.config import Config, Http, Media, Peer, Refer, Sip, Voice
from cxml.daemon.run import running
from sipua.agent import UserAgent
from sipua.message import Request
from sipua.rtp.ports import PortAllocator
from sipua.transport.advertised import LOCAL
from sipua.transport.locate import DnsSettings
from sipua.usage.call.core import CallSettings
from sipua.usage.call.media import CallMedia, MediaMode, MediaSettings
from tests.support import sipp as sipp_runner
from tests.support.ami import Ami
from tests.support.asterisk import Asterisk
from tests.support.daemon import DaemonUnderTest, WebApplication, action_parameters, daemon_under_test, until
from tests.support.dnsmasq import name_server
from tests.support.pbx_calls import call_daemon_alone
from tests.support.peers import free_port, require, require_ipv6, rtp_range
from tests.support.sipp_steps import hung_up_on, notify, opened, receive, respond, scenario
from tests.support.web import serving

pytestmark = pytest.mark.interop

REFER = "<Refer action='done/{user}'><Sip>sip:target@[::1]:9</Sip></Refer>"
TRANSFER = scenario(opened(), receive("REFER"), respond("202 Accepted"), notify(2, "200 OK"), receive("200"), hung_up_on())
LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def ipv6() -> None:
    require_ipv6()


async def transfer(daemon: DaemonUnderTest, user: str, host: str, *, tcp: bool = False) -> sipp_runner.Result:
    """Let SIPp at *host* call *user*, be referred and say that it worked; return what SIPp saw."""
    daemon.app.calls[user] = REFER.format(user=user)
    daemon.app.pages[f"/done/{user}"] = "<Hangup/>"
    remote = ("::1" if ":" in host else "127.0.0.1", daemon.port)
    result = await sipp_runner.run(TRANSFER, remote=remote, tcp=tcp, service=user, host=host)
    hit = await daemon.app.wait(f"/done/{user}", timeout_s=LIMIT_S)
    assert " ".join(action_parameters(hit.form)) == "transferred in-progress 202 200"
    return result.check()


def sent(daemon: DaemonUnderTest, user: str, method: str) -> Request:
    """Return the first request *method* that the daemon sent in the call to *user*."""
    found = [
        passed.message
        for passed in daemon.traffic
        if passed.direction == "out" and isinstance(passed.message, Request) and passed.message.method == method
    ]
    return next(message for message in found if user in (message.headers.get("From") or ""))


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_a_caller_over_ipv6_is_answered_and_transferred(sipp: None, tcp: bool) -> None:
    async with daemon_under_test(host="[::1]") as daemon:
        result = await transfer(daemon, "six", "::1", tcp=tcp)
        refer = sent(daemon, "six", "REFER")
        via, contact = refer.via, refer.contact
        assert (via.host, via.port) == ("[::1]", daemon.port)
        assert contact is not None
        assert (contact.uri.host, contact.uri.port) == ("[::1]", daemon.port)
        assert refer.headers.get("Refer-To") == "<sip:target@[::1]:9>"
        assert "c=IN IP6 ::1" in result.messages
        assert "received=[" not in result.messages
        assert "IN IP4" not in result.messages
        form = daemon.app.of("/voice", "six")[0].form
        assert "@[::1]" in form["From"]


async def test_media_of_an_ipv6_call_come_to_the_port_in_the_description(sipp: None) -> None:
    media = MediaSettings(MediaMode.RECEIVE, PortAllocator(*rtp_range()))
    async with UserAgent(listen=["udp:[::1]:0"], settings=CallSettings(media=media)) as agent:
        remote = ("::1", agent.endpoints[0].port)
        running = asyncio.create_task(sipp_runner.run("uac-call.xml", remote=remote, service="media", host="::1"))
        async with asyncio.timeout(LIMIT_S):
            call = await anext(aiter(agent))
            await call.answer()
        rtp = call.media.rtp
        assert rtp is not None
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.sendto(bytes([0x80, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]) + bytes(160), ("::1", rtp.local_port))
            await until(lambda: rtp.counters.packets == 1, "an RTP packet")
        result = (await running).check()
        assert f"m=audio {rtp.local_port} " in result.messages


@pytest.mark.parametrize("host", ["127.0.0.1 [::1]", "0.0.0.0 [::]"], ids=["addresses", "wildcards"])
async def test_one_daemon_serves_both_families_at_once(sipp: None, host: str) -> None:
    async with daemon_under_test(host=host) as daemon:
        four, six, four_tcp, six_tcp = await asyncio.gather(
            transfer(daemon, "four", "127.0.0.1"),
            transfer(daemon, "six", "::1"),
            transfer(daemon, "four-tcp", "127.0.0.1", tcp=True),
            transfer(daemon, "six-tcp", "::1", tcp=True),
        )
        for result, family, own in (
            (four, "IP4", "127.0.0.1"),
            (six, "IP6", "::1"),
            (four_tcp, "IP4", "127.0.0.1"),
            (six_tcp, "IP6", "::1"),
        ):
            assert f"c=IN {family} {own}" in result.messages
        assert sent(daemon, "four", "REFER").via.host == "127.0.0.1"
        assert sent(daemon, "six", "REFER").via.host == "[::1]"


async def test_a_peer_is_known_by_its_ipv6_block_and_a_stranger_is_not(sipp: None) -> None:
    async with daemon_under_test(host="[::1]", peers=(Peer(name="pbx", match=("::/64",)),)) as daemon:
        await transfer(daemon, "known", "::1")
    async with daemon_under_test(host="[::1]", peers=(Peer(name="pbx", match=("fd00::/8", "127.0.0.1")),)) as daemon:
        result = await sipp_runner.run("uac-call.xml", remote=("::1", daemon.port), service="stranger", host="::1")
        assert result.exit_code != 0


async def test_asterisk_calls_over_ipv6_and_transfers(ami: Ami, asterisk: Asterisk) -> None:
    async with daemon_under_test(host="[::1]") as daemon:
        daemon.app.calls["astsix"] = "<Refer action='done/astsix'><Sip>sip:unknown@[::1]</Sip></Refer>"
        daemon.app.pages["/done/astsix"] = "<Hangup/>"
        await call_daemon_alone(ami, f"PJSIP/cxmld-six/sip:astsix@[::1]:{daemon.port}")
        hit = await daemon.app.wait("/done/astsix", timeout_s=LIMIT_S)
        assert hit.form["CxmldReferOutcome"] == "failed", hit.form
        answers = [passed.message for passed in daemon.traffic if passed.direction == "out" and b"c=IN IP6 ::1" in passed.message.body]
        offers = [passed.message for passed in daemon.traffic if passed.direction == "in" and b"c=IN IP6 ::1" in passed.message.body]
        assert answers
        assert offers
        await daemon.wait_idle()


async def test_we_call_asterisk_over_ipv6(ami: Ami, asterisk: Asterisk) -> None:
    async with UserAgent(listen=["udp:[::1]:0"]) as agent:
        call = await agent.dial(f"sip:answers@[::1]:{asterisk.ports.sip}", timeout_s=LIMIT_S)
        assert b"IN IP6 ::1" in call.invite.body
        await call.hangup()
        await call.wait_ended()


async def test_an_offer_moves_to_the_other_family_with_its_socket() -> None:
    ports = PortAllocator(*rtp_range())
    media = CallMedia(MediaSettings(MediaMode.RECEIVE, ports), "127.0.0.1", LOCAL, 1)
    await media.open()
    first = media.offer()
    assert not await media.move("127.0.0.2"), "the family stays"
    assert await media.move("::1")
    second = media.offer()
    assert b"c=IN IP4 127.0.0.1" in first
    assert b"c=IN IP6 ::1" in second
    assert media.rtp is not None
    assert f"m=audio {media.rtp.local_port} ".encode() in second
    media.close()


async def test_a_call_to_a_dual_stack_phone_that_is_deaf_by_ipv6_goes_on_by_ipv4_with_other_media(sipp: None) -> None:
    require("dnsmasq")
    media = MediaSettings(MediaMode.RECEIVE, PortAllocator(*rtp_range()))
    async with sipp_runner.target("200") as phone, name_server(["host-record=phone.test,127.0.0.1,::1"]) as server:
        settings = CallSettings(media=media)
        dns = DnsSettings(servers=(server.server,))
        async with UserAgent(listen=["udp:127.0.0.1:0", "udp:[::1]:0"], settings=settings, dns=dns) as agent:
            sent: list[bytes] = []
            agent.transports.trace.append(lambda _direction, data, _channel: sent.append(data) if data.startswith(b"INVITE") else None)
            call = await agent.dial(f"sip:phone@phone.test:{phone.port}", timeout_s=LIMIT_S)
            assert call.remote is not None
            assert call.remote.host == "127.0.0.1"
            assert call.media.rtp is not None
            assert f"m=audio {call.media.rtp.local_port} ".encode() in sent[-1]
            assert b"c=IN IP6 ::1" in sent[0]
            assert b"c=IN IP4 127.0.0.1" in sent[-1]
            assert b"sip:sipua@127.0.0.1" in sent[-1], "Contact"
            assert agent.exchanger.failovers == {"transport": 1}
            await call.hangup()
            await call.wait_ended()


async def test_http_side_and_webhooks_over_ipv6(sipp: None) -> None:
    app = WebApplication(calls={"web": "<Refer action='done'><Sip>sip:target@[::1]:9</Sip></Refer>"}, pages={"/done": "<Hangup/>"})
    async with serving(app.handle, "::1") as port:
        config = Config(
            sip=Sip(listen=(f"udp:[::1]:{free_port()}",)),
            http=Http(listen=f"[::1]:{free_port()}"),
            voice=Voice(url=f"http://[::1]:{port}/voice"),
            media=Media(rtp_ports=rtp_range()),
            refer=Refer(),
        )
        async with running(config) as (daemon, facts):
            remote = ("::1", daemon.agent.endpoints[0].port)
            (await sipp_runner.run(TRANSFER, remote=remote, service="web", host="::1")).check()
            await app.wait("/done")
            assert facts["http"] == config.http.listen
            async with httpx.AsyncClient() as client:
                ready = await client.get(f"http://{facts['http']}/health/ready")
                metrics = await client.get(f"http://{facts['http']}/metrics")
            assert ready.status_code == 200
            assert "cxmld_sip_messages_total" in metrics.text
