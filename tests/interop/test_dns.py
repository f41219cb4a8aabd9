"""Look-ups at a real name server (dnsmasq), and at name servers that lie."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable

import dns.flags
import dns.message
import dns.rrset
import pytest

from sipua.errors import TransportError
from sipua.message import Uri
from sipua.transport.locate import DnsSettings, Locator
from sipua.transport.locate.asker import NameServer, NameServerError, parse_server
from tests.support.dnsmasq import SILENT, Dnsmasq, name_server
from tests.support.peers import require

pytestmark = pytest.mark.interop

RECORDS = (
    "naptr-record=pbx.test,20,10,s,SIP+D2U,,_sip._udp.pbx.test",
    "naptr-record=pbx.test,10,10,s,SIP+D2T,,_sip._tcp.pbx.test",
    "naptr-record=pbx.test,10,5,s,SIPS+D2T,,_sips._tcp.pbx.test",
    "srv-host=_sip._tcp.pbx.test,b.pbx.test,5071,2,0",
    "srv-host=_sip._tcp.pbx.test,a.pbx.test,5070,1,10",
    "srv-host=_sip._udp.pbx.test,a.pbx.test,5072,1,10",
    "srv-host=_sip._udp.plain.test,a.pbx.test,5073,1,10",
    "srv-host=_sip._udp.closed.test",
    "host-record=a.pbx.test,127.0.0.2,::1,600",
    "host-record=b.pbx.test,127.0.0.3,6",
    "cname=alias.test,a.pbx.test",
    *(f"host-record=many.test,10.0.{number // 250}.{number % 250 + 1}" for number in range(1000)),
)


@pytest.fixture
async def server() -> AsyncIterator[Dnsmasq]:
    require("dnsmasq")
    async with name_server(RECORDS) as running:
        yield running


@pytest.fixture
async def locator(server: Dnsmasq) -> AsyncIterator[Locator]:
    made = Locator(DnsSettings(servers=(server.server,)))
    yield made
    await made.aclose()


async def find(locator: Locator, uri: str) -> list[str]:
    return [str(endpoint) for endpoint in await locator.resolve(Uri.parse(uri))]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:pbx.test", ["tcp:[::1]:5070", "tcp:127.0.0.2:5070", "tcp:127.0.0.3:5071"]),
        ("sip:pbx.test;transport=udp", ["udp:[::1]:5072", "udp:127.0.0.2:5072"]),
        ("sip:plain.test", ["udp:[::1]:5073", "udp:127.0.0.2:5073"]),
        ("sip:a.pbx.test:5090", ["udp:[::1]:5090", "udp:127.0.0.2:5090"]),
        ("sip:alias.test:5090;transport=tcp", ["tcp:[::1]:5090", "tcp:127.0.0.2:5090"]),
    ],
)
async def test_a_uri_is_followed_through_naptr_srv_and_addresses(locator: Locator, uri: str, expected: list[str]) -> None:
    assert await find(locator, uri) == expected


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("sip:nothing.test", "has no address"),
        ("sip:closed.test", "has no SIP over UDP"),
        ("sip:elsewhere.example", "no usable answer|no name server"),
        (f"sip:{'a' * 64}.test", "has no address"),
    ],
)
async def test_what_dns_does_not_know_is_a_transport_error(locator: Locator, uri: str, reason: str) -> None:
    with pytest.raises(TransportError, match=reason):
        await find(locator, uri)


async def test_an_answer_too_long_for_a_datagram_comes_by_tcp_and_is_cut(locator: Locator) -> None:
    assert len(await find(locator, "sip:many.test:5060")) == 32


async def test_the_ttl_is_the_records_and_what_is_known_is_not_asked_again(server: Dnsmasq, locator: Locator) -> None:
    asker = NameServer(DnsSettings(servers=(server.server,)))
    assert (await asker.ask("a.pbx.test", "A")).ttl_s == 600
    assert (await asker.ask("b.pbx.test", "A")).ttl_s == 6
    await find(locator, "sip:pbx.test")
    asked = len(server.queries())
    await find(locator, "sip:pbx.test")
    assert len(server.queries()) == asked
    assert "NAPTR pbx.test" in server.queries()


async def test_a_name_server_that_is_silent_costs_five_seconds_at_most(locator: Locator) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(TransportError):
        await find(locator, f"sip:pbx.{SILENT}")
    assert loop.time() - start < 5.5


async def test_the_second_name_server_is_asked_when_the_first_is_dead(server: Dnsmasq) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        locator = Locator(DnsSettings(servers=(f"127.0.0.1:{silent.getsockname()[1]}", server.server)))
        assert await find(locator, "sip:b.pbx.test:5060") == ["udp:127.0.0.3:5060"]
        await locator.aclose()


async def test_a_name_server_that_died_leaves_its_answers_behind() -> None:
    require("dnsmasq")
    async with name_server(["host-record=pbx.test,127.0.0.3,1"]) as server:
        locator = Locator(DnsSettings(servers=(server.server,)))
        assert await find(locator, "sip:pbx.test:5060") == ["udp:127.0.0.3:5060"]
        port = server.port
    locator._answers._entries = {  # six seconds later
        key: type(entry)(entry.answer, 0.0, entry.stale_until) for key, entry in locator._answers._entries.items()
    }
    assert await find(locator, "sip:pbx.test:5060") == ["udp:127.0.0.3:5060"]
    assert locator.counters["stale"] == 1, port
    await locator.aclose()


# --- a name server that lies

Reply = Callable[[dns.message.Message], bytes]


class Liar(asyncio.DatagramProtocol):
    """Answers each question with what *reply* makes of it."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.asked += 1
        self.transport.sendto(self.reply(dns.message.from_wire(data)), source)  # type: ignore[attr-defined]


def with_records(*texts: str) -> Reply:
    """Answer with these lines of a zone, whatever the question."""

    def reply(query: dns.message.Message) -> bytes:
        answer = dns.message.make_response(query)
        for text in texts:
            name, kind, data = text.split(" ", 2)
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, data))
        return answer.to_wire(max_size=65535)

    return reply


def truncated(query: dns.message.Message) -> bytes:
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.TC  # and nobody listens for TCP
    return answer.to_wire()


def wrong_id(query: dns.message.Message) -> bytes:
    wire = bytearray(with_records("x.test. A 10.6.6.6")(query))
    wire[:2] = struct.pack("!H", (query.id + 1) % 65536)
    return bytes(wire)


def other_question(query: dns.message.Message) -> bytes:
    forged = dns.message.make_query("other.test.", "A", id=query.id)
    return with_records("x.test. A 10.6.6.6")(forged)


def pointer_loop(query: dns.message.Message) -> bytes:
    header = struct.pack("!HHHHHH", query.id, 0x8180, 1, 1, 0, 0)
    return header + b"\xc0\x0c\x00\x01\x00\x01" + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x06\x06\x06"


@pytest.mark.parametrize(
    "reply",
    [
        truncated,
        wrong_id,
        other_question,
        pointer_loop,
        lambda _query: b"",
        lambda _query: b"\xff" * 500,
        lambda query: with_records("x.test. A 10.6.6.6")(query)[:-3],
        with_records("x.test. CNAME y.test.", "y.test. CNAME x.test."),
        with_records("x.test. CNAME x.test."),
        with_records("x.test. A 0.0.0.0"),
        with_records("x.test. A 255.255.255.255", "x.test. AAAA ff02::1"),
        with_records("other.test. A 10.6.6.6"),
    ],
    ids=["truncated", "id", "question", "pointer", "empty", "ones", "short", "loop", "self", "wildcard", "groups", "other name"],
)
async def test_lies_give_no_address_and_cost_bounded_time(reply: Reply) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Liar(reply), local_addr=("127.0.0.1", 0))
    locator = Locator(DnsSettings(servers=(f"127.0.0.1:{transport.get_extra_info('sockname')[1]}",), timeout_s=1.5))
    start = loop.time()
    try:
        with pytest.raises(TransportError):
            await find(locator, "sip:x.test:5060")
        assert loop.time() - start < 2.0
    finally:
        await locator.aclose()
        transport.close()


async def test_an_endless_chain_of_aliases_is_left_after_some() -> None:
    loop = asyncio.get_running_loop()

    def reply(query: dns.message.Message) -> bytes:
        name = query.question[0].name.to_text()
        return with_records(f"{name} CNAME a{name}")(query)

    transport, liar = await loop.create_datagram_endpoint(lambda: Liar(reply), local_addr=("127.0.0.1", 0))
    locator = Locator(DnsSettings(servers=(f"127.0.0.1:{transport.get_extra_info('sockname')[1]}",)))
    with pytest.raises(TransportError):
        await find(locator, "sip:x.test:5060")
    assert liar.asked <= 20
    await locator.aclose()
    transport.close()


async def test_odd_bytes_in_names_reach_no_log_and_no_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    reply = with_records(
        "_sip._udp.x.test. SRV 1 0 5060 e\\000vil\\010.test.",
        'x.test. NAPTR 1 1 "s" "SIP+D2U\\255" "" _sip._udp.x.test.',
    )
    transport, _ = await loop.create_datagram_endpoint(lambda: Liar(reply), local_addr=("127.0.0.1", 0))
    locator = Locator(DnsSettings(servers=(f"127.0.0.1:{transport.get_extra_info('sockname')[1]}",)))
    with pytest.raises(TransportError) as error:
        await find(locator, "sip:x.test")
    assert (str(error.value) + caplog.text.replace("\n", "")).isprintable()
    await locator.aclose()
    transport.close()


async def test_without_any_name_server_there_is_an_error_with_a_remedy(tmp_path: object) -> None:
    from pathlib import Path

    asker = NameServer(DnsSettings(), Path(str(tmp_path)) / "resolv.conf")
    with pytest.raises(NameServerError, match=r"name one in the settings or in /etc/resolv\.conf"):
        await asker.ask("x.test", "A")
    (Path(str(tmp_path)) / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    with pytest.raises(NameServerError):
        await asker.ask("x.test", "A")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.53", ("10.0.0.53", 53)),
        ("10.0.0.53:5353", ("10.0.0.53", 5353)),
        ("fd00::53", ("fd00::53", 53)),
        ("[fd00::53]", ("fd00::53", 53)),
        ("[fd00::53]:5353", ("fd00::53", 5353)),
    ],
)
def test_name_servers_are_addresses(text: str, expected: tuple[str, int]) -> None:
    assert parse_server(text) == expected


@pytest.mark.parametrize(
    "text", ["", "dns.example", "10.0.0.53:", "10.0.0.53:0", "10.0.0.53:65536", "10.0.0.53:x", "[10.0.0.53]:53", "::1:x"]
)
def test_what_is_no_name_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"name server|no port"):
        parse_server(text)
