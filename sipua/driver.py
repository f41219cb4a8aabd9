"""Runs machines on an asyncio loop: the only place that wakes them and that owns background tasks.

One alarm serves all deadlines of a machine (``docs/adr/0001``), one timer of the loop all alarms (:mod:`sipua.alarms`).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, Protocol

from sipua.alarms import Alarm, Alarms
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

    __slots__ = ("_alarm", "_alarms", "_later", "_loop", "_machine", "_perform")

    def __init__(self, machine: Machine, perform: Callable[[Effect], None], loop: asyncio.AbstractEventLoop) -> None:
        self._machine = machine
        self._perform = perform
        self._loop = loop
        self._alarms = Alarms.of(loop)
        self._alarm: Alarm | None = None
        self._later: list[Effect] | None = None  # what is fed while effects are performed; None: none are

    @property
    def now(self) -> float:
        """The loop's time in seconds: what machines get as ``now``."""
        return self._loop.time()

    def feed(self, effects: Sequence[Effect]) -> None:
        """Perform *effects* in order, then set the alarm for the machine's next deadline."""
        if self._later is not None:
            self._later.extend(effects)
            return
        if effects:
            self._perform_all(effects)
        self._arm()

    def _perform_all(self, effects: Sequence[Effect]) -> None:
        perform = self._perform  # also for what follows the effect that ends the machine
        try:
            while effects:
                self._later = []
                for effect in effects:
                    try:
                        perform(effect)
                    except Exception:  # a fault of one receiver must not cost the machine its other effects
                        log.exception("performing %s failed", type(effect).__name__)
                effects = self._later
        finally:
            self._later = None

    def stop(self) -> None:
        """Disarm: the machine is never woken again by this driver."""
        self._machine.timers.clear()
        self._arm()

    def release(self) -> None:
        """The machine is over: disarm, and let go of who performs its effects, so that the two don't hold each other for ever."""
        self.stop()
        self._perform = _nothing

    def _arm(self) -> None:
        """Have an alarm at the machine's next deadline, or before it: one that goes off too early costs less than one that is moved."""
        deadline = self._machine.timers.next_deadline
        alarm = self._alarm
        if alarm is not None:
            if deadline is not None and alarm[0] <= deadline:
                return
            self._alarms.cancel(alarm)
            self._alarm = None
        if deadline is not None:
            self._alarm = self._alarms.set(deadline, self)

    def __call__(self, now: float) -> None:
        """The alarm went off. A bound method for each of thousands of alarms would be an object more."""
        self._alarm = None
        deadline = self._machine.timers.next_deadline
        if deadline is not None and deadline <= now:
            self.feed(self._machine.tick(now))
        else:
            self._arm()


def _nothing(_effect: Effect) -> None:
    """What a machine that is over may still ask for is of no use to anybody."""


class TaskClient(Protocol):
    """For whom a task runs."""

    def task_ended(self, error: BaseException | None) -> bool:
        """The task raised *error*, None: nothing, or it was cancelled. Return True when that is no crash. It must not raise."""


class TaskSet:
    """Owns background tasks: a crash is logged, none is forgotten, all end with :meth:`aclose`."""

    __slots__ = ("_note_end", "_tasks")

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], TaskClient | None] = {}
        self._note_end = self._done  # once for all of them

    def spawn(
        self, coroutine: Coroutine[Any, Any, Any], name: str, client: TaskClient | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """Start *coroutine* as a task that this set owns. *client* is told its end, in *context*, else in a copy of the present one."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks[task] = client
        task.add_done_callback(self._note_end, context=context)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        client = self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        is_expected = client is not None and client.task_ended(error)
        if error is not None and not is_expected:
            work = getattr(task.get_coro(), "__qualname__", "?")  # a call's task has the Call-ID for a name, and no text to make
            log.error("task %s (%s) crashed", task.get_name(), work, exc_info=error)

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
