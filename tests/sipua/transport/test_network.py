"""The real network on loopback: small, and in real time."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from sipua.errors import TransportError
from sipua.transport import AsyncioNetwork, Endpoint, TransportLayer
from sipua.transport.advertised import Advertised
from sipua.transport.datagram_calls import DirectCalls, PlainCalls
from sipua.transport.own import OwnAddresses
from sipua.transport.route import parse_endpoint
from tests.support.loopback_hosts import HOSTS
from tests.support.loops import LOOPS, daemon_loop
from tests.support.transport import Recorder, ask, gone_when_closed, options


@pytest.fixture(params=[PlainCalls, DirectCalls])
async def layers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Recorder, Recorder]]:
    monkeypatch.setattr("sipua.transport.network.datagram_calls", request.param)
    alice, bob = Recorder(TransportLayer()), Recorder(TransportLayer(), answer=200)
    yield alice, bob
    await alice.layer.aclose()
    await bob.layer.aclose()
    await asyncio.sleep(0)


def spell(transport: str, host: str) -> str:
    return str(Endpoint(transport, host, 0))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transport", ["UDP", "TCP"])
async def test_request_and_response_cross_real_sockets(layers: tuple[Recorder, Recorder], transport: str, host: str) -> None:
    alice, bob = layers
    mine = await alice.layer.listen(spell(transport, host))
    where = await bob.layer.listen(spell(transport, host))
    assert where.port
    channel = await ask(alice.layer, where)
    await alice.wait(lambda alice: len(alice.responses) == 1)
    via = bob.requests[0][0].via
    assert (via.host.strip("[]"), via.port, via.received) == (host, mine.port, host)
    assert channel.remote == where


async def test_a_connection_leaves_from_the_address_of_our_listener(layers: tuple[Recorder, Recorder]) -> None:
    """RFC 3261 §18.1.1: where the machine has other addresses, too, Via names one at which we are reached."""
    alice, bob = layers
    mine = await alice.layer.listen("tcp:127.0.0.6:0")
    channel = await ask(alice.layer, await bob.layer.listen("tcp:127.0.0.1:0"))
    await alice.wait(lambda alice: len(alice.responses) == 1)
    via = bob.requests[0][0].via
    assert (channel.local.host, via.host, via.port, via.received) == ("127.0.0.6", mine.host, mine.port, "127.0.0.6")


@pytest.mark.parametrize(
    ("listening", "target", "usual", "source"),
    [
        (["tcp:10.0.0.6:5060"], "tcp:10.0.0.5:5060", "10.0.0.7", "10.0.0.6"),
        (["tcp:10.0.0.6:5060"], "tcp:10.0.0.5:5060", "10.0.0.6", ""),
        (["tcp:198.51.100.6:5060", "tcp:10.0.0.6:5060"], "tcp:10.0.0.5:5060", "10.0.0.6", ""),
        (["tcp:0.0.0.0:5060"], "tcp:10.0.0.5:5060", "10.0.0.7", ""),
        (["tcp:127.0.0.1:5060"], "tcp:10.0.0.5:5060", "10.0.0.7", ""),
        (["udp:10.0.0.6:5060", "tls:10.0.0.6:5061"], "tcp:10.0.0.5:5060", "10.0.0.7", ""),
        (["tcp:[2001:db8::6]:5060"], "tcp:10.0.0.5:5060", "10.0.0.7", ""),
        (["tcp:[2001:db8::6]:5060"], "tcp:[2001:db8::5]:5060", "2001:db8::7", "2001:db8::6"),
        (["tcp:10.0.0.6:5060"], "tcp:10.0.0.5:5060", None, ""),
    ],
)
def test_a_connection_leaves_from_a_listener_unless_the_routing_table_does_so(
    listening: list[str], target: str, usual: str | None, source: str
) -> None:
    own = OwnAddresses(Advertised())
    own.listening += map(parse_endpoint, listening)
    assert own.source_to(parse_endpoint(target), lambda _host: usual) == source


async def test_a_large_request_falls_back_to_udp_when_tcp_is_refused(layers: tuple[Recorder, Recorder]) -> None:
    alice, bob = layers
    await alice.layer.listen("udp:0.0.0.0:0")
    where = await bob.layer.listen("udp:127.0.0.1:0")
    channel = await ask(alice.layer, where, body=b"x" * 3000)
    await alice.wait(lambda alice: len(alice.responses) == 1)
    assert channel.remote == where
    assert channel.local.host == "127.0.0.1"


async def test_a_burst_of_datagrams_arrives_whole(layers: tuple[Recorder, Recorder]) -> None:
    alice, bob = layers
    await alice.layer.listen("udp:127.0.0.1:0")
    where = await bob.layer.listen("udp:127.0.0.1:0")
    for index in range(100):
        await ask(alice.layer, where, call_id=f"c{index}")
    await alice.wait(lambda alice: len(alice.responses) == 100)


async def test_a_datagram_that_is_too_long_is_a_transport_error_at_once(layers: tuple[Recorder, Recorder]) -> None:
    alice, _ = layers
    await alice.layer.listen("udp:127.0.0.1:0")
    channel = await alice.layer.channel_to(Endpoint("UDP", "127.0.0.1", 9))
    with pytest.raises(TransportError, match="Message too long"):
        alice.layer.send_request(options(alice.layer.via_for(channel, "z9hG4bKx"), body=b"x" * 65_600), channel)


async def test_sending_to_a_port_without_a_socket_harms_nobody(layers: tuple[Recorder, Recorder]) -> None:
    alice, bob = layers
    await alice.layer.listen("udp:127.0.0.1:0")
    where = await bob.layer.listen("udp:127.0.0.1:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        dead = Endpoint("UDP", "127.0.0.1", unused.getsockname()[1])
    await ask(alice.layer, dead)
    await ask(alice.layer, where)
    await alice.wait(lambda alice: len(alice.responses) == 1)


async def test_a_port_in_use_is_a_transport_error(layers: tuple[Recorder, Recorder]) -> None:
    alice, bob = layers
    for transport in ("UDP", "TCP"):
        where = await alice.layer.listen(spell(transport, "127.0.0.1"))
        with pytest.raises(TransportError, match="can't listen"):
            await bob.layer.listen(str(where))


async def test_a_connection_that_the_peer_closes_is_noticed(layers: tuple[Recorder, Recorder]) -> None:
    alice, bob = layers
    where = await bob.layer.listen("tcp:127.0.0.1:0")
    channel = await alice.layer.channel_to(where)
    closed = asyncio.Event()
    channel.on_close(closed.set)
    await bob.layer.aclose()
    async with asyncio.timeout(5):
        await closed.wait()
    assert (channel.is_open, alice.layer.connections) == (False, 0)
    with pytest.raises(TransportError, match="Connect"):
        await alice.layer.channel_to(where)


@pytest.mark.cpython
@pytest.mark.parametrize("loop_factory", LOOPS.values())
def test_a_closed_connection_is_gone_without_the_collector(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """On both sides: the daemon lets the collector run only when memory has grown."""

    async def scenario() -> None:
        alice, bob = Recorder(TransportLayer()), Recorder(TransportLayer(), answer=200)
        try:
            where = await bob.layer.listen("tcp:127.0.0.1:0")
            await ask(alice.layer, where)
            await alice.wait(lambda alice: len(alice.responses) == 1)
            await gone_when_closed(alice.responses, bob.requests)
        finally:
            await alice.layer.aclose()
            await bob.layer.aclose()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


async def test_the_source_address_of_a_loopback_peer_is_loopback() -> None:
    assert AsyncioNetwork().source_for("127.0.0.1") == "127.0.0.1"


def test_the_real_network_works_on_uvloop_too() -> None:
    async def scenario() -> None:
        alice, bob = Recorder(TransportLayer()), Recorder(TransportLayer(), answer=200)
        try:
            for transport in ("UDP", "TCP"):
                await alice.layer.listen(spell(transport, "127.0.0.1"))
                await ask(alice.layer, await bob.layer.listen(spell(transport, "127.0.0.1")))
            await alice.wait(lambda alice: len(alice.responses) == 2)
            channel = await alice.layer.channel_to(Endpoint("UDP", "127.0.0.1", 9))
            with pytest.raises(TransportError, match="Message too long"):
                channel.send(b"x" * 66_000)
        finally:
            await alice.layer.aclose()
            await bob.layer.aclose()

    with asyncio.Runner(loop_factory=daemon_loop) as runner:
        runner.run(scenario())


OPTIONS = b"OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n"
END = b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.cpython
@pytest.mark.parametrize(
    "data", [b"", OPTIONS[:60], b"HELO\r\n\r\n", OPTIONS + b"Call-ID\r\n" + END, OPTIONS + END, OPTIONS + b"Call-ID: 1\r\n" + END]
)
async def test_a_connection_that_was_closed_leaves_no_circle(layers: tuple[Recorder, Recorder], data: bytes) -> None:
    _, bob = layers
    where = await bob.layer.listen("tcp:127.0.0.1:0")

    async def visit() -> None:
        reader, writer = await asyncio.open_connection(where.host, where.port)
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
        await writer.wait_closed()

    await visit()
    await asyncio.sleep(0)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(5):
            await visit()
        await asyncio.sleep(0.01)
        bob.requests.clear()
        gc.collect()
        left = {type(each).__name__ for each in gc.garbage}
        assert not left & {"Connection", "_StreamProtocol", "MessageError", "Request", "Broken"}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
