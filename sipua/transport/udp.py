"""SIP over UDP: a socket with its datagrams, and channels from it to one destination (RFC 3261 §18)."""

from collections.abc import Callable
from typing import Protocol

from sipua.errors import TransportError
from sipua.transport.base import Endpoint
from sipua.transport.closing import CloseListeners
from sipua.transport.network import DatagramSocket, HostPort, Network
from sipua.transport.route import is_wildcard

STUN_COOKIE = b"\x21\x12\xa4\x42"
_MAX_SOURCES = 256  # remembered source addresses of a wildcard socket: a handful of peers is the rule


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
    """A bound socket."""

    def __init__(self, network: Network, owner: UdpOwner) -> None:
        self._network = network
        self._owner = owner
        self._socket: DatagramSocket | None = None
        self._sources: dict[str, str] = {}
        self._listeners = CloseListeners()
        self.bound = Endpoint("UDP", "", 0)

    async def open(self, host: str, port: int) -> None:
        """Bind. Raises OSError."""
        self._socket = await self._network.open_udp(host, port, self)
        self.bound = Endpoint("UDP", *self._socket.address)

    @property
    def is_open(self) -> bool:
        """True while bound."""
        return self._socket is not None

    def channel(self, remote: Endpoint) -> "UdpChannel":
        """Return the way to *remote*."""
        return UdpChannel(self, remote)

    def local_for(self, host: str) -> Endpoint:
        """Return our end as *host* sees it: a wildcard becomes the address that packets to it leave from."""
        if not is_wildcard(self.bound.host):
            return self.bound
        source = self._sources.get(host)
        if source is None:
            if len(self._sources) >= _MAX_SOURCES:
                self._sources.clear()
            source = self._sources[host] = source_for(self._network, host)
        return Endpoint("UDP", source, self.bound.port)

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
            self._listeners.fire()

    def on_datagram(self, data: bytes, source: HostPort) -> None:
        """Hand a datagram up."""
        self._owner.on_udp(data, UdpChannel(self, Endpoint("UDP", *source)))

    def on_datagram_error(self, error: OSError) -> None:
        """Hand an error up: ICMP of an unconnected socket names no peer, so no transaction can be told."""
        self._owner.on_udp_error(self, error)


class UdpChannel:
    """A socket and a destination."""

    __slots__ = ("_port", "remote")

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

    def __repr__(self) -> str:
        return f"<UdpChannel {self._port.bound} -> {self.remote}>"


def source_for(network: Network, host: str) -> str:
    """Return the address that packets to *host* leave from, the loopback address when there is no route."""
    try:
        return network.source_for(host)
    except OSError:
        return "::1" if ":" in host else "127.0.0.1"
