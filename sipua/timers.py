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

    __slots__ = ("_deadlines",)

    def __init__(self) -> None:
        self._deadlines: dict[str, float] = {}

    def start(self, name: str, deadline: float) -> None:
        """Set timer *name* to fire at *deadline*; a running one of that name is replaced."""
        self._deadlines[name] = deadline

    def stop(self, name: str) -> None:
        """Stop timer *name*; stopping one that does not run is fine."""
        self._deadlines.pop(name, None)

    def clear(self) -> None:
        """Stop all timers: the machine's end state."""
        self._deadlines.clear()

    def due(self, now: float) -> list[str]:
        """Remove and return the names of the timers whose deadline has passed, earliest first."""
        if not self._deadlines or min(self._deadlines.values()) > now:
            return []
        fired = sorted((deadline, name) for name, deadline in self._deadlines.items() if deadline <= now)
        for _, name in fired:
            del self._deadlines[name]
        return [name for _, name in fired]

    def deadline(self, name: str) -> float | None:
        """Return the deadline of timer *name*, or None when it does not run."""
        return self._deadlines.get(name)

    @property
    def next_deadline(self) -> float | None:
        """The earliest deadline, or None when no timer runs."""
        return min(self._deadlines.values()) if self._deadlines else None

    def __contains__(self, name: object) -> bool:
        return name in self._deadlines

    def __len__(self) -> int:
        return len(self._deadlines)

    def __repr__(self) -> str:
        return f"TimerSet({self._deadlines})"
