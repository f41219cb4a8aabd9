"""Between the workers behind one address: what came to one and belongs to another (docs/spec/workers.md).

Each worker has an inbox, one end of a Unix socket pair whose other end all the others have. A frame is one packet there. Nobody else has
these sockets, so what comes by them is believed.
"""

import asyncio
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum

from sipua.transport.network import HostPort

MAX_FRAME = 70_000  # a datagram, its address and a header
BUFFER_BYTES = 1 << 20  # what waits for a worker that is busy; the kernel may give less
MAX_WAITING = 1000  # frames for one worker that wait behind its full inbox: a second of what one is lent
_FRAMES_A_WAKE = 64  # the socket has its turn then
NOWHERE: HostPort = ("", 0)
"""The address of frames that have none."""

_HEADER = struct.Struct("!BBHHB")  # kind, number, error number, port, octets of the host


class Kind(IntEnum):
    """What a frame has."""

    DATAGRAM = 0
    """What the address sent to the listener of that number."""
    UNREACHABLE = 1
    """A datagram of the worker's, to the address, that ICMP gave back, with the error's number."""
    TOLD = 2
    """A word of the user's."""
    LENT = 3
    """A message that came on a connection of the worker with that number (:mod:`sipua.transport.lending`)."""
    WRITE = 4
    """What goes out on such a connection."""
    CLOSED = 5
    """Such a connection is closed, or not needed any more."""


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of an inbox: to read, and to write. Raises OSError."""
    inbox, outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end, option in ((inbox, socket.SO_RCVBUF), (outbox, socket.SO_SNDBUF)):
        end.setblocking(False)
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    return inbox, outbox


def pack(kind: Kind, number: int, address: HostPort, data: bytes, error: int = 0) -> bytes:
    """Return a frame."""
    host = address[0].encode()
    return _HEADER.pack(kind, number, error, address[1], len(host)) + host + data


def unpack(frame: bytes) -> tuple[Kind, int, HostPort, bytes, int]:
    """Return what :func:`pack` was given."""
    kind, number, error, port, length = _HEADER.unpack_from(frame)
    start = _HEADER.size + length
    return Kind(kind), number, (frame[_HEADER.size : start].decode(), port), frame[start:], error


Handler = Callable[[int, HostPort, bytes, int], None]
"""Takes the number of a listener or worker, an address, data, and the number of an error, as :func:`pack` has them."""


class Relay:
    """One worker's end: sends to the others by *outboxes*, in the order of their numbers, and reads *inbox*.

    ``handlers`` take frames by their kind; what has none is dropped.
    """

    def __init__(self, inbox: socket.socket, outboxes: Sequence[socket.socket], worker: int) -> None:
        self.counters: Counter[str] = Counter(sent=0, received=0, lost=0)
        """Frames that left, that came, and that found no room."""
        self.handlers: dict[Kind, Handler] = {}
        self._inbox = inbox
        self._frame = memoryview(b"")
        self._outboxes = tuple(outboxes)
        self._worker = worker
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[int, deque[bytes]] = {}

    def open(self) -> None:
        """Begin to read, in the running loop."""
        self._frame = memoryview(bytearray(MAX_FRAME))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._inbox.fileno(), self._readable)

    def close(self) -> None:
        """Read no more."""
        if self._loop is not None:
            self._loop.remove_reader(self._inbox.fileno())
            for worker in self._waiting:
                self._loop.remove_writer(self._outboxes[worker].fileno())
            self._waiting.clear()

    def send(self, worker: int, kind: Kind, number: int, address: HostPort, data: bytes, error: int = 0) -> None:
        """Send a frame to *worker*; while its inbox is full some wait here, and what is more is lost, as by a network."""
        frame = pack(kind, number, address, data, error)
        waiting = self._waiting.get(worker)
        if waiting is None:
            self._try(worker, frame)
        elif len(waiting) < MAX_WAITING:
            waiting.append(frame)
        else:
            self.counters["lost"] += 1

    def _try(self, worker: int, frame: bytes) -> None:
        try:
            self._outboxes[worker].send(frame)
        except BlockingIOError:
            if self._loop is None:
                self.counters["lost"] += 1
                return
            self._waiting[worker] = deque((frame,))
            self._loop.add_writer(self._outboxes[worker].fileno(), self._writable, worker)
        except OSError:
            self.counters["lost"] += 1
        else:
            self.counters["sent"] += 1

    def _writable(self, worker: int) -> None:
        waiting = self._waiting[worker]
        outbox = self._outboxes[worker]
        while waiting:
            try:
                outbox.send(waiting[0])
            except BlockingIOError:
                return
            except OSError:
                self.counters["lost"] += 1
            else:
                self.counters["sent"] += 1
            waiting.popleft()
        del self._waiting[worker]
        if self._loop is not None:
            self._loop.remove_writer(outbox.fileno())

    def tell(self, text: bytes) -> None:
        """Tell all the others *text*."""
        for worker in range(len(self._outboxes)):
            if worker != self._worker:
                self.send(worker, Kind.TOLD, self._worker, NOWHERE, text)

    def _readable(self) -> None:
        for _ in range(_FRAMES_A_WAKE):
            try:
                size = self._inbox.recv_into(self._frame)
            except OSError:
                return  # empty
            if not size:
                return
            self.counters["received"] += 1
            kind, number, address, data, error = unpack(bytes(self._frame[:size]))
            handler = self.handlers.get(kind)
            if handler is not None:
                handler(number, address, data, error)
