"""Sockets that others share: a parent's, its workers', standard error."""

import os
import socket


def socket_at(descriptor: int) -> socket.socket:
    """Return the socket at *descriptor*; whether it waits stays as it is. For the time before threads are started.

    Whether it waits is a flag of the open socket, which belongs to all who share it. PyPy sets it to what is usual for new sockets: for a
    moment, or for good, the others would wait, a loop that accepts connections for one.
    """
    usual = socket.getdefaulttimeout()
    socket.setdefaulttimeout(None if os.get_blocking(descriptor) else 0)
    try:
        return socket.socket(fileno=descriptor)
    finally:
        socket.setdefaulttimeout(usual)
