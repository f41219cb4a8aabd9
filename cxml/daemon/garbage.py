"""When Python looks for objects that hold each other: not by itself in the middle of a call, but when memory has grown.

Nearly everything here goes as soon as nobody holds it. Python's collector looks for the rest each time some hundred objects more are alive,
and what a daemon with many calls keeps alive it looks at again and again: pauses of tenths of a second. So its own rhythm is off. A pass is
made when memory has grown, over what is new since the last one; over everything only while there is nothing to do, or when memory has
doubled. That bounds the memory that circles of ours can hold (docs/adr/0021).
"""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from cxml.daemon.runtime import IS_PYPY, collector_watched, settling
from sipua.driver import TaskSet

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often the count of objects is looked at; a look takes some ten microseconds."""

GROWTH: Final = 50_000
"""Memory blocks, some 7 MB: what five hundred open calls need. A pass over them stops everything for one or two hundredths of a second."""

TWICE: Final = 2
LEAST_TWICE: Final = 4_000_000
"""Some 500 MB that may not be needed are worth a longer pause; twenty thousand open calls need half of that."""

IDLE_S: Final = 0.02
"""Processor time between two looks: with short calls there may be none at the moment of a look, and the next one is due at once."""


class GarbageWatch:
    """Decides when to collect, and collects.

    *calls* says how many calls there are, *blocks* how many memory blocks are in use, *used_s* how much processor time was used. *collect*
    makes a pass, over everything if it is told so, and returns how many objects it found. *told* hears of each pass: its pause in seconds,
    and the objects.
    """

    def __init__(
        self,
        calls: Callable[[], int],
        told: Callable[[float, int], None],
        *,
        blocks: Callable[[], int] | None = None,
        used_s: Callable[[], float] = time.thread_time,
        collect: Callable[[bool], int] | None = None,
    ) -> None:
        self._calls = calls
        self._told = told
        self._blocks = blocks = blocks or sys.getallocatedblocks
        self._used_s = used_s
        self._used_before = used_s()
        self._collect = collect or _collect
        self._after_last = self._after_whole = blocks()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.look()
            except Exception:  # nobody else would collect from then on
                log.exception("looking for garbage failed")

    def look(self) -> None:
        """Collect if it is time to."""
        blocks, used = self._blocks(), self._used_s()
        is_idle = not self._calls() and used - self._used_before < IDLE_S
        self._used_before = used
        grown, whole = blocks - self._after_last, self._after_whole
        if grown < GROWTH:
            return
        everything = is_idle or blocks >= max(whole * TWICE, whole + LEAST_TWICE)
        began = time.perf_counter()
        found = self._collect(everything)
        self._told(time.perf_counter() - began, found)
        self._after_last = self._blocks()
        if everything:
            self._after_whole = self._after_last


def _collect(everything: bool) -> int:  # the shape of a callback
    if everything:
        gc.unfreeze()
    found = gc.collect()
    gc.freeze()
    return found


@asynccontextmanager
async def own_rhythm(*, calls: Callable[[], int], begun: Callable[[], int], told: Callable[[float, int], None]) -> AsyncIterator[None]:
    """While the block runs a :class:`GarbageWatch` says when CPython collects, and how much of it is looked at.

    *calls* says how many calls there are, *begun* how many there have been with them, *told* hears of each pause.

    PyPy keeps its own rhythm: it goes through old objects in small steps, between those for new ones. There *begun* says when its compiler
    has seen enough.
    """
    if IS_PYPY:
        with collector_watched(told), settling(begun):
            yield
        return
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    tasks = TaskSet()
    tasks.spawn(GarbageWatch(calls, told).run(), name="garbage watch")
    try:
        yield
    finally:
        await tasks.aclose()
        gc.unfreeze()
        if was_enabled:
            gc.enable()
