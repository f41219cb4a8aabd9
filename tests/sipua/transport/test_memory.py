"""The network in memory: what a seed promises."""

import asyncio
import random

import pytest

from sipua.transport import MemoryNetwork
from sipua.transport.network import HostPort, Stream

pytestmark = pytest.mark.looptime


class Sink:
    """Collects what a socket or stream gets."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.closed = 0

    def on_datagram(self, data: bytes, source: HostPort) -> None:
        self.data.append(data)

    def on_datagram_error(self, error: OSError) -> None:
        raise error

    def on_data(self, data: bytes) -> None:
        self.data.append(data)

    def on_closed(self) -> None:
        self.closed += 1


async def carry(network: MemoryNetwork, count: int = 200) -> list[int]:
    """Send *count* numbered datagrams, one in a millisecond, and return the numbers that arrive."""
    sink = Sink()
    await network.host("10.0.0.2").open_udp("10.0.0.2", 5060, sink)
    sender = await network.host("10.0.0.1").open_udp("0.0.0.0", 0, Sink())
    for number in range(count):
        sender.send(str(number).encode(), ("10.0.0.2", 5060))
        await asyncio.sleep(0.001)
    await asyncio.sleep(10)
    return [int(data) for data in sink.data]


async def test_a_network_without_faults_delivers_each_datagram_once_in_order() -> None:
    assert await carry(MemoryNetwork()) == list(range(200))


async def test_delay_alone_keeps_the_order() -> None:
    assert await carry(MemoryNetwork(delay=(0.01, 0.5))) == list(range(200))


async def test_loss_duplication_and_reordering_happen_and_a_seed_repeats_them() -> None:
    def terrible() -> MemoryNetwork:
        return MemoryNetwork(random.Random(11), loss=0.2, duplicate=0.2, reorder=0.2, delay=(0.0, 0.01), record=True)

    network = terrible()
    first = await carry(network)
    assert 100 < len(set(first)) < 190
    assert len(first) > len(set(first))
    assert first != sorted(first)
    assert sum(packet.fate == "lost" for packet in network.packets) == 200 - len(set(first))
    assert await carry(terrible()) == first


async def test_chosen_datagrams_can_be_lost() -> None:
    network = MemoryNetwork()
    undo = network.drop(lambda packet: packet.data == b"3")
    network.drop_next(lambda packet: packet.data in (b"5", b"6", b"7"), 2)
    assert await carry(network, 10) == [0, 1, 2, 4, 7, 8, 9]
    undo()
    undo()
    other = await network.host("10.0.0.3").open_udp("10.0.0.3", 5060, sink := Sink())
    other.send(b"3", ("10.0.0.3", 5060))
    await asyncio.sleep(1)
    assert sink.data == [b"3"]


async def pipe(network: MemoryNetwork) -> tuple[Stream, Sink, Stream, Sink]:
    near, far = Sink(), Sink()
    accepted: list[Stream] = []

    def accept(stream: Stream) -> Sink:
        accepted.append(stream)
        return far

    await network.host("10.0.0.2").listen_tcp("10.0.0.2", 5060, accept)
    stream = await network.host("10.0.0.1").connect_tcp("10.0.0.2", 5060, lambda _: near)
    return stream, near, accepted[0], far


async def test_a_stream_is_whole_and_ordered_whatever_its_chunks_and_ends_behind_its_data() -> None:
    network = MemoryNetwork(random.Random(5), chunk=(1, 7), delay=(0.0, 0.3))
    stream, near, other, far = await pipe(network)
    text = bytes(range(256)) * 4
    stream.write(text)
    other.write(b"back")
    await asyncio.sleep(5)
    stream.write(text)
    stream.close()
    stream.write(b"too late")
    await asyncio.sleep(5)
    assert b"".join(far.data) == text + text
    assert max(map(len, far.data)) <= 7
    assert b"".join(near.data) == b"back"
    assert (near.closed, far.closed, stream.unsent) == (1, 1, 0)


async def test_a_reset_loses_what_travels_and_tells_both_ends() -> None:
    network = MemoryNetwork(delay=(1.0, 1.0))
    stream, near, _, far = await pipe(network)
    stream.write(b"lost")
    network.reset_streams("10.0.0.2")
    await asyncio.sleep(5)
    assert (far.data, near.closed, far.closed) == ([], 1, 1)


async def test_addresses_and_ports_are_checked_as_a_kernel_does() -> None:
    network = MemoryNetwork()
    host = network.host("10.0.0.1", "a.example")
    await host.open_udp("10.0.0.1", 5060, Sink())
    with pytest.raises(OSError, match="already in use"):
        await host.open_udp("0.0.0.0", 5060, Sink())
    with pytest.raises(OSError, match="Cannot assign"):
        await host.open_udp("10.0.0.9", 5060, Sink())
    with pytest.raises(OSError, match="unreachable"):
        await host.connect_tcp("10.9.9.9", 5060, lambda _: Sink())
    with pytest.raises(ConnectionRefusedError):
        await host.connect_tcp("10.0.0.1", 5060, lambda _: Sink())
    sock = await host.open_udp("10.0.0.1", 0, Sink())
    with pytest.raises(OSError, match="unreachable"):
        sock.send(b"x", ("::1", 5060))
    sock.close()
    with pytest.raises(OSError, match="Bad file"):
        sock.send(b"x", ("10.0.0.1", 5060))
    assert await host.lookup("A.example") == ["10.0.0.1"]
    with pytest.raises(OSError, match="not known"):
        await host.lookup("b.example")
