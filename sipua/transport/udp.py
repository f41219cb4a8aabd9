"""SIP over UDP: a socket with its datagrams, and channels from it to one destination (RFC 3261 §18)."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from sipua.errors import TransportError
from sipua.transport.base import Endpoint
from sipua.transport.closing import CloseListeners
from sipua.transport.network import DatagramSocket, HostPort, Network
from sipua.transport.route import is_wildcard, same_host
from sipua.transport.sources import Sources
from sipua.transport.triage import Intake, Triage, Verdict
from sipua.transport.unreachable import UnreachableError, quoted_request
from sipua.transport.zones import without_zone

STUN_COOKIE = b"\x21\x12\xa4\x42"
MAX_CHANNELS = 1024
"""Peers whose channel is kept for their next datagram; the oldest is made anew."""

_MOST_A_TURN, _WAITING_FOR_ONE_MORE = 8, 4  # a turn costs a look at every socket: too much for each call when they come faster than that


def is_keepalive(data: bytes) -> bool:
    """Tell whether a datagram is no SIP: empty, CRLFs, zero octets, or STUN (RFC 5626 §4.4, RFC 5389 §6)."""
    if len(data) <= 4:
        return not data.strip(b"\r\n\0 ")
    return (data[0] < 4 and data[4:8] == STUN_COOKIE) or not data.strip(b"\r\n")


class UdpOwner(Protocol):
    """Who handles the datagrams of a :class:`UdpPort`."""

    def on_udp(self, data: bytes, channel: "UdpChannel") -> None:
        """A datagram came."""

    def on_udp_error(self, port: "UdpPort", error: OSError) -> None:
        """The socket reported an error."""


class UdpPort:
    """A bound socket. What belongs to accepted work is handed up before new requests (docs/spec/overload.md, "Datagrams")."""

    def __init__(self, network: Network, owner: UdpOwner, intake: Intake | None = None, sources: Sources | None = None) -> None:
        self._network = network
        self._sources = Sources(network) if sources is None else sources
        self._owner = owner
        self._socket: DatagramSocket | None = None
        self._listeners = CloseListeners()
        self._triage = Triage(intake or Intake())
        self._is_serving = False
        self._is_wildcard = False
        self._channels: dict[HostPort, UdpChannel] = {}
        self._watched: dict[tuple[str, str], tuple[HostPort, Callable[[], None]]] = {}
        self.bound = Endpoint("UDP", "", 0)

    async def open(self, host: str, port: int) -> None:
        """Bind. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._socket = await self._network.open_udp(host, port, self)
        self.bound = Endpoint("UDP", *self._socket.address)
        self._is_wildcard = is_wildcard(self.bound.host)

    @property
    def is_open(self) -> bool:
        """True while bound."""
        return self._socket is not None

    def channel(self, remote: Endpoint) -> "UdpChannel":
        """Return the way to *remote*."""
        return self.channel_to((remote.host, remote.port))

    def channel_to(self, peer: HostPort) -> "UdpChannel":
        """Return the way to *peer*: the same one as the last time, if that is not long ago."""
        channel = self._channels.get(peer)
        if channel is None:
            while len(self._channels) >= MAX_CHANNELS:
                del self._channels[next(iter(self._channels))]
            channel = self._channels[peer] = UdpChannel(self, Endpoint("UDP", *peer))
        return channel

    def local_for(self, host: str) -> Endpoint:
        """Return our end as *host* sees it: a wildcard becomes the address that packets to it leave from."""
        if not self._is_wildcard:
            return self.bound
        return Endpoint("UDP", self._sources.find_any(host), self.bound.port)

    def send(self, data: bytes, destination: HostPort) -> None:
        """Send a datagram. Raises :class:`TransportError` when it is refused: too long, no route, closed."""
        if self._socket is None:
            raise TransportError("the UDP socket is closed")
        try:
            self._socket.send(data, destination)
        except (OSError, OverflowError, ValueError, UnicodeError) as error:  # the latter: a port or host that is no address
            raise TransportError(f"sending over UDP failed: {getattr(error, 'strerror', None) or error}") from error

    def on_close(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Register *listener* for the shutdown; see :class:`sipua.transport.base.Channel`."""
        return self._listeners.add(listener)

    def close(self) -> None:
        """Close the socket and tell the listeners."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._triage.clear()
            self._listeners.fire()

    def on_datagram(self, data: bytes, source: HostPort) -> None:
        """Hand a datagram up now, or keep it until the socket was read, or drop it."""
        verdict = self._triage.sort(data, source, self._loop.time())
        if verdict is Verdict.NOW:
            self._hand_up(data, source)
        elif verdict is Verdict.WAITS and not self._is_serving:
            self._is_serving = True
            self._loop.call_soon(self._serve_waiting)

    def _serve_waiting(self) -> None:
        """Serve one that waits, which may be a new call, before those that go on have their turn; several when many wait."""
        for _ in range(min(_MOST_A_TURN, 1 + len(self._triage) // _WAITING_FOR_ONE_MORE)):
            waiting = self._triage.next_waiting()
            if waiting is None:
                break
            self._hand_up(*waiting)
        self._is_serving = len(self._triage) > 0
        if self._is_serving:
            self._loop.call_soon(self._serve_waiting)

    def _hand_up(self, data: bytes, source: HostPort) -> None:
        self._owner.on_udp(data, self.channel_to(source))

    def watch(self, request: tuple[str, str], destination: HostPort, listener: Callable[[], None]) -> Callable[[], None]:
        """Call *listener* when ICMP says that *request*, branch and method, can't reach *destination*; the returned function ends that."""
        self._watched[request] = destination, listener

        def undo() -> None:
            self._watched.pop(request, None)

        return undo

    def on_datagram_error(self, error: OSError) -> None:
        """Tell whoever sent the request that *error* quotes, and hand the error up.

        Only the branch counts, which nobody can guess, and only for the destination that the request went to: forged ICMP does nothing.
        """
        known = quoted_request(error.quoted) if isinstance(error, UnreachableError) else None
        if isinstance(error, UnreachableError) and known is not None:
            destination, listener = self._watched.get(known, (None, None))
            if listener is not None and destination is not None and _same(destination, error.destination):
                listener()
        self._owner.on_udp_error(self, error)


def _same(one: HostPort, other: HostPort) -> bool:
    return one[1] == other[1] and same_host(without_zone(one[0]), without_zone(other[0]))


class UdpChannel:
    """A socket and a destination."""

    __slots__ = ("_port", "remote")

    identity: tuple[str, ...] = ()

    def __init__(self, port: UdpPort, remote: Endpoint) -> None:
        self._port = port
        self.remote = remote

    @property
    def port(self) -> UdpPort:
        """The socket."""
        return self._port

    @property
    def local(self) -> Endpoint:
        """Our end."""
        return self._port.local_for(self.remote.host)

    @property
    def is_open(self) -> bool:
        """True until the socket is closed."""
        return self._port.is_open

    def send(self, data: bytes) -> None:
        """Send a datagram. Raises :class:`TransportError`."""
        self._port.send(data, (self.remote.host, self.remote.port))

    def on_close(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call *listener* at shutdown."""
        return self._port.on_close(listener)

    def on_refusal(self, request: tuple[str, str], listener: Callable[[], None]) -> Callable[[], None]:
        """Call *listener* when ICMP says that *request*, its branch and method, was not delivered (RFC 3261 §18.4)."""
        return self._port.watch(request, (self.remote.host, self.remote.port), listener)

    def __repr__(self) -> str:
        return f"<UdpChannel {self._port.bound} -> {self.remote}>"
