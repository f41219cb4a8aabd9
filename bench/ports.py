"""Ports for one run: a block of a thousand that no other run of this machine uses."""

import contextlib
import socket
from collections.abc import Iterator

from bench.caller import BenchError

FIRST, LAST, BLOCK = 13_000, 19_000, 1_000
"""Below the ports that systems give out, and those of RTP here."""
UNITS, CALLERS, WEB = 0, 600, 500
"""Where in a block the units, the callers and the web application begin."""
_MARK = BLOCK - 1
_PROBED = (0, 1, 10, 20, 30, 100, WEB, CALLERS, CALLERS + 2, CALLERS + 10)


@contextlib.contextmanager
def reserved() -> Iterator[int]:
    """Reserve a block and give its first port; the socket at its last port tells other runs. Raises :class:`BenchError` if none is free."""
    for first in range(FIRST, LAST + 1, BLOCK):
        mark = _bound(first + _MARK, socket.SOCK_STREAM)
        if mark is None:
            continue
        with mark:
            if all(_is_free(first + offset) for offset in _PROBED):
                yield first
                return
    raise BenchError(f"no thousand free ports between {FIRST} and {LAST + BLOCK}")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        taken = _bound(port, kind)
        if taken is None:
            return False
        taken.close()
    return True


def _bound(port: int, kind: int) -> socket.socket | None:
    made = socket.socket(socket.AF_INET, kind)
    try:
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the last run may linger
        made.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            made.listen(1)  # without it the address can be bound again
    except OSError:
        made.close()
        return None
    return made
