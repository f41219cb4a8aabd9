"""Pure. The values of SIP's timers and the set of deadlines that a machine keeps.

Sources: RFC 3261 appendix A, RFC 6026 §7, RFC 6665 §4.1.2.4. Times are seconds of an injected monotonic clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Timing:
    """T1, T2 and T4 in seconds; the lettered timers derive from them and keep their ratios when a test shortens T1."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    @property
    def timeout(self) -> float:
        """64*T1: timers B, F, H, L, M, N, and J and D on unreliable transports."""
        return 64 * self.t1

    @property
    def linger(self) -> float:
        """T4: timers I and K on unreliable transports."""
        return self.t4


_Flat = tuple[Any, ...]
"""Names and deadlines in turn: machines wait by the thousand, and a dict for each is twice as large."""


class TimerSet:
    """Named absolute deadlines of one machine.

    The names are the RFC's letters. There is no callback here: a driver asks for the earliest deadline and calls the machine's ``tick``.
    """

    __slots__ = ("_running", "next_deadline")

    def __init__(self) -> None:
        self._running: _Flat = ()
        self.next_deadline: float | None = None
        """The earliest deadline, or None when no timer runs; for reading only."""

    def start(self, name: str, deadline: float) -> None:
        """Set timer *name* to fire at *deadline*; a running one of that name is replaced."""
        running = self._running
        if not running or (running[0] == name and len(running) == 2):  # the only one: most machines have no more
            self._running = name, deadline
            self.next_deadline = deadline
            return
        if name in running:
            self._settle((*_without(running, name), name, deadline))
            return
        self._running = (*running, name, deadline)
        if self.next_deadline is None or deadline < self.next_deadline:
            self.next_deadline = deadline

    def stop(self, name: str) -> None:
        """Stop timer *name*; stopping one that does not run is fine."""
        running = self._running
        if not running:
            return
        if len(running) == 2:
            if running[0] == name:
                self.clear()
        elif name in running:
            self._settle(_without(running, name))

    def clear(self) -> None:
        """Stop all timers: the machine's end state."""
        self._running = ()
        self.next_deadline = None

    def due(self, now: float) -> list[str]:
        """Remove and return the names of the timers whose deadline has passed, earliest first."""
        if self.next_deadline is None or self.next_deadline > now:
            return []
        running = self._running
        fired = sorted((deadline, name) for name, deadline in _pairs(running) if deadline <= now)
        for _, name in fired:
            running = _without(running, name)
        self._settle(running)
        return [name for _, name in fired]

    def _settle(self, running: _Flat) -> None:
        self._running = running
        if len(running) == 2:
            self.next_deadline = running[1]
            return
        earliest: float | None = None
        for index in range(1, len(running), 2):
            if earliest is None or running[index] < earliest:
                earliest = running[index]
        self.next_deadline = earliest

    def deadline(self, name: str) -> float | None:
        """Return the deadline of timer *name*, or None when it does not run."""
        running = self._running
        return running[running.index(name) + 1] if name in running else None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._running

    def __len__(self) -> int:
        return len(self._running) // 2

    def __repr__(self) -> str:
        return f"TimerSet({dict(_pairs(self._running))})"


def _without(running: _Flat, name: str) -> _Flat:
    index = running.index(name)
    return running[:index] + running[index + 2 :]


def _pairs(running: _Flat) -> Iterator[tuple[str, float]]:
    return zip(running[::2], running[1::2], strict=True)
