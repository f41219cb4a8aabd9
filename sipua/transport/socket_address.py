"""Addresses as sockets say and take them, in Python's tuples and in the octets of Linux."""

import errno
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from sipua.transport.network import HostPort

_IPV4_BYTES, _IPV6_BYTES = 16, 28  # sockaddr_in and sockaddr_in6

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""What sockets of the two families say: host and port, of IPv6 also the flow and the number of an interface."""


def host_port(address: SocketAddress) -> "HostPort":
    """Return host and port of *address*, a link-local host with its zone."""
    if len(address) == 2 or not address[3]:
        return address[0], address[1]
    try:
        zone = socket.if_indextoname(address[3])
    except OSError:
        zone = str(address[3])
    return f"{address[0].partition('%')[0]}%{zone}", address[1]


def socket_address(host: str, port: int) -> SocketAddress:
    """Return an IP literal as sockets take it: a zone (``fe80::1%eth0``) becomes the number of its interface.

    Raises OSError for a zone that is none, and for a port that is none.
    """
    if not 0 <= port < 1 << 16:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if "%" not in host:
        return host, port
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV  # nobody is asked
    return cast("SocketAddress", socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)[0][4])


def read_octets(octets: bytes) -> "HostPort":
    """Read a ``sockaddr_in`` or ``sockaddr_in6`` of Linux. Raises OSError for anything else."""
    family, port = int.from_bytes(octets[:2], sys.byteorder), int.from_bytes(octets[2:4])
    if family == socket.AF_INET and len(octets) == _IPV4_BYTES:
        return socket.inet_ntop(socket.AF_INET, octets[4:8]), port
    if family == socket.AF_INET6 and len(octets) == _IPV6_BYTES:
        return host_port((socket.inet_ntop(socket.AF_INET6, octets[8:24]), port, 0, int.from_bytes(octets[24:], sys.byteorder)))
    raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))


def octets_of(host: str, port: int, flow: int = 0, scope: int = 0) -> bytes:
    """Return a ``sockaddr_in`` or ``sockaddr_in6`` of Linux for what :func:`socket_address` returns. Raises OSError for no IP literal."""
    if ":" not in host:
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_pton(socket.AF_INET, host) + bytes(8)
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, flow) + packed + struct.pack("=I", scope)
