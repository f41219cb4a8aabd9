"""Where the lines of the log go: to a descriptor that never holds up the loop, or to a text stream (tests, captured output).

Whoever reads our standard error may stop reading: a pager, a log shipper that hangs, a journal on a full disk. A plain ``write`` would then
wait, and with it every call. Here such lines wait in a buffer of bounded size; what doesn't fit is dropped, counted and told once there is
room again.
"""

import asyncio
import atexit
import contextlib
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, TextIO

from cxml.daemon.shared_socket import socket_at

MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
"""Lines that wait for a reader: some ten thousand; a reader that is restarted misses none at a few hundred calls a second."""

RETRY_S: Final = 0.02
"""How often waiting lines are offered again: a pipe of 64 KiB each time is 3 MB in a second."""

LAST_LINES_S: Final = 1.0
"""What a slow reader gets when the process ends, to take what waits."""

_OPEN_FILES: Final = "/proc/self/fd"

_PIECE: Final = 4096
"""PIPE_BUF of Linux: a pipe that polls as writable takes as much without waiting (pipe(7))."""


class Output(Protocol):
    """Takes finished lines."""

    dropped: int
    """Lines that were lost because nobody took them."""

    def write(self, line: str) -> None:
        """Write *line*, which has no line break at its end. Never raises, never waits."""


class StreamOutput:
    """Writes to a text stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.dropped = 0

    def write(self, line: str) -> None:
        """Write *line* in one go, so that lines of two writers don't mix."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads the log any more: calls go on all the same
            self.dropped += 1


class DescriptorOutput:
    """Writes to a file descriptor without ever waiting for its reader.

    *notice* makes the line that tells how many were dropped. Lines may come from any thread.
    """

    def __init__(self, descriptor: int, notice: Callable[[int], str], *, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._own = contextlib.ExitStack()
        self._send = _sender(descriptor, self._own)
        self._notice = notice
        self._limit = max_waiting_bytes
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._untold = 0
        self._armed_on: asyncio.AbstractEventLoop | None = None
        self._lock = threading.RLock()  # making the notice may collect garbage, and an object that goes may log
        self.dropped = 0
        atexit.register(self.close)

    @property
    def waiting_bytes(self) -> int:
        """What waits for the reader."""
        return self._size

    def write(self, line: str) -> None:
        """Write *line*, or keep it until the reader takes more, or drop it."""
        data = f"{line}\n".encode(errors="backslashreplace")
        with self._lock:
            if self._waiting or self._untold:
                self._keep(data)
            else:
                rest = self._offer(data)
                if not rest:
                    return
                self._waiting.append(rest)  # whatever its size: a line that has begun is finished
                self._size = len(rest)
        self._arm()

    def close(self) -> None:
        """Give the reader a last moment to take what waits, and write no more; the descriptor itself stays open for others."""
        atexit.unregister(self.close)
        until = time.monotonic() + LAST_LINES_S
        with self._lock:
            while self._waiting and time.monotonic() < until:
                before = self._size
                self._drain()
                if self._size == before:
                    select.select((), (), (), RETRY_S)
            self._send = _closed
            self._own.close()

    def _keep(self, data: bytes) -> None:
        if self._untold or self._size + len(data) > self._limit:
            self._untold += 1
            self.dropped += 1
            return
        self._waiting.append(data)
        self._size += len(data)

    def _offer(self, data: bytes) -> bytes:
        """Hand over *data* and return what was not taken. What nobody can ever take is dropped."""
        try:
            taken = self._send(data)
        except BlockingIOError:
            return data
        except OSError:  # the reader is gone, the disk is full
            self.dropped += 1
            return b""
        return data[taken:]

    def _drain(self) -> None:
        """Offer what waits, in order, and tell of what was dropped behind it once half of the room is free again."""
        waiting = self._waiting
        while waiting:
            data = waiting.popleft()
            rest = self._offer(data)
            self._size -= len(data) - len(rest)
            if rest:
                waiting.appendleft(rest)
                break
        if self._untold and self._size <= self._limit // 2:
            untold, self._untold = self._untold, 0
            line = self._notice(untold).encode(errors="backslashreplace") + b"\n"
            waiting.append(line)
            self._size += len(line)

    def _arm(self) -> None:
        """See to it that the loop of this thread offers again; without one the next line does."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._retry()
            return
        if self._armed_on is not loop:
            self._armed_on = loop
            loop.call_later(RETRY_S, self._wake)

    def _wake(self) -> None:
        self._armed_on = None
        if self._retry():
            self._arm()

    def _retry(self) -> bool:
        with self._lock:
            self._drain()
            return bool(self._waiting or self._untold)


def _closed(_data: bytes) -> int:
    raise OSError("the log is closed")


def _sender(descriptor: int, own: contextlib.ExitStack) -> Callable[[bytes], int]:
    """Return what hands bytes to *descriptor* and raises BlockingIOError rather than wait; *own* closes what was opened for it.

    The flag O_NONBLOCK of our standard error is not ours to set: it belongs to everybody who shares the open file, a shell for one. A file
    has no reader to wait for.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        sock = own.enter_context(socket_at(os.dup(descriptor)))
        return lambda data: sock.send(data, socket.MSG_DONTWAIT)  # Python ignores SIGPIPE
    if stat.S_ISFIFO(mode) or os.isatty(descriptor):
        try:
            opened = os.open(f"{_OPEN_FILES}/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:  # a pipe that another user made, no /proc
            return _polled(descriptor)
        own.callback(os.close, opened)
        return lambda data: os.write(opened, data)
    return lambda data: os.write(descriptor, data)


def _polled(descriptor: int) -> Callable[[bytes], int]:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)

    def send(data: bytes) -> int:
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(descriptor, data[:_PIECE])

    return send
