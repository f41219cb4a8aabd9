"""One RTP socket: it receives and discards, counts, and sends silence if asked to (RFC 3550, RFC 4961).

Enough for a call that plays nothing: the PBX sees an open port, and its media time-out sees packets. The session owns its
socket and its port; what to send and where comes from :class:`~sipua.sdp.negotiate.Negotiated`.

RTCP is not sent and has no socket; packets of it on the RTP port are counted apart.
"""

import asyncio
import errno
import ipaddress
import logging
import socket
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

from sipua.entropy import system_bits
from sipua.errors import ParseError, TransportError
from sipua.rtp.g711 import SAMPLES_PER_PACKET, SILENCE
from sipua.rtp.packet import build_plain_packet, is_rtcp, payload_type_of
from sipua.rtp.ports import PortAllocator
from sipua.rtp.silence import SilenceClock
from sipua.sdp.negotiate import Negotiated

MAX_BIND_ATTEMPTS = 16  # ports of the range that others on this machine may hold before we give up

_log = logging.getLogger("sipua.rtp")


class BitSource(Protocol):
    """The part of :class:`random.Random` that is needed."""

    def getrandbits(self, k: int, /) -> int:
        """Return *k* random bits."""


@dataclass(slots=True)
class RtpCounters:
    """What a session saw and sent.

    *packets* and *octets* are valid RTP of an agreed payload type, datagrams and their size; *unexpected* is RTP of another
    type, *malformed* neither RTP nor RTCP, *errors* what the socket reported: an unreachable network, a full buffer.
    *last_received_at* is loop time of the last counted packet.
    """

    packets: int = 0
    octets: int = 0
    rtcp: int = 0
    unexpected: int = 0
    malformed: int = 0
    errors: int = 0
    sent: int = 0
    last_received_at: float | None = None


class RtpSession(asyncio.DatagramProtocol):
    """The media socket of one call. Make it with :meth:`open`, end it with :meth:`close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: SilenceClock | None = None,
        bits: BitSource | None = None,
        *,
        symmetric: bool = True,
    ) -> None:
        bits = bits or system_bits
        self.counters = RtpCounters()
        self.local_address = ""
        self.local_port = 0
        self._loop = loop
        self._clock = clock
        self._symmetric = symmetric
        self._transport: asyncio.DatagramTransport | None = None
        self._give_back: partial[None] | None = None
        self._is_ipv6 = False
        self._accepted: frozenset[int] = frozenset()
        self._signalled: tuple[str, int] | None = None
        self._target: tuple[object, ...] | None = None
        self._is_latched = False
        self._payload_type = 0
        self._payload = b""
        self._is_sending = False
        self._paused_until = 0.0
        self._ssrc = bits.getrandbits(32)
        self._sequence = bits.getrandbits(16)
        self._timestamp = bits.getrandbits(32)
        self._marker = True

    @classmethod
    async def open(
        cls,
        host: str,
        ports: PortAllocator,
        *,
        clock: SilenceClock | None = None,
        bits: BitSource | None = None,
        symmetric: bool = True,
    ) -> "RtpSession":
        """Bind a socket on *host* (an IP literal) to a port of *ports* and return its session.

        *clock* sends the silence that :meth:`update` asks for; without it the session only receives. *bits* gives SSRC and
        the first sequence number and timestamp. *symmetric*: see :meth:`datagram_received`.
        Raises :class:`ValueError` if *host* is no literal, :class:`LimitError` if no port is left, :class:`TransportError` if
        the host can't be bound or too many ports are held by others.
        """
        ipaddress.ip_address(host)  # a name would make the socket ask the DNS and block
        loop = asyncio.get_running_loop()
        fault = ""  # the text: the error itself would hold this frame, and the frame the error
        for _ in range(min(MAX_BIND_ATTEMPTS, ports.size)):
            session = cls(loop, clock, bits, symmetric=symmetric)
            try:
                await session._bind(host, ports)
            except OSError as error:
                fault = str(error)
                if error.errno != errno.EADDRINUSE:  # another port would fail alike
                    break
            else:
                return session
        raise TransportError(f"no RTP port could be bound on {host}: {fault}")

    async def _bind(self, host: str, ports: PortAllocator) -> None:
        port = ports.take(self._loop.time())
        self._give_back = partial(ports.release, port)
        try:
            await self._loop.create_datagram_endpoint(lambda: self, sock=_bound_socket(host, port))
        except BaseException:
            self.close()
            raise

    @property
    def is_sending(self) -> bool:
        """True while silence goes out with each tick of the clock (or would, once the peer's address is known)."""
        return self._is_sending

    @property
    def target(self) -> tuple[str, int] | None:
        """Where packets go: the peer's address by SDP, or the one that it really sends from."""
        return (str(self._target[0]), cast("int", self._target[1])) if self._target else None

    def update(self, agreed: Negotiated | None, *, send_silence: bool = False) -> None:
        """Follow what offer and answer settled; None forgets the peer.

        Silence is sent if *send_silence* is set and our direction allows sending. Each call lets the peer's real address be
        learnt again; an unchanged SDP address keeps the one in use until then.
        """
        if self._transport is None:
            return
        if agreed is None:
            self._accepted, self._signalled, self._target = frozenset(), None, None
            self._set_sending(wanted=False)
            return
        signalled = (agreed.remote_address, agreed.remote_port)
        if signalled != self._signalled:
            self._signalled = signalled
            self._target = signalled if self._is_usable(*signalled) else None
        self._is_latched = False
        self._accepted = agreed.receive_payload_types
        codec = agreed.codecs[0]
        self._payload_type, self._payload = codec.payload_type, SILENCE[codec.codec]
        self._set_sending(wanted=send_silence and agreed.local_direction.sends)

    def pause(self, seconds: float) -> bool:
        """Send nothing for *seconds* from now, or with 0 go on with the next tick; tell whether silence is being sent at all."""
        self._paused_until = self._loop.time() + seconds
        return self._is_sending

    def close(self) -> None:
        """Close the socket and give the port back. A second call does nothing."""
        self._set_sending(wanted=False)
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        if self._give_back is not None:
            self._give_back(self._loop.time())
            self._give_back = None

    def send_silence(self, intervals: int) -> None:
        """Send one packet of silence, *intervals* of 20 ms after the last one: one sequence number, all of their time."""
        self._timestamp = (self._timestamp + intervals * SAMPLES_PER_PACKET) & 0xFFFFFFFF
        if self._target is None or self._transport is None:
            return
        if self._paused_until:
            if self._loop.time() < self._paused_until:
                return
            self._paused_until, self._marker = 0.0, True
        self._sequence = (self._sequence + 1) & 0xFFFF
        packet = build_plain_packet(self._payload_type, self._sequence, self._timestamp, self._ssrc, self._payload, marker=self._marker)
        self._marker = False
        self.counters.sent += 1
        self._transport.sendto(packet, self._target)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and read the address it is bound to."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        name = transport.get_extra_info("sockname")
        self.local_address, self.local_port = name[0], name[1]
        self._is_ipv6 = ":" in self.local_address

    def datagram_received(self, data: bytes, addr: tuple[object, ...]) -> None:
        """Count a datagram and drop it.

        The source of the first valid packet after an :meth:`update` becomes the target, if it is another than the SDP says:
        behind a NAT only the source tells where the peer is (symmetric RTP, RFC 4961 §4). One that comes later is ignored.
        """
        counters = self.counters
        if is_rtcp(data):
            counters.rtcp += 1
            return
        try:
            payload_type = payload_type_of(data)
        except ParseError:
            counters.malformed += 1
            return
        if payload_type not in self._accepted:
            counters.unexpected += 1
            return
        counters.packets += 1
        counters.octets += len(data)
        counters.last_received_at = self._loop.time()
        if self._symmetric and not self._is_latched:
            self._is_latched = True
            if self._target != addr:
                self._target = addr

    def error_received(self, exc: Exception) -> None:
        """Count what the socket reports; none of it is a reason to end a call."""
        self.counters.errors += 1
        if self.counters.errors == 1:
            _log.debug("RTP port %d: %s", self.local_port, exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back if the socket ended by itself."""
        if exc is not None:
            _log.warning("RTP port %d lost: %s", self.local_port, exc)
        self.close()

    def _set_sending(self, *, wanted: bool) -> None:
        wanted = wanted and self._clock is not None
        if wanted == self._is_sending or self._clock is None:
            return
        self._is_sending = wanted
        if wanted:
            self._marker = True  # a talkspurt begins (RFC 3551 §4.1)
            self._clock.add(self)
        else:
            self._clock.remove(self)

    def _is_usable(self, address: str, port: int) -> bool:
        """Return whether packets can go there: a literal of our family. A name would make the socket ask the DNS and block."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return port != 0 and not parsed.is_unspecified and (parsed.version == 6) is self._is_ipv6


def _bound_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket. Bound here and not by the loop, as uvloop's error does not say why it failed."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        zone = host.partition("%")[2]
        made.bind((host, port, 0, socket.if_nametoindex(zone)) if zone else (host, port))
    except BaseException:
        made.close()
        raise
    return made
