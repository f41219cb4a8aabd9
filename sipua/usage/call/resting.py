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

LOOK_S: Final = 0.25
"""Seconds between two looks at whose time has come: to be woken for each call costs more than what is kept so much longer."""

MOST_A_TURN: Final = 8
"""Calls that rest in one turn of the loop: each packs its INVITE, and other calls have their turn between."""


class Restful(Protocol):
    """What can rest."""

    def rest(self) -> None:
        """Let go of what is not needed any more; without effect on what is over."""


class Resting:
    """Tells calls that it is time to rest, in the order in which they were added. It keeps none of them from going.

    A call is told :data:`LOOK_S` late at most, a little later when many rest at once.
    """

    __slots__ = ("_alarm", "_alarms", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._alarms = Alarms.of(loop)
        self._waiting: deque[tuple[float, weakref.ref[Restful]]] = deque()
        self._alarm: Alarm | None = None

    def add(self, call: Restful) -> None:
        """Let *call* rest :data:`REST_S` seconds from now, or a little later."""
        at = self._loop.time() + REST_S
        self._waiting.append((at, weakref.ref(call)))
        if self._alarm is None:
            self._alarm = self._alarms.set(at + LOOK_S, self._go_on)

    def close(self) -> None:
        """Shutdown: tell nobody any more."""
        self._waiting.clear()
        if self._alarm is not None:
            self._alarms.cancel(self._alarm)
            self._alarm = None

    def _go_on(self, now: float) -> None:
        waiting = self._waiting
        rested = 0
        while waiting and waiting[0][0] <= now and rested < MOST_A_TURN:
            call = waiting.popleft()[1]()
            if call is not None:
                rested += 1
                try:
                    call.rest()
                except Exception:  # a fault of one call must not cost the others their rest, nor the alarm for those to come
                    log.exception("a call failed to rest")
        self._alarm = self._alarms.set(now if rested == MOST_A_TURN else waiting[0][0] + LOOK_S, self._go_on) if waiting else None
