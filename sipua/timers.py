"""Pure. The values of SIP's timers and the set of deadlines that a machine keeps.

Sources: RFC 3261 appendix A, RFC 6026 §7, RFC 6665 §4.1.2.4. Times are seconds of an injected monotonic clock.
"""

from dataclasses import dataclass


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


class TimerSet:
    """Named absolute deadlines of one machine.

    The names are the RFC's letters. There is no callback here: a driver asks for the earliest deadline and calls the machine's ``tick``.
    """

    __slots__ = ("_deadlines", "next_deadline")

    def __init__(self) -> None:
        self._deadlines: dict[str, float] | None = None  # thousands of machines at rest have no timer
        self.next_deadline: float | None = None
        """The earliest deadline, or None when no timer runs; for reading only."""

    def start(self, name: str, deadline: float) -> None:
        """Set timer *name* to fire at *deadline*; a running one of that name is replaced."""
        deadlines = self._deadlines
        if deadlines is None:
            self._deadlines = {name: deadline}
            self.next_deadline = deadline
            return
        deadlines[name] = deadline
        self.next_deadline = min(deadlines.values())

    def stop(self, name: str) -> None:
        """Stop timer *name*; stopping one that does not run is fine."""
        deadlines = self._deadlines
        if deadlines is not None and name in deadlines:
            del deadlines[name]
            self._settle(deadlines)

    def clear(self) -> None:
        """Stop all timers: the machine's end state."""
        self._deadlines = None
        self.next_deadline = None

    def due(self, now: float) -> list[str]:
        """Remove and return the names of the timers whose deadline has passed, earliest first."""
        deadlines = self._deadlines
        if deadlines is None or self.next_deadline is None or self.next_deadline > now:
            return []
        fired = sorted((deadline, name) for name, deadline in deadlines.items() if deadline <= now)
        for _, name in fired:
            del deadlines[name]
        self._settle(deadlines)
        return [name for _, name in fired]

    def _settle(self, deadlines: dict[str, float]) -> None:
        if deadlines:
            self.next_deadline = min(deadlines.values())
        else:
            self.clear()

    def deadline(self, name: str) -> float | None:
        """Return the deadline of timer *name*, or None when it does not run."""
        return None if self._deadlines is None else self._deadlines.get(name)

    def __contains__(self, name: object) -> bool:
        return self._deadlines is not None and name in self._deadlines

    def __len__(self) -> int:
        return 0 if self._deadlines is None else len(self._deadlines)

    def __repr__(self) -> str:
        return f"TimerSet({self._deadlines or {}})"
