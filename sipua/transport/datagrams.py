"""The operating system's UDP socket, with what ICMP says about datagrams that it sent."""

import asyncio
import contextlib
import errno
import os
import select
import socket
import sys
import time
from typing import TYPE_CHECKING

from sipua.transport.socket_address import host_port, socket_address
from sipua.transport.unreachable import UnreachableError, is_unreachable

if TYPE_CHECKING:
    from sipua.transport.datagram_calls import DatagramCalls
    from sipua.transport.network import DatagramReceiver, HostPort

RECEIVE_BUFFER_BYTES = 1 << 20  # room for a burst of some thousand messages while the loop is busy; the kernel may give less
_READ_S = 0.005  # other tasks get their turn under load; what is only sorted out is read by the thousand in this time
_ERRORS_A_WAKE = 64  # the rest has its turn at once, behind the datagrams that came meanwhile
_WAKES_A_LOOK = 32  # an error that came beside data wakes us again at once; under load there may always be data, too
_QUOTED_BYTES = 2048  # an ICMP message quotes 548 octets of a datagram, one of IPv6 1232
_CONTROL_BYTES = 512
_IP_RECVERR, _IPV6_RECVERR = 11, 25  # <linux/in.h>, <linux/in6.h>; Python has no names for them
_TRIES = 3  # an error that waits on the socket is another datagram's, and told to the next call, whatever that sends
_WAITING = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOPROTOOPT, errno.EMSGSIZE, errno.EACCES})


def bound_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a UDP socket bound to an IP literal, for its family only; *shared*: others may be bound to the same port. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            # both families on one socket would show IPv4 peers as ::ffff:a.b.c.d in received
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(socket_address(host, port))
    except OSError:
        sock.close()
        raise
    return sock


class UdpSocket:
    """A plain non-blocking socket: unlike asyncio's datagram transport it tells the sender at once that a datagram was refused.

    On Linux it also keeps the queue of ICMP errors (``IP_RECVERR``). Such a socket is always ready with an error, which uvloop takes for
    its end; so the loop watches an epoll of our own, and that is merely readable.

    *calls* receives and sends; the sockets of a loop share it.
    """

    def __init__(self, sock: socket.socket, receiver: "DatagramReceiver", loop: asyncio.AbstractEventLoop, calls: "DatagramCalls") -> None:
        self._sock = sock
        self._receiver = receiver
        self._loop = loop
        self.address: HostPort = host_port(sock.getsockname())
        self._epoll = _error_queue(sock)
        self._wakes = 0
        self._calls = calls
        loop.add_reader(self._watched, self._readable)

    @property
    def _watched(self) -> int:
        return self._sock.fileno() if self._epoll is None else self._epoll.fileno()

    def _readable(self) -> None:
        """Read until the socket is empty or the time is up; errors only when one woke us, which nothing but the absence of data tells."""
        sock, receiver, calls = self._sock, self._receiver, self._calls
        until = time.monotonic() + _READ_S
        is_odd = True
        while time.monotonic() < until:
            try:
                came = calls.receive(sock)
            except OSError as error:
                if self._epoll is None:
                    receiver.on_datagram_error(error)
                    return
                is_odd = True
                break  # the queue has it, with its destination
            if came is None:
                break
            is_odd = False
            receiver.on_datagram(*came)
            if sock.fileno() < 0:
                return  # the receiver closed us
        self._wakes += 1
        if self._epoll is not None and (is_odd or self._wakes % _WAKES_A_LOOK == 0):
            self._read_errors()

    def _read_errors(self) -> None:
        for _ in range(_ERRORS_A_WAKE):
            try:
                quoted, control, _, destination = self._sock.recvmsg(_QUOTED_BYTES, _CONTROL_BYTES, socket.MSG_ERRQUEUE)
            except OSError:
                return  # empty
            for _, _, data in control:
                if is_unreachable(data) and destination:
                    number = int.from_bytes(data[:4], sys.byteorder)
                    error = UnreachableError(number, os.strerror(number), host_port(destination), quoted)
                    self._receiver.on_datagram_error(error)
            if self._sock.fileno() < 0:
                return

    def send(self, data: bytes, destination: "HostPort") -> None:
        """Send a datagram. Raises OSError."""
        for left in reversed(range(_TRIES if self._epoll is not None else 1)):
            try:
                self._calls.send(self._sock, data, destination)
            except OSError as error:
                if not left or error.errno not in _WAITING:
                    raise
            else:
                return

    def close(self) -> None:
        """Close the socket."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._watched)
            if self._epoll is not None:
                self._epoll.close()
            self._sock.close()


def _error_queue(sock: socket.socket) -> "select.epoll | None":
    """Let *sock* keep ICMP errors and return an epoll that watches it; None where the system has no such thing."""
    if sys.platform != "linux":
        return None
    level, option = (socket.IPPROTO_IPV6, _IPV6_RECVERR) if sock.family == socket.AF_INET6 else (socket.IPPROTO_IP, _IP_RECVERR)
    try:
        sock.setsockopt(level, option, 1)
        watching = select.epoll()
    except OSError:
        return None
    watching.register(sock.fileno(), select.EPOLLIN)
    return watching
