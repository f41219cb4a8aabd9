"""RTP sessions: rules with a fake transport in virtual time, then real sockets on loopback."""

import asyncio
import gc
import itertools
import random
import socket
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sipua.errors import TransportError
from sipua.rtp import PortAllocator, RtpPacket, RtpSession, SilenceClock, build_packet, parse_packet
from sipua.sdp import AgreedCodec, Codec, Direction, Negotiated
from tests.support.loops import daemon_loop

PCMU = AgreedCodec(Codec.PCMU, 0, 0)
PEER = ("192.0.2.20", 20000)
NAT = ("198.51.100.9", 41000)


def agreed(
    address: str = PEER[0],
    port: int = PEER[1],
    *,
    local: Direction = Direction.SENDRECV,
    remote: Direction = Direction.SENDRECV,
    codec: AgreedCodec = PCMU,
) -> Negotiated:
    return Negotiated(address, port, (codec,), local, remote, 96, 101)


def audio(payload_type: int = 0, **fields: int) -> bytes:
    return build_packet(RtpPacket(payload_type, fields.get("sequence", 1), 160, 0xABCD, b"\xff" * 160))


class Wire(asyncio.DatagramTransport):
    def __init__(self, host: str = "192.0.2.7") -> None:
        super().__init__({"sockname": (host, 30000)})
        self.sent: list[tuple[bytes, Any]] = []
        self.is_closed = False

    def sendto(self, data: Any, addr: Any = None) -> None:
        assert not self.is_closed
        self.sent.append((bytes(data), addr))

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def clock() -> AsyncIterator[SilenceClock]:
    made = SilenceClock(asyncio.get_running_loop())
    yield made
    assert len(made) == 0, "a session left its clock running"


def session_on(wire: Wire, clock: SilenceClock | None = None, *, symmetric: bool = True) -> RtpSession:
    session = RtpSession(asyncio.get_running_loop(), clock, random.Random(1), symmetric=symmetric)
    session.connection_made(wire)
    return session


@pytest.mark.looptime
class TestSilence:
    async def test_it_goes_out_each_twenty_milliseconds_with_growing_numbers(self, wire: Wire, clock: SilenceClock) -> None:
        session = session_on(wire, clock)
        session.update(agreed(codec=AgreedCodec(Codec.PCMA, 97, 8)), send_silence=True)
        assert session.is_sending
        await asyncio.sleep(0.09)
        session.close()
        packets = [parse_packet(data) for data, _ in wire.sent]
        assert len(packets) == 4
        assert {address for _, address in wire.sent} == {PEER}
        assert {packet.ssrc for packet in packets} == {packets[0].ssrc}
        assert [packet.marker for packet in packets] == [True, False, False, False]
        assert [packet.payload_type for packet in packets] == [97] * 4
        assert [packet.payload for packet in packets] == [b"\xd5" * 160] * 4
        for before, after in itertools.pairwise(packets):
            assert (after.sequence - before.sequence) % 2**16 == 1
            assert (after.timestamp - before.timestamp) % 2**32 == 160
        assert session.counters.sent == 4

    async def test_sequence_and_timestamp_wrap_and_missed_intervals_only_move_the_timestamp(self, wire: Wire) -> None:
        class Ones:
            def getrandbits(self, k: int, /) -> int:
                return (1 << k) - 1

        session = RtpSession(asyncio.get_running_loop(), None, Ones())
        session.connection_made(wire)
        session.update(agreed())
        session.send_silence(1)
        session.send_silence(4)
        packets = [parse_packet(data) for data, _ in wire.sent]
        assert [(packet.sequence, packet.timestamp) for packet in packets] == [(0, 159), (1, 799)]

    async def test_numbers_start_at_random(self, wire: Wire) -> None:
        starts = set()
        for seed in range(5):
            session = RtpSession(asyncio.get_running_loop(), None, random.Random(seed))
            session.connection_made(wire)
            session.update(agreed())
            session.send_silence(1)
            packet = parse_packet(wire.sent[-1][0])
            starts.add((packet.ssrc, packet.sequence, packet.timestamp))
        assert len(starts) == 5

    @pytest.mark.parametrize(
        "stop",
        [
            lambda session: session.update(agreed(local=Direction.RECVONLY, remote=Direction.SENDONLY), send_silence=True),
            lambda session: session.update(agreed(local=Direction.INACTIVE, remote=Direction.INACTIVE), send_silence=True),
            lambda session: session.update(agreed(), send_silence=False),
            lambda session: session.update(None),
            lambda session: session.close(),
            lambda session: session.connection_lost(OSError("gone")),
        ],
    )
    async def test_it_stops_when_it_may_not_go_on(self, wire: Wire, clock: SilenceClock, stop: Callable[[RtpSession], None]) -> None:
        session = session_on(wire, clock)
        session.update(agreed(), send_silence=True)
        await asyncio.sleep(0.03)
        stop(session)
        await asyncio.sleep(0.1)
        assert len(wire.sent) == 1
        assert not session.is_sending
        session.close()

    async def test_after_a_hold_it_goes_on_with_a_marker_and_the_same_source(self, wire: Wire, clock: SilenceClock) -> None:
        session = session_on(wire, clock)
        for local in (Direction.SENDRECV, Direction.RECVONLY, Direction.SENDRECV):
            session.update(agreed(local=local), send_silence=True)
            await asyncio.sleep(0.03)
        session.close()
        packets = [parse_packet(data) for data, _ in wire.sent]
        assert [packet.marker for packet in packets] == [True, True]
        assert packets[0].ssrc == packets[1].ssrc

    async def test_a_pause_sends_nothing_and_time_goes_on(self, wire: Wire, clock: SilenceClock) -> None:
        session = session_on(wire, clock)
        assert not session.pause(1.0)  # nothing is being sent yet
        session.update(agreed(), send_silence=True)
        assert session.pause(0)
        await asyncio.sleep(0.05)
        assert session.pause(0.1)
        await asyncio.sleep(0.09)
        assert len(wire.sent) == 2
        await asyncio.sleep(0.04)
        session.close()
        packets = [parse_packet(data) for data, _ in wire.sent]
        assert [packet.marker for packet in packets] == [True, False, True, False]
        assert (packets[2].sequence - packets[1].sequence) % 2**16 == 1
        assert (packets[2].timestamp - packets[1].timestamp) % 2**32 == 160 * 6

    async def test_without_a_clock_nothing_is_sent(self, wire: Wire) -> None:
        session = session_on(wire)
        session.update(agreed(), send_silence=True)
        await asyncio.sleep(0.1)
        assert (wire.sent, session.is_sending) == ([], False)

    @pytest.mark.parametrize("address", ["pbx.example.com", "2001:db8::1", "0.0.0.0", ""])
    async def test_it_waits_for_the_peers_real_address_where_the_sdp_has_none_of_use(
        self, wire: Wire, clock: SilenceClock, address: str
    ) -> None:
        session = session_on(wire, clock)
        session.update(agreed(address), send_silence=True)
        await asyncio.sleep(0.05)
        assert wire.sent == []
        assert session.target is None
        session.datagram_received(audio(), NAT)
        await asyncio.sleep(0.02)
        assert [address for _, address in wire.sent] == [NAT]
        session.close()


class TestReceiving:
    async def test_agreed_packets_are_counted_and_dropped(self, wire: Wire) -> None:
        session = session_on(wire)
        session.update(agreed())
        assert session.counters.last_received_at is None
        before = asyncio.get_running_loop().time()
        for data in (audio(), audio(101), audio(18), b"\x80\xc8\x00\x00", b"junk", b"", b"\x8f" + audio()[1:13]):
            session.datagram_received(data, PEER)
        counters = session.counters
        assert (counters.packets, counters.octets) == (2, 344)
        assert (counters.unexpected, counters.rtcp, counters.malformed) == (1, 1, 3)
        assert counters.last_received_at is not None
        assert counters.last_received_at >= before

    async def test_nothing_is_expected_before_anything_is_agreed(self, wire: Wire) -> None:
        session = session_on(wire)
        session.datagram_received(audio(), PEER)
        assert (session.counters.packets, session.counters.unexpected) == (0, 1)

    async def test_socket_errors_are_counted(self, wire: Wire) -> None:
        session = session_on(wire)
        session.error_received(ConnectionRefusedError())
        session.error_received(ConnectionRefusedError())
        assert session.counters.errors == 2
        assert not wire.is_closed


class TestSymmetricRtp:
    """RFC 4961 §4: learnt once, learnt again after a further offer and answer only."""

    async def test_the_first_valid_packet_sets_the_target(self, wire: Wire) -> None:
        session = session_on(wire)
        session.update(agreed())
        assert session.target == PEER
        session.datagram_received(b"junk", ("203.0.113.1", 1))
        session.datagram_received(audio(18), ("203.0.113.1", 1))
        assert session.target == PEER
        session.datagram_received(audio(), NAT)
        assert session.target == NAT
        session.datagram_received(audio(), ("203.0.113.1", 1))
        assert session.target == NAT

    async def test_a_packet_from_the_signalled_address_settles_it(self, wire: Wire) -> None:
        session = session_on(wire)
        session.update(agreed())
        session.datagram_received(audio(), PEER)
        session.datagram_received(audio(), NAT)
        assert session.target == PEER

    async def test_an_unchanged_address_keeps_the_target_until_it_is_learnt_again(self, wire: Wire) -> None:
        session = session_on(wire)
        session.update(agreed())
        session.datagram_received(audio(), NAT)
        session.update(agreed())
        assert session.target == NAT
        session.datagram_received(audio(), (NAT[0], 41002))
        assert session.target == (NAT[0], 41002)

    async def test_a_new_address_takes_over_at_once(self, wire: Wire) -> None:
        session = session_on(wire)
        session.update(agreed())
        session.datagram_received(audio(), NAT)
        session.update(agreed("192.0.2.99", 5000))
        assert session.target == ("192.0.2.99", 5000)

    async def test_it_can_be_switched_off(self, wire: Wire) -> None:
        session = session_on(wire, symmetric=False)
        session.update(agreed())
        session.datagram_received(audio(), NAT)
        assert session.target == PEER

    async def test_an_ipv6_session_sends_to_ipv6(self) -> None:
        session = session_on(Wire("2001:db8::7"))
        session.update(agreed("2001:db8::1"))
        assert session.target == ("2001:db8::1", PEER[1])


def free_range(pairs: int = 1) -> tuple[int, int]:
    """An even port that is free now, with room for *pairs* pairs above it."""
    for port in range(random.SystemRandom().randrange(40000, 60000, 2), 65000, 2):
        probes = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2 * pairs)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind(("127.0.0.1", port + offset))
        except OSError:
            continue
        else:
            return port, port + 2 * pairs - 1
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no free ports")


class TestRealSockets:
    async def test_two_sessions_hear_each_others_silence(self, clock: SilenceClock) -> None:
        ports = PortAllocator(*free_range(2))
        one = await RtpSession.open("127.0.0.1", ports, clock=clock)
        two = await RtpSession.open("127.0.0.1", ports, clock=clock)
        assert one.local_port % 2 == two.local_port % 2 == 0
        assert one.local_address == "127.0.0.1"
        one.update(agreed("127.0.0.1", two.local_port), send_silence=True)
        two.update(agreed("127.0.0.1", one.local_port), send_silence=True)
        async with asyncio.timeout(5):
            while not (one.counters.packets and two.counters.packets):
                await asyncio.sleep(0.01)
        one.close()
        two.close()
        two.close()
        assert ports.lent == 0
        await asyncio.sleep(0)

    async def test_sending_to_a_closed_port_and_after_the_close_does_no_harm(self) -> None:
        low, high = free_range(2)
        session = await RtpSession.open("127.0.0.1", PortAllocator(low, high))
        session.update(agreed("127.0.0.1", high))
        session.send_silence(1)
        assert session.counters.sent == 1
        session.close()
        session.send_silence(1)
        session.update(agreed())
        assert session.counters.sent == 1
        await asyncio.sleep(0)

    async def test_a_port_that_another_holds_is_passed_over(self) -> None:
        low, high = free_range(2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", low))
            ports = PortAllocator(low, high)
            session = await RtpSession.open("127.0.0.1", ports)
            assert session.local_port == low + 2
            assert ports.lent == 1
            with pytest.raises(TransportError, match="no RTP port could be bound"):
                await RtpSession.open("127.0.0.1", ports)
            session.close()
        await asyncio.sleep(0)

    @pytest.mark.cpython
    async def test_a_port_that_another_holds_leaves_nothing_to_the_collector(self) -> None:
        """An error that is kept holds the frame that keeps it, and with it the session."""
        made: list[weakref.ref[RtpSession]] = []

        class Counted(RtpSession):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                made.append(weakref.ref(self))

        low, high = free_range(2)
        gc.disable()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind(("127.0.0.1", low))
                session = await Counted.open("127.0.0.1", PortAllocator(low, high))
            assert [held() for held in made] == [None, session]
        finally:
            gc.enable()
        session.close()
        await asyncio.sleep(0)

    async def test_an_address_that_is_not_ours_is_a_transport_error_at_once(self) -> None:
        ports = PortAllocator(*free_range(2))
        with pytest.raises(TransportError, match="no RTP port could be bound on 192\\.0\\.2\\.1"):
            await RtpSession.open("192.0.2.1", ports)
        assert ports.lent == 0
        assert ports.take(asyncio.get_running_loop().time())

    def test_uvloop_serves_as_well(self) -> None:
        low, high = free_range(2)
        ports = PortAllocator(low, high)

        async def run() -> RtpSession:
            session = await RtpSession.open("127.0.0.1", ports)
            session.update(agreed("127.0.0.1", low))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.bind(("127.0.0.1", 0))
                peer.sendto(audio(), ("127.0.0.1", session.local_port))
                async with asyncio.timeout(5):
                    while not session.counters.packets:
                        await asyncio.sleep(0.005)
                assert session.target == peer.getsockname()
                peer.settimeout(5)
                session.send_silence(1)
                assert parse_packet(peer.recv(2048)).payload == b"\xff" * 160
            session.close()
            with pytest.raises(TransportError):
                await RtpSession.open("192.0.2.1", PortAllocator(low, high))
            return session

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, asyncio.Runner(loop_factory=daemon_loop) as runner:
            other.bind(("127.0.0.1", low))
            session = runner.run(run())
        assert session.local_port == low + 2
        assert ports.lent == 0

    async def test_a_host_name_is_refused(self) -> None:
        with pytest.raises(ValueError, match="localhost"):
            await RtpSession.open("localhost", PortAllocator(*free_range()))

    async def test_a_range_held_by_others_is_a_transport_error(self) -> None:
        low, high = free_range()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", low))
            ports = PortAllocator(low, high)
            with pytest.raises(TransportError, match="no RTP port"):
                await RtpSession.open("127.0.0.1", ports)
            assert ports.lent == 0

    async def test_a_cancelled_open_gives_its_port_back(self) -> None:
        ports = PortAllocator(*free_range())
        task = asyncio.create_task(RtpSession.open("127.0.0.1", ports))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ports.lent == 0
        await asyncio.sleep(0)
