"""One timer of the loop for all requests under way: most of them end long before it fires."""

import asyncio
import math
from typing import Final, Protocol

_EARLY_S: Final = 0.001  # a loop's timer may fire as much too early


class Waiting(Protocol):
    """Who waits until a moment, which may be put off meanwhile."""

    @property
    def due_at(self) -> float:
        """The loop's time at which the wait is too long."""

    def expire(self) -> None:
        """The wait was too long; it is over."""


class Deadlines:
    """Expires those who wait at their time, which is looked at when the timer fires and not whenever it is put off."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: set[Waiting] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def add(self, waiting: Waiting) -> None:
        """Expire *waiting* when it is due, unless :meth:`discard` comes first."""
        self._waiting.add(waiting)
        due_at = waiting.due_at
        if due_at < self._fires_at:
            self._fire_at(due_at)

    def discard(self, waiting: Waiting) -> None:
        """The wait of *waiting* is over."""
        self._waiting.discard(waiting)

    def close(self) -> None:
        """Expire nobody any more."""
        self._waiting.clear()
        self._fire_at(math.inf)

    def _fire_at(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = at
        self._timer = None if at == math.inf else self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time() + _EARLY_S
        for waiting in [waiting for waiting in self._waiting if waiting.due_at <= now]:
            self._waiting.discard(waiting)
            waiting.expire()
        self._fire_at(min((waiting.due_at for waiting in self._waiting), default=math.inf))
