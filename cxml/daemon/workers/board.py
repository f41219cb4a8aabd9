"""Memory that all processes of the daemon see: which workers serve, and how many calls each of them has.

Each number has one writer and is written in one piece, so there are no locks: the parent says who serves, a worker counts in its own row.
"""

import mmap
import os
from collections.abc import Sequence

_OCTETS = 8
_LIVE, _ADMITTED = 0, 1  # the columns of one limit in a worker's row


class Board:
    """*count* workers, and one limit of calls for all and one for each name in *peers*."""

    def __init__(self, descriptor: int, count: int, peers: Sequence[str]) -> None:
        self.descriptor = descriptor
        self.count = count
        self._columns = {name: 2 * number for number, name in enumerate(("", *peers))}
        self._rows = 1 + count
        self._map = mmap.mmap(descriptor, _OCTETS * (self._rows + count * 2 * len(self._columns)))
        self._cells = memoryview(self._map).cast("q")
        self._edition = -1
        self._live: tuple[int, ...] = ()

    @classmethod
    def make(cls, count: int, peers: Sequence[str]) -> "Board":
        """Return a new one, with nobody serving. Raises OSError."""
        descriptor = os.memfd_create("cxmld-workers")
        os.ftruncate(descriptor, _OCTETS * (1 + count + count * 2 * (1 + len(peers))))
        return cls(descriptor, count, peers)

    def live(self) -> tuple[int, ...]:
        """Return the numbers of the workers that serve, in ascending order."""
        edition = self._cells[0]
        if edition != self._edition:
            self._edition = edition
            self._live = tuple(worker for worker in range(self.count) if self._cells[1 + worker])
        return self._live

    def set_live(self, worker: int, *, is_live: bool) -> None:
        """Say whether *worker* serves (the parent)."""
        self._cells[1 + worker] = int(is_live)
        self._cells[0] += 1

    def calls(self, worker: int) -> int:
        """Return how many calls *worker* has."""
        return self._cells[self._place(worker, "", _LIVE)]

    def clear(self, worker: int) -> None:
        """Forget the calls of *worker*, which is dead (the parent); calls that were taken stay counted."""
        for name in self._columns:
            self._cells[self._place(worker, name, _LIVE)] = 0

    def share(self, worker: int, peer: str) -> "Share | None":
        """Return the counts of *worker* for the limit of *peer*, ``""`` for that of all; None for a name that has none."""
        return Share(self, worker, peer) if peer in self._columns else None

    def get(self, worker: int, peer: str, column: int) -> int:
        """Return a count."""
        return self._cells[self._place(worker, peer, column)]

    def put(self, worker: int, peer: str, column: int, value: int) -> None:
        """Set a count."""
        self._cells[self._place(worker, peer, column)] = value

    def _place(self, worker: int, peer: str, column: int) -> int:
        return self._rows + worker * 2 * len(self._columns) + self._columns[peer] + column

    def close(self) -> None:
        """Let go of the memory."""
        self._cells.release()
        self._map.close()
        os.close(self.descriptor)


class Share:
    """One worker's counts of calls under one limit, and what the others have (:class:`cxml.calls.registry.Elsewhere`)."""

    def __init__(self, board: Board, worker: int, peer: str) -> None:
        self._board = board
        self._worker = worker
        self._peer = peer
        self._others = tuple(other for other in range(board.count) if other != worker)

    @property
    def live(self) -> int:
        """Calls that the others have."""
        return sum(self._board.get(other, self._peer, _LIVE) for other in self._others)

    @property
    def admitted(self) -> int:
        """Calls that the others have taken since the start."""
        return sum(self._board.get(other, self._peer, _ADMITTED) for other in self._others)

    def note_live(self, live: int) -> None:
        """We have *live* calls."""
        self._board.put(self._worker, self._peer, _LIVE, live)

    def note_admitted(self) -> None:
        """We have taken one more."""
        self._board.put(self._worker, self._peer, _ADMITTED, self._board.get(self._worker, self._peer, _ADMITTED) + 1)
