"""Sockets that others share stay as they are."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cxml.daemon.shared_socket import socket_at


def test_a_shared_socket_that_waits_for_nothing_goes_on_so() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as parents:
        parents.setblocking(False)
        parents.bind(("127.0.0.1", 0))
        with socket_at(os.dup(parents.fileno())) as sock:
            assert not os.get_blocking(parents.fileno()), "the flag belongs to all who share the socket"
            with pytest.raises(BlockingIOError):
                sock.recv(100)
            assert sock.getsockname() == parents.getsockname()
    assert socket.getdefaulttimeout() is None


def test_a_shared_socket_that_waits_goes_on_so() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket_at(os.dup(theirs.fileno())) as sock:
        assert os.get_blocking(theirs.fileno())
        assert sock.gettimeout() is None


def test_what_is_no_socket_is_refused_and_nothing_changes_for_new_sockets(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match=r".+"):
        socket_at(file.fileno())
    assert socket.getdefaulttimeout() is None


_ADOPTS = """
import os, socket, sys
from cxml.daemon.shared_socket import socket_at
sock = socket.socket()
sock.setblocking(False)
os.write(1, b"begin")
other = socket_at(os.dup(sock.fileno()))
os.write(1, b"end")
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace to look with")
def test_there_is_no_moment_in_which_it_waits(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-o", str(trace), "-e", "trace=fcntl,ioctl,write", sys.executable, "-c", _ADOPTS]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[3])
    between = trace.read_text().partition('"begin"')[2].partition('"end"')[0]
    assert "F_SETFL, O_RDWR)" not in between
    assert "FIONBIO, [0]" not in between
