"""Sockets that a worker gets from its parent."""

import os
import socket

import pytest

from cxml.daemon.workers.worker import adopted


def test_an_adopted_socket_waits_for_nothing() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as parents:
        parents.setblocking(False)
        parents.bind(("127.0.0.1", 0))
        with adopted(os.dup(parents.fileno())) as sock:
            assert not os.get_blocking(parents.fileno()), "the flag belongs to all who share the socket"
            with pytest.raises(BlockingIOError):
                sock.recv(100)
            assert sock.getsockname() == parents.getsockname()
