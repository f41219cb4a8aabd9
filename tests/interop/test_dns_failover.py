"""A domain with a dead, an overloaded, a silent and a living server: registration and calls end at the one that lives (RFC 3263 §4.3)."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from cxml.daemon.config import Dns, Peer
from sipua.agent import UserAgent
from sipua.auth import Credential
from sipua.message import Request, Response, make_response, parse_message
from sipua.timers import Timing
from sipua.transport.base import Channel
from sipua.transport.locate import DnsSettings
from sipua.usage.call.core import CallSettings
from tests.support import sipp as sipp_runner
from tests.support.ami import Ami
from tests.support.asterisk import Asterisk
from tests.support.daemon import daemon_under_test, until
from tests.support.dnsmasq import name_server
from tests.support.peers import free_port, require

pytestmark = pytest.mark.interop

LIMIT_S = 30.0
HOST = "127.0.0.1"
QUICK = Timing(t1=0.02, t2=0.16, t4=0.2)
"""Timer B and F after 1.28 s: the ratio of the RFC, at a twenty-fifth of its time."""

DOMAIN = "pbx.test"


class Overloaded(asyncio.DatagramProtocol):
    """Answers every request with 503."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        message = parse_message(data)
        if isinstance(message, Request):
            self.requests.append(message)
            if message.method != "ACK":
                response = make_response(message, 503, to_tag="busy")
                response.headers.add("Retry-After", "60")
                self.transport.sendto(response.encode(), source)  # type: ignore[attr-defined]


@dataclass
class Site:
    """What the domain has besides the living server."""

    overloaded: Overloaded
    silent: socket.socket
    server: str

    @property
    def heard(self) -> int:
        """How many datagrams the silent server got."""
        count = 0
        while True:
            try:
                self.silent.recv(65535)
            except BlockingIOError:
                return count
            count += 1


@asynccontextmanager
async def site(living_port: int) -> AsyncIterator[Site]:
    """Publish NAPTR and SRV for a closed port, an overloaded server, a silent one and *living_port*, in this order."""
    require("dnsmasq")
    loop = asyncio.get_running_loop()
    transport, overloaded = await loop.create_datagram_endpoint(Overloaded, local_addr=(HOST, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((HOST, 0))
        silent.setblocking(False)
        ports = (free_port(), transport.get_extra_info("sockname")[1], silent.getsockname()[1], living_port)
        records = [f"srv-host=_sip._udp.{DOMAIN},node.{DOMAIN},{port},{number},10" for number, port in enumerate(ports)]
        records += [f"host-record=node.{DOMAIN},{HOST}", f"naptr-record={DOMAIN},10,10,s,SIP+D2U,,_sip._udp.{DOMAIN}"]
        async with name_server(records) as server:
            yield Site(overloaded, silent, server.server)
    transport.close()


@asynccontextmanager
async def agent(server: str) -> AsyncIterator[UserAgent]:
    async with UserAgent(
        listen=[f"udp:{HOST}:0"],
        identity=f"<sip:cxmld@{HOST}>",
        credentials=[Credential("cxmld", "cxmld-secret")],
        settings=CallSettings(timing=QUICK),
        dns=DnsSettings(servers=(server,)),
    ) as running:
        yield running


async def test_a_registration_ends_at_the_asterisk_that_lives(ami: Ami, asterisk: Asterisk) -> None:
    async with site(asterisk.ports.sip) as found, agent(found.server) as ours:
        registration = await ours.register(f"sip:{DOMAIN}", user="cxmld", aor=f"sip:cxmld@{asterisk.host}")
        await registration.wait_registered(LIMIT_S)
        assert [request.method for request in found.overloaded.requests] == ["REGISTER"]
        assert found.heard > 3, "retransmitted until timer F"
        assert ours.exchanger.failovers["503"] == 1
        assert ours.exchanger.failovers["timeout"] >= 1
        await registration.stop()


async def test_a_call_ends_at_the_asterisk_that_lives_and_the_next_one_begins_there(ami: Ami, asterisk: Asterisk) -> None:
    async with site(asterisk.ports.sip) as found, agent(found.server) as ours:
        for number in (1, 2):
            start = asyncio.get_running_loop().time()
            call = await ours.dial(f"sip:answers@{DOMAIN}", timeout_s=LIMIT_S)
            took = asyncio.get_running_loop().time() - start
            assert call.is_answered
            await call.hangup()
            await call.wait_ended()
            assert (took > 1.2) == (number == 1), took
        invites = [request for request in found.overloaded.requests if request.method == "INVITE"]
        assert len(invites) == 1
        assert "ACK" in [request.method for request in found.overloaded.requests]
        assert found.heard > 3


async def test_a_call_ends_at_a_sipp_that_lives() -> None:
    require("sipp")
    async with sipp_runner.target("200") as phone, site(phone.port) as found, agent(found.server) as ours:
        call = await ours.dial(f"sip:phone@{DOMAIN}", timeout_s=LIMIT_S)
        assert call.is_answered
        assert call.remote is not None
        assert call.remote.port == phone.port
        await call.hangup()
        await call.wait_ended()


async def test_the_daemon_registers_by_its_dns_settings(ami: Ami, asterisk: Asterisk) -> None:
    require("dnsmasq")
    seen: list[Request | Response] = []

    def trace(_direction: str, data: bytes, _channel: Channel) -> None:
        seen.append(parse_message(data))

    records = [f"srv-host=_sip._tcp.{DOMAIN},node.{DOMAIN},{port},{n},10" for n, port in enumerate((free_port(), asterisk.ports.sip))]
    async with name_server([*records, f"host-record=node.{DOMAIN},{HOST}"]) as server:
        peer = Peer.model_validate(
            {
                "name": "pbx",
                "match": ("127.0.0.0/8",),
                "uri": f"sip:{DOMAIN};transport=tcp",
                "username": "cxmld-tcp",
                "password": SecretStr("cxmld-secret"),
                "register": True,
            }
        )
        async with daemon_under_test(peers=(peer,), dns=Dns(servers=(server.server,))) as daemon:
            daemon.daemon.agent.transports.trace.append(trace)
            await until(lambda: daemon.daemon.observer.registered.get("pbx", False), "a registration")
            text = daemon.daemon.metrics.render().decode()
            assert 'cxmld_sip_failovers_total{reason="transport"} 1.0' in text
            assert 'cxmld_dns_total{event="queries"} 0.0' not in text
            assert f"SRV _sip._tcp.{DOMAIN}" in server.queries()
            assert f"NAPTR {DOMAIN}" not in server.queries(), "the transport is given"
