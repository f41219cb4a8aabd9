"""How a UDP socket receives and sends: by Python's socket, or on PyPy by the C library itself.

PyPy's socket makes the source of each datagram a new text, by way of the resolver's code, reads each destination the same way, and makes an
exception of an empty queue. Here an address is looked up by its octets, and nothing is raised.
"""

import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Protocol

from sipua.transport.socket_address import host_port, octets_of, read_octets, socket_address

if TYPE_CHECKING:
    from sipua.transport.network import HostPort

INBOX_BYTES = 1 << 16
"""More than any datagram has."""

MAX_KNOWN = 4096
"""Addresses that are remembered each way; with more all are forgotten. One that is not known costs more than it costs Python's socket."""

_ADDRESS_BYTES = 128  # sockaddr_storage
_NOTHING = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR})
_FLAGS = socket.MSG_DONTWAIT  # whoever shares the socket may have it block
_RECVFROM = "ssize_t(*)(int, void *, size_t, int, void *, unsigned int *)"
_SENDTO = "ssize_t(*)(int, const void *, size_t, int, const void *, unsigned int)"


class DatagramCalls(Protocol):
    """Receives and sends for the sockets of one loop, which don't block."""

    def receive(self, sock: socket.socket) -> "tuple[bytes, HostPort] | None":
        """Return the next datagram and its source, None when there is none. Raises OSError."""

    def send(self, sock: socket.socket, data: bytes, destination: "HostPort") -> None:
        """Send a datagram to an IP literal and a port. Raises OSError."""


class PlainCalls:
    """By Python's socket.

    All datagrams are received into one buffer, which is as large as one may be. Asked for bytes, PyPy makes room for the largest one each
    time: that was half of all that a call allocated, and brought the next garbage collection as much nearer.
    """

    def __init__(self) -> None:
        self._inbox = memoryview(bytearray(INBOX_BYTES))

    def receive(self, sock: socket.socket) -> "tuple[bytes, HostPort] | None":
        """Return the next datagram and its source, None when there is none. Raises OSError."""
        try:
            size, source = sock.recvfrom_into(self._inbox)
        except (BlockingIOError, InterruptedError):
            return None
        return bytes(self._inbox[:size]), source if len(source) == 2 else host_port(source)

    def send(self, sock: socket.socket, data: bytes, destination: "HostPort") -> None:
        """Send a datagram to an IP literal and a port. Raises OSError."""
        sock.sendto(data, socket_address(*destination))


class DirectCalls:
    """By ``recvfrom(2)`` and ``sendto(2)``; needs the half of cffi that is written in C, which is part of PyPy.

    The other half would read the two declarations with a parser of 23 MB.
    """

    def __init__(self) -> None:
        import _cffi_backend  # type: ignore[import-untyped]  # noqa: PLC0415  # no dependency where it is not used

        self._ffi: Any = _cffi_backend.FFI()
        library = _cffi_backend.load_library(None, 0)
        self._recvfrom = library.load_function(self._ffi.typeof(_RECVFROM), "recvfrom")
        self._sendto = library.load_function(self._ffi.typeof(_SENDTO), "sendto")
        self._inbox = self._ffi.new("char[]", INBOX_BYTES)
        self._source = self._ffi.new("char[]", _ADDRESS_BYTES)
        self._source_bytes = self._ffi.new("unsigned int *")
        self._octets, self._source_octets = self._ffi.buffer(self._inbox), self._ffi.buffer(self._source)
        self._sources: dict[bytes, HostPort] = {}
        self._destinations: dict[HostPort, tuple[Any, int]] = {}

    @property
    def known(self) -> int:
        """How many addresses are remembered, both ways."""
        return len(self._sources) + len(self._destinations)

    def receive(self, sock: socket.socket) -> "tuple[bytes, HostPort] | None":
        """Return the next datagram and its source, None when there is none. Raises OSError."""
        self._source_bytes[0] = _ADDRESS_BYTES
        size = self._recvfrom(sock.fileno(), self._inbox, INBOX_BYTES, _FLAGS, self._source, self._source_bytes)
        if size < 0:
            number = self._ffi.errno
            if number in _NOTHING:
                return None
            raise OSError(number, os.strerror(number))
        octets = self._source_octets[0 : self._source_bytes[0]]
        source = self._sources.get(octets)
        if source is None:
            source = read_octets(octets)
            if "%" not in source[0]:  # an interface may get another name
                _remember(self._sources, octets, source)
        return self._octets[0:size], source

    def send(self, sock: socket.socket, data: bytes, destination: "HostPort") -> None:
        """Send a datagram to an IP literal and a port. Raises OSError."""
        known = self._destinations.get(destination)
        if known is None:
            known = self._know(destination)
        if self._sendto(sock.fileno(), data, len(data), _FLAGS, known[0], known[1]) < 0:
            number = self._ffi.errno
            raise OSError(number, os.strerror(number))

    def _know(self, destination: "HostPort") -> tuple[Any, int]:
        octets = octets_of(*socket_address(*destination))
        known = self._ffi.new("char[]", octets), len(octets)
        if "%" not in destination[0]:  # an interface that is made anew has another number
            _remember(self._destinations, destination, known)
        return known


def _remember(known: dict[Any, Any], key: object, value: object) -> None:
    if len(known) >= MAX_KNOWN:
        known.clear()
    known[key] = value


def datagram_calls() -> DatagramCalls:
    """Return those that are best for this interpreter."""
    is_direct = sys.implementation.name == "pypy" and sys.platform == "linux"
    return DirectCalls() if is_direct else PlainCalls()
