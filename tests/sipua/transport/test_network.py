"""The real network on loopback: small, and in real time."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvloop

from sipua.errors import TransportError
from sipua.transport import AsyncioNetwork, Endpoint, TransportLayer
from tests.support.transport import Recorder, ask, options


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


HOSTS = ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine"))]


@pytest.fixture
async def layers() -> AsyncIterator[tuple[Recorder, Recorder]]:
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

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
