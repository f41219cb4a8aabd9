"""Sockets: what the transport layer needs of a network, and the real one on asyncio.

The other implementation is :class:`sipua.transport.memory.MemoryHost`. Hosts are IP literals, IPv6 without brackets.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, cast

from sipua.transport.datagram_calls import INBOX_BYTES, datagram_calls
from sipua.transport.datagrams import UdpSocket, bound_socket
from sipua.transport.socket_address import host_port, socket_address

HostPort = tuple[str, int]


class DatagramReceiver(Protocol):
    """Who gets the datagrams of a socket."""

    def on_datagram(self, data: bytes, source: HostPort) -> None:
        """A datagram came."""

    def on_datagram_error(self, error: OSError) -> None:
        """The socket reported an error: :class:`sipua.transport.unreachable.UnreachableError` where ICMP told of which datagram."""


class DatagramSocket(Protocol):
    """An open UDP socket."""

    @property
    def address(self) -> HostPort:
        """Host as bound (maybe a wildcard) and the real port."""

    def send(self, data: bytes, destination: HostPort) -> None:
        """Send a datagram. Raises OSError when the socket refuses it."""

    def close(self) -> None:
        """Close; doing it twice is fine."""


class StreamReceiver(Protocol):
    """Who gets the bytes of a stream."""

    def on_data(self, data: bytes) -> None:
        """Bytes came."""

    def on_closed(self) -> None:
        """The stream is closed, by whomever; called once and last."""


class Stream(Protocol):
    """An open byte stream."""

    @property
    def transport(self) -> str:
        """``TCP``, or ``TLS`` (:class:`sipua.transport.tls.TlsStream`)."""

    @property
    def identity(self) -> tuple[str, ...]:
        """The names of the peer's verified certificate."""

    @property
    def local(self) -> HostPort:
        """Our address."""

    @property
    def remote(self) -> HostPort:
        """The peer's address."""

    @property
    def unsent(self) -> int:
        """Bytes that wait for the peer to read."""

    def write(self, data: bytes) -> None:
        """Queue bytes; after a close they are dropped."""

    def close(self) -> None:
        """Send what is queued, then close."""

    def abort(self) -> None:
        """Close at once; what is queued is lost."""


class Listener(Protocol):
    """A listening TCP socket."""

    @property
    def address(self) -> HostPort:
        """Host as bound and the real port."""

    async def aclose(self) -> None:
        """Accept no more."""


Opened = Callable[[Stream], StreamReceiver | None]
"""Takes a new stream and returns its receiver, or None to refuse it."""


class Network(Protocol):
    """Opens sockets. All methods raise OSError when that fails."""

    async def open_udp(self, host: str, port: int, receiver: DatagramReceiver) -> DatagramSocket:
        """Bind a UDP socket; port 0 takes a free one."""

    async def listen_tcp(self, host: str, port: int, opened: Opened) -> Listener:
        """Accept TCP connections; port 0 takes a free one."""

    async def connect_tcp(self, host: str, port: int, opened: Opened, source: str = "") -> Stream:
        """Connect, from the address *source* if one is given; *opened* is called before the first byte is delivered."""

    def source_for(self, host: str) -> str:
        """Return the address that packets to *host* leave from."""

    async def lookup(self, name: str) -> list[str]:
        """Return the addresses of a host name in order of preference (RFC 6724)."""


class AsyncioNetwork:
    """The operating system's network, for one loop.

    All its streams receive into one buffer, and its sockets into another; asked for bytes, asyncio makes room for 256 KiB each time.
    """

    def __init__(self) -> None:
        self._inbox = memoryview(bytearray(INBOX_BYTES))
        self._datagrams = datagram_calls()

    async def open_udp(self, host: str, port: int, receiver: DatagramReceiver) -> DatagramSocket:
        """Bind a UDP socket."""
        return self.datagram_socket(bound_socket(host, port), receiver)

    def datagram_socket(self, sock: socket.socket, receiver: DatagramReceiver) -> DatagramSocket:
        """Return *sock*, which is bound, as a socket of the running loop."""
        return UdpSocket(sock, receiver, asyncio.get_running_loop(), self._datagrams)

    async def listen_tcp(self, host: str, port: int, opened: Opened) -> Listener:
        """Accept TCP connections."""
        server = await asyncio.get_running_loop().create_server(lambda: _StreamProtocol(opened, self._inbox), host, port)
        return _TcpListener(server)

    async def listen_at(self, sock: socket.socket, opened: Opened) -> Listener:
        """Accept TCP connections from *sock*, which is bound."""
        return _TcpListener(await asyncio.get_running_loop().create_server(lambda: _StreamProtocol(opened, self._inbox), sock=sock))

    async def connect_tcp(self, host: str, port: int, opened: Opened, source: str = "") -> Stream:
        """Connect."""
        loop = asyncio.get_running_loop()
        local = (source, 0) if source else None
        _, stream = await loop.create_connection(lambda: _StreamProtocol(opened, self._inbox), host, port, local_addr=local)
        return stream

    def source_for(self, host: str) -> str:
        """Ask the routing table with a connected socket that sends nothing."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(socket_address(host, 9))
            return host_port(probe.getsockname())[0]

    async def lookup(self, name: str) -> list[str]:
        """Ask the system's resolver in a thread."""
        infos = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        return list(dict.fromkeys(str(info[4][0]) for info in infos))


class _StreamProtocol(asyncio.BufferedProtocol):
    """An asyncio TCP connection as a :class:`Stream`."""

    transport = "TCP"
    identity: tuple[str, ...] = ()
    _transport: asyncio.Transport

    def __init__(self, opened: Opened, inbox: memoryview) -> None:
        self._opened = opened
        self._inbox = inbox
        self._receiver: StreamReceiver | None = None
        self.local: HostPort = ("", 0)
        self.remote: HostPort = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the new stream up."""
        self._transport = cast("asyncio.Transport", transport)
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if not local or not remote:
            self._transport.abort()  # the peer is gone already
            return
        self.local, self.remote = host_port(local), host_port(remote)
        self._receiver = self._opened(self)
        del self._opened  # it may hold what it made, which holds us
        if self._receiver is None:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # a stream takes what fits
        """Return where the loop puts what comes next; it is handed up before anything else is put there."""
        return self._inbox

    def buffer_updated(self, nbytes: int) -> None:
        """Hand bytes up."""
        if self._receiver is not None:
            self._receiver.on_data(bytes(self._inbox[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Tell the receiver, and let it go: it holds us, and together only the collector would find them."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.on_closed()

    @property
    def unsent(self) -> int:
        """Bytes in asyncio's write buffer."""
        return self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Queue bytes."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Flush and close."""
        self._transport.close()

    def abort(self) -> None:
        """Reset."""
        self._transport.abort()


class _TcpListener:
    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.address: HostPort = host_port(server.sockets[0].getsockname())

    async def aclose(self) -> None:
        """Stop listening; connections that were accepted stay."""
        self._server.close()
