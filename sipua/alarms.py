"""One loop timer for all deadlines of a loop: a heap of alarms, of which the loop knows the earliest (``docs/adr/0001``).

A call has some ten deadlines, and nearly none of them is reached. Setting an alarm and taking it back is a push and an assignment; a timer
of the loop is an object and two calls into the loop.
"""

import asyncio
import heapq
import logging
import math
import weakref
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, ClassVar

log = logging.getLogger("sipua.driver")

MIN_STALE = 256
"""So many alarms that were taken back may wait for their time; more are swept out when they are half of all."""

Alarm = list[Any]
"""An alarm that is set: its time, its place among those of one time (0: it has gone off), its callback (None: taken back), its context."""


class Alarms:
    """The alarms of one loop; get them by :meth:`of`. Times are seconds of the loop's clock."""

    __slots__ = ("__weakref__", "_armed_for", "_count", "_handle", "_heap", "_loop", "_stale")

    _known: ClassVar["weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Alarms]"] = weakref.WeakKeyDictionary()
    _latest: ClassVar["weakref.ref[Alarms] | None"] = None
    """Those that were asked for last: a process has one loop for its whole life, and a weak dictionary takes its time on PyPy."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)  # the loop is the key under which they are kept
        self._heap: list[Alarm] = []
        self._count = 0
        self._stale = 0
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = math.inf

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "Alarms":
        """Return the alarms of *loop*."""
        latest = None if cls._latest is None else cls._latest()
        if latest is not None and latest.is_for(loop):
            return latest
        found = cls._known.get(loop)
        if found is None:
            found = cls._known[loop] = cls(loop)
        cls._latest = weakref.ref(found)
        return found

    def is_for(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Tell whether these are the alarms of *loop*."""
        return self._loop() is loop

    def __len__(self) -> int:
        return len(self._heap) - self._stale

    def set(self, when: float, callback: Callable[[float], None]) -> Alarm:
        """Call *callback* with the time once it is *when* or later; alarms of one time go off in the order in which they were set.

        Like a timer of the loop it runs in the context of whoever set it: what it logs is about that call.
        """
        self._count += 1
        alarm: Alarm = [when, self._count, callback, copy_context()]
        heapq.heappush(self._heap, alarm)
        if when < self._armed_for:
            self._arm(when)
        return alarm

    def cancel(self, alarm: Alarm) -> None:
        """Take *alarm* back: its callback is let go at once, its place later. One that has gone off is left alone."""
        if alarm[2] is None:
            return
        alarm[2] = alarm[3] = None
        if not alarm[1]:
            return
        self._stale += 1
        if self._stale == len(self._heap) or (self._stale > MIN_STALE and self._stale * 2 > len(self._heap)):
            self._sweep()

    def _sweep(self) -> None:
        """Throw away what was taken back. The loop's timer stays: to go off for nothing once costs less than to be moved each time."""
        self._heap[:] = [kept for kept in self._heap if kept[2] is not None]
        heapq.heapify(self._heap)
        self._stale = 0

    def _arm(self, when: float) -> None:
        loop = self._loop()
        if loop is None:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = loop.call_at(when, self._go_off)
        self._armed_for = when

    def _go_off(self) -> None:
        loop = self._loop()
        if loop is None:
            return
        # A loop may wake a hair before the time that it was given, hence the later of the two.
        now = max(self._armed_for, loop.time())
        self._handle = None
        self._armed_for = -math.inf  # nothing needs arming before the end of this turn
        try:
            self._call(self._take_due(now), now)
        finally:
            self._armed_for = math.inf
            if self._heap:
                self._arm(self._heap[0][0])

    def _call(self, due: list[Alarm], now: float) -> None:
        for alarm in due:
            callback, context = alarm[2], alarm[3]
            if callback is None:
                continue  # one before it has taken it back
            alarm[2] = alarm[3] = None
            try:
                context.run(callback, now)
            except (Exception, asyncio.CancelledError):  # a fault of one machine must not cost the others their time
                log.exception("an alarm failed")

    def _take_due(self, now: float) -> list[Alarm]:
        """Return those whose time has come, in order; what is set from now on waits for the next turn of the loop."""
        heap = self._heap
        due: list[Alarm] = []
        while heap and (heap[0][0] <= now or heap[0][2] is None):
            alarm = heapq.heappop(heap)
            if alarm[2] is None:
                self._stale -= 1
            else:
                alarm[1] = 0
                due.append(alarm)
        return due
