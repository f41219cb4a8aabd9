"""Runs machines on an asyncio loop: the only place that arms loop timers and that owns background tasks.

One ``call_at`` serves all deadlines of a machine (``docs/adr/0001``).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from sipua.effects import Effect
from sipua.timers import TimerSet

log = logging.getLogger("sipua.driver")


class Machine(Protocol):
    """What a driver needs of a machine."""

    @property
    def timers(self) -> TimerSet:
        """The deadlines."""

    def tick(self, now: float) -> list[Effect]:
        """Handle the deadlines that have passed at *now* (loop time, seconds)."""


class Driver:
    """Performs the effects of one machine and wakes it at its earliest deadline.

    *perform* is called once for each effect, in order. It may feed the machine again; those effects are performed after the current ones.
    """

    __slots__ = ("_armed_for", "_handle", "_loop", "_machine", "_perform", "_queue", "_running")

    def __init__(self, machine: Machine, perform: Callable[[Effect], None], loop: asyncio.AbstractEventLoop) -> None:
        self._machine = machine
        self._perform = perform
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for: float | None = None
        self._queue: list[Effect] = []
        self._running = False

    @property
    def now(self) -> float:
        """The loop's time in seconds: what machines get as ``now``."""
        return self._loop.time()

    def feed(self, effects: Iterable[Effect]) -> None:
        """Perform *effects* in order, then arm the loop for the machine's next deadline."""
        self._queue.extend(effects)
        if self._running:
            return
        self._running = True
        try:
            while self._queue:
                effect = self._queue.pop(0)
                try:
                    self._perform(effect)
                except Exception:  # a fault of one receiver must not cost the machine its other effects
                    log.exception("performing %s failed", type(effect).__name__)
        finally:
            self._running = False
            self._arm()

    def stop(self) -> None:
        """Disarm: the machine is never woken again by this driver."""
        self._machine.timers.clear()
        self._arm()

    def _arm(self) -> None:
        deadline = self._machine.timers.next_deadline
        if deadline == self._armed_for:
            return
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._armed_for = deadline
        if deadline is not None:
            self._handle = self._loop.call_at(deadline, self._wake)

    def _wake(self) -> None:
        # A loop may wake a hair before the deadline it was given, hence the later of the two.
        now = max(self._armed_for or 0.0, self._loop.time())
        self._handle = None
        self._armed_for = None
        self.feed(self._machine.tick(now))


class TaskSet:
    """Owns background tasks: a crash is logged, none is forgotten, all end with :meth:`aclose`."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start *coroutine* as a task that this set owns."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s crashed", task.get_name(), exc_info=error)

    def __len__(self) -> int:
        return len(self._tasks)

    async def join(self) -> None:
        """Wait until every task has ended by itself."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        """Cancel every task and wait for its end."""
        me = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not me]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
