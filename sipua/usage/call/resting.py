"""Calls that have been up for a while let go of what opened them: thousands of them may wait for the end of a transfer."""

import asyncio
import logging
import weakref
from collections import deque
from typing import Final, Protocol

from sipua.alarms import Alarm, Alarms

log = logging.getLogger("sipua.call")

REST_S: Final = 2.0
"""A call that lasts longer rests; most that are transferred at once are over by then, and never pay for it."""


class Restful(Protocol):
    """What can rest."""

    def rest(self) -> None:
        """Let go of what is not needed any more; without effect on what is over."""


class Resting:
    """Tells calls that it is time to rest, in the order in which they were added. It keeps none of them from going."""

    __slots__ = ("_alarm", "_alarms", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._alarms = Alarms.of(loop)
        self._waiting: deque[tuple[float, weakref.ref[Restful]]] = deque()
        self._alarm: Alarm | None = None

    def add(self, call: Restful) -> None:
        """Let *call* rest :data:`REST_S` seconds from now."""
        at = self._loop.time() + REST_S
        self._waiting.append((at, weakref.ref(call)))
        if self._alarm is None:
            self._alarm = self._alarms.set(at, self._go_on)

    def close(self) -> None:
        """Shutdown: tell nobody any more."""
        self._waiting.clear()
        if self._alarm is not None:
            self._alarms.cancel(self._alarm)
            self._alarm = None

    def _go_on(self, now: float) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            call = waiting.popleft()[1]()
            if call is not None:
                try:
                    call.rest()
                except Exception:  # a fault of one call must not cost the others their rest, nor the alarm for those to come
                    log.exception("a call failed to rest")
        self._alarm = self._alarms.set(waiting[0][0], self._go_on) if waiting else None
