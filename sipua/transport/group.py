"""A group of UDP sockets bound to one port, and the program by which the kernel chooses among them (socket(7), SO_REUSEPORT)."""

import ctypes
import socket
import struct
from collections.abc import Sequence
from contextlib import ExitStack

from sipua.transport.datagrams import bound_socket
from sipua.transport.socket_address import host_port
from sipua.transport.steering import WINDOWS, steering_program

_SO_ATTACH_REUSEPORT_CBPF = 51  # <asm-generic/socket.h>; Python has no name for it
_INSTRUCTION_BYTES = 8


def bound_group(host: str, port: int, count: int) -> list[socket.socket]:
    """Return *count* UDP sockets bound to the same port of an IP literal, any free one for port 0. Raises OSError.

    The port must be nobody else's: a group would let another daemon of the same user in.
    """
    with bound_socket(host, port) as probe:
        chosen = host_port(probe.getsockname())[1]
    with ExitStack() as stack:
        made = [stack.enter_context(bound_socket(host, chosen, shared=True)) for _ in range(count)]
        stack.pop_all()
    return made


def steer(group: Sequence[socket.socket], live: Sequence[int]) -> bool:
    """Let the kernel choose the socket of *group*, which is complete, by the Call-ID; only those in *live* get datagrams.

    Returns False where it can't: then it goes by addresses, and whoever reads has to hand over.
    """
    for window in WINDOWS:
        program = steering_program(len(group), live, window)
        octets = ctypes.create_string_buffer(program, len(program))
        attached = struct.pack("@HP", len(program) // _INSTRUCTION_BYTES, ctypes.addressof(octets))  # struct sock_fprog
        try:
            group[0].setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, attached)
        except OSError:
            continue
        return True
    return False
