"""Connections: the pool, keep-alives, time limits."""

import asyncio
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import TransportError
from sipua.message import Via, make_response
from sipua.transport import Endpoint, MemoryNetwork, TransportLayer
from sipua.transport.tcp import LINGER_SECONDS, Connection
from tests.support.transport import ALICE, BOB, Pair, Recorder, ask, options

pytestmark = pytest.mark.looptime


async def test_those_who_wait_for_one_peer_share_one_connection() -> None:
    async with Pair(MemoryNetwork(delay=(0.1, 0.1))) as pair:
        channels = await asyncio.gather(*(pair.alice.layer.channel_to(pair.bob_at("TCP")) for _ in range(5)))
        assert len(set(map(id, channels))) == 1
        assert pair.alice.layer.counters["opened"] == pair.bob.layer.counters["accepted"] == 1


async def test_a_refused_connection_fails_each_who_waits_and_the_cause_is_told() -> None:
    async with Pair() as pair:
        pair.network.refuse_tcp(BOB)
        results = await asyncio.gather(*(pair.alice.layer.channel_to(pair.bob_at("TCP")) for _ in range(3)), return_exceptions=True)
        assert [str(result) for result in results] == ["connecting to tcp:10.0.0.2:5060 failed: Connection refused"] * 3
        assert all(isinstance(result, TransportError) for result in results)


async def test_one_who_gives_up_waiting_does_not_disturb_the_others() -> None:
    async with Pair(MemoryNetwork(delay=(0.1, 0.1))) as pair:
        quitter = asyncio.create_task(pair.alice.layer.channel_to(pair.bob_at("TCP")))
        other = asyncio.create_task(pair.alice.layer.channel_to(pair.bob_at("TCP")))
        await asyncio.sleep(0.05)
        quitter.cancel()
        assert (await other).is_open


async def test_a_request_to_the_remote_end_of_a_peers_connection_uses_it() -> None:
    async with Pair() as pair:
        await ask(pair.alice.layer, pair.bob_at("TCP"))
        await pair.alice.wait(lambda alice: len(alice.responses) == 1)
        inbound = pair.bob.requests[0][1]
        assert await pair.bob.layer.channel_to(inbound.remote) is inbound
        assert await pair.bob.layer.channel_to(Endpoint("TCP", ALICE, 5060)) is not inbound


async def test_a_response_whose_connection_is_gone_takes_a_new_one_to_the_sent_by_port() -> None:
    async with Pair() as pair:
        pair.bob.answer = 0
        channel = await ask(pair.alice.layer, pair.bob_at("TCP"))
        await pair.bob.wait(lambda bob: len(bob.requests) == 1)
        pair.network.reset_streams()
        await asyncio.sleep(0)
        assert not channel.is_open
        request, gone = pair.bob.requests[0]
        pair.bob.layer.send_response(make_response(request, 200, to_tag="b"), gone)
        await pair.alice.wait(lambda alice: len(alice.responses) == 1)
        assert pair.alice.responses[0][1].local == Endpoint("TCP", ALICE, 5060)


async def test_a_response_that_reaches_nobody_is_counted_and_raises_nothing() -> None:
    async with Pair() as pair:
        pair.bob.answer = 0
        await ask(pair.alice.layer, pair.bob_at("TCP"))
        await pair.bob.wait(lambda bob: len(bob.requests) == 1)
        request, gone = pair.bob.requests[0]
        await pair.alice.layer.aclose()
        await asyncio.sleep(1)
        pair.bob.layer.send_response(make_response(request, 200, to_tag="b"), gone)
        await asyncio.sleep(5)
        assert pair.bob.layer.counters["dropped"] == 1


async def test_on_close_listeners_are_called_once_unless_taken_back() -> None:
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("TCP"))
        calls: list[str] = []
        channel.on_close(lambda: calls.append("kept"))
        channel.on_close(lambda: calls.append("taken back"))()
        pair.network.reset_streams(BOB)
        await asyncio.sleep(0)
        assert (calls, channel.is_open) == (["kept"], False)
        with pytest.raises(TransportError):
            channel.send(b"x")
        udp = await pair.alice.layer.channel_to(pair.bob_at("UDP"))
        udp.on_close(lambda: calls.append("udp"))
    assert calls == ["kept", "udp"]
    assert not udp.is_open


async def test_a_connection_that_nobody_needs_is_closed_when_idle_and_one_with_a_listener_stays() -> None:
    async with Pair() as pair:
        channel = await ask(pair.alice.layer, pair.bob_at("TCP"))
        undo = channel.on_close(lambda: None)
        await asyncio.sleep(5000)
        assert channel.is_open
        undo()
        await asyncio.sleep(1801)
        assert not channel.is_open
        assert pair.bob.layer.connections == 0


async def test_both_ends_keep_a_connection_alive_with_pings_that_are_answered() -> None:
    async with Pair() as pair:
        channel = await ask(pair.alice.layer, pair.bob_at("TCP"))
        channel.on_close(lambda: None)
        await asyncio.sleep(1000)
        pings = [packet.time for packet in pair.network.packets if packet.data == b"\r\n\r\n"]
        gaps = [later - earlier for earlier, later in itertools.pairwise(pings)]
        assert len(pings) >= 8
        assert all(95 <= gap <= 120.01 for gap in gaps)
        assert pair.bob.layer.counters["keepalives"] == len(pings)
        assert pair.alice.layer.counters["keepalives"] == 0
        assert sum(packet.data == b"\r\n" for packet in pair.network.packets) == len(pings)


async def test_a_connection_whose_peer_stops_answering_pings_fails() -> None:
    async with Pair(MemoryNetwork(random.Random(3))) as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("TCP"))
        closed: list[float] = []
        loop = asyncio.get_running_loop()
        channel.on_close(lambda: closed.append(loop.time()))
        await asyncio.sleep(130)
        pair.network.delay = (100_000.0, 100_000.0)
        await asyncio.sleep(240)
        assert len(closed) == 1


async def test_half_a_message_is_waited_for_32_seconds_and_a_lone_crlf_for_ever() -> None:
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("TCP"))
        data = options(pair.alice.layer.via_for(channel, "z9hG4bKx")).encode()
        channel.send(data + b"\r\n")
        await asyncio.sleep(60)
        assert channel.is_open
        channel.send(data[:50])
        await asyncio.sleep(20)
        channel.send(data[50:60])
        await asyncio.sleep(11)
        assert channel.is_open
        await asyncio.sleep(2)
        assert not channel.is_open


async def test_a_peer_that_does_not_read_is_cut_off() -> None:
    async with Pair(MemoryNetwork(delay=(0.0, 0.0))) as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("TCP"))
        pair.network.delay = (1000.0, 1000.0)
        for _ in range(1 << 4):
            channel.send(b"x" * (1 << 16))
        with pytest.raises(TransportError, match="does not read"):
            channel.send(b"x")
        assert not channel.is_open


async def test_connections_above_the_limit_are_refused() -> None:
    network = MemoryNetwork()
    bob = TransportLayer(network.host(BOB), max_connections=2)
    alice = TransportLayer(network.host(ALICE), max_connections=2)
    where = await bob.listen(f"tcp:{BOB}:0")
    others = [TransportLayer(network.host(f"10.0.1.{index}")) for index in range(2)]
    for other in others:
        await other.channel_to(where)
    channel = await alice.channel_to(where)
    await asyncio.sleep(0)
    assert not channel.is_open
    assert (bob.connections, bob.counters["refused"], alice.connections) == (2, 1, 0)
    await others[0].aclose()
    for port in (1, 2):
        await others[1].listen(f"tcp:10.0.1.1:{port}")
        await alice.channel_to(Endpoint("TCP", "10.0.1.1", port))
    with pytest.raises(TransportError, match="too many connections"):
        await alice.channel_to(where)
    for layer in (alice, bob, others[1]):
        await layer.aclose()


async def test_a_broken_length_on_a_stream_is_answered_and_the_connection_closed() -> None:
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("TCP"))
        data = options(pair.alice.layer.via_for(channel, "z9hG4bKx")).encode().replace(b"Content-Length: 0", b"Content-Length: x")
        channel.send(data + data)
        await pair.alice.wait(lambda alice: len(alice.responses) == 1)
        await asyncio.sleep(1)
        assert not channel.is_open
        assert pair.alice.responses[0][0].status == 400
        assert pair.bob.layer.counters["malformed"] == 1


@given(chunks=st.lists(st.integers(1, 40), min_size=1, max_size=3), seed=st.integers(0, 9))
async def test_any_chunking_of_a_stream_gives_the_same_messages(chunks: list[int], seed: int) -> None:
    network = MemoryNetwork(random.Random(seed), chunk=(1, max(chunks)), delay=(0.0, 0.2))
    async with Pair(network) as pair:
        for index in range(5):
            await ask(pair.alice.layer, pair.bob_at("TCP"), body=b"b" * index, call_id=f"c{index}")
        await pair.alice.wait(lambda alice: len(alice.responses) == 5, 60)
        assert [(request.call_id, len(request.body)) for request, _ in pair.bob.requests] == [(f"c{i}", i) for i in range(5)]
        assert [response.call_id for response, _ in pair.alice.responses] == [f"c{i}" for i in range(5)]


async def test_via_for_names_a_connections_own_port_when_nobody_listens() -> None:
    network = MemoryNetwork()
    alice = TransportLayer(network.host(ALICE))
    bob = Recorder(TransportLayer(network.host(BOB)), answer=200)
    where = await bob.layer.listen(f"tcp:{BOB}:5060")
    recorder = Recorder(alice)
    channel = await ask(alice, where)
    await recorder.wait(lambda alice: len(alice.responses) == 1)
    assert Via.parse(alice.via_for(channel, "z9hG4bKx")).port == channel.local.port
    await alice.aclose()
    await bob.layer.aclose()


async def test_closing_fails_those_who_wait_for_a_connection() -> None:
    async with Pair() as pair:
        pair.network.silence_tcp(BOB)
        waiting = asyncio.create_task(pair.alice.layer.channel_to(pair.bob_at("TCP")))
        await asyncio.sleep(1)
    with pytest.raises(TransportError, match="closed"):
        await waiting


async def test_a_caller_flood_leaves_room_for_our_own_connections() -> None:
    network = MemoryNetwork()
    bob = TransportLayer(network.host(BOB), max_connections=1)
    where = await bob.listen(f"tcp:{BOB}:5060")
    alice = TransportLayer(network.host(ALICE))
    home = await alice.listen(f"tcp:{ALICE}:5060")
    await alice.channel_to(where)
    assert (await bob.channel_to(home)).is_open
    assert bob.connections == 2
    await alice.aclose()
    await bob.aclose()


async def test_a_failing_close_listener_keeps_no_other_from_its_call(caplog: pytest.LogCaptureFixture) -> None:
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("TCP"))
        calls: list[int] = []

        def fail() -> None:
            raise RuntimeError("no")

        channel.on_close(fail)
        channel.on_close(lambda: calls.append(1))
        pair.network.reset_streams()
        await asyncio.sleep(0)
        assert calls == [1]
        assert "a listener of a closed channel failed" in caplog.text


async def test_a_peer_that_never_answers_pings_keeps_its_connection() -> None:
    network = MemoryNetwork()
    received: list[bytes] = []

    class Old:
        def on_data(self, data: bytes) -> None:
            received.append(data)

        def on_closed(self) -> None:
            received.append(b"closed")

    await network.host(BOB).listen_tcp(BOB, 5060, lambda _: Old())
    layer = TransportLayer(network.host(ALICE))
    channel = await layer.channel_to(Endpoint("TCP", BOB, 5060))
    channel.on_close(lambda: None)
    await asyncio.sleep(600)
    assert channel.is_open
    assert set(received) == {b"\r\n\r\n"}
    await layer.aclose()


async def test_what_a_peer_does_not_take_is_dropped_some_time_after_a_close() -> None:
    async with Pair() as pair:
        connection = await pair.alice.layer.channel_to(pair.bob_at("TCP"))
        assert isinstance(connection, Connection)
        pair.network.delay = (1000.0, 1000.0)
        connection.send(b"x")
        connection.close()
        assert (connection.is_open, pair.bob.layer.connections) == (False, 1)
        await asyncio.sleep(LINGER_SECONDS + 1)
        assert pair.bob.layer.connections == 0
