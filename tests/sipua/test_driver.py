"""Machines on the loop, and background tasks."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from dataclasses import dataclass

import pytest

from sipua.driver import Driver, TaskSet
from sipua.effects import Effect, Terminated
from sipua.timers import TimerSet

pytestmark = pytest.mark.looptime


@dataclass(frozen=True, slots=True)
class Say(Effect):
    """Says a word."""

    word: str


class Clockwork:
    """A machine that says the names of its timers."""

    def __init__(self) -> None:
        self.timers = TimerSet()
        self.again = 0

    def tick(self, now: float) -> list[Effect]:
        words: list[Effect] = [Say(name) for name in self.timers.due(now)]
        if self.again:
            self.again -= 1
            self.timers.start("again", now + 1)
        return words


def make(machine: Clockwork, also: Callable[[str], None] = lambda _word: None) -> tuple[Driver, list[tuple[float, str]]]:
    loop = asyncio.get_running_loop()
    said: list[tuple[float, str]] = []
    begin = loop.time()

    def perform(effect: Effect) -> None:
        if isinstance(effect, Say):
            said.append((round(loop.time() - begin, 3), effect.word))
            also(effect.word)

    return Driver(machine, perform, loop), said


async def test_a_machine_is_woken_at_each_deadline() -> None:
    machine = Clockwork()
    driver, said = make(machine)
    machine.timers.start("A", driver.now + 1)
    machine.timers.start("B", driver.now + 3)
    driver.feed([Say("start")])
    await asyncio.sleep(5)
    assert said == [(0, "start"), (1, "A"), (3, "B")]


async def test_a_changed_deadline_is_rearmed_and_a_stopped_one_is_not_kept() -> None:
    machine = Clockwork()
    driver, said = make(machine)
    machine.timers.start("A", driver.now + 10)
    driver.feed([])
    machine.timers.start("B", driver.now + 1)
    driver.feed([])
    machine.timers.stop("A")
    driver.feed([Terminated()])
    await asyncio.sleep(20)
    assert said == [(1, "B")]


async def test_a_machine_may_rearm_itself() -> None:
    machine = Clockwork()
    machine.again = 3
    driver, said = make(machine)
    machine.timers.start("again", driver.now + 1)
    driver.feed([])
    await asyncio.sleep(20)
    assert [time for time, _ in said] == [1, 2, 3, 4]


async def test_effects_fed_while_performing_come_after_the_current_ones() -> None:
    machine = Clockwork()

    def also(word: str) -> None:
        if word == "one":
            driver.feed([Say("three")])

    driver, said = make(machine, also)
    driver.feed([Say("one"), Say("two")])
    assert [word for _, word in said] == ["one", "two", "three"]


async def test_a_fault_in_one_effect_does_not_cost_the_others(caplog: pytest.LogCaptureFixture) -> None:
    machine = Clockwork()

    def also(word: str) -> None:
        if word == "bad":
            raise ValueError("mine")

    driver, said = make(machine, also)
    machine.timers.start("A", driver.now + 1)
    driver.feed([Say("bad"), Say("good")])
    await asyncio.sleep(2)
    assert [word for _, word in said] == ["bad", "good", "A"]
    assert "performing Say failed" in caplog.text


async def test_a_stopped_driver_wakes_nobody() -> None:
    machine = Clockwork()
    driver, said = make(machine)
    machine.timers.start("A", driver.now + 1)
    driver.feed([])
    driver.stop()
    await asyncio.sleep(5)
    assert said == []
    assert len(machine.timers) == 0


async def test_a_task_set_forgets_what_has_ended_and_logs_crashes(caplog: pytest.LogCaptureFixture) -> None:
    async def crash() -> None:
        raise ValueError("mine")

    tasks = TaskSet()
    tasks.spawn(asyncio.sleep(1), "sleeper")
    tasks.spawn(crash(), "crasher")
    assert len(tasks) == 2
    await tasks.join()
    assert len(tasks) == 0
    assert "task crasher (test_a_task_set_forgets_what_has_ended_and_logs_crashes.<locals>.crash) crashed" in caplog.text
    assert "sleeper" not in caplog.text


async def test_closing_cancels_and_waits() -> None:
    ends: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(1)
            ends.append("work")

    tasks = TaskSet()
    tasks.spawn(work(), "work")
    await asyncio.sleep(1)
    await tasks.aclose()
    await tasks.aclose()
    assert ends == ["work"]


async def test_a_task_may_close_its_own_set() -> None:
    ends: list[str] = []

    async def last() -> None:
        await tasks.aclose()
        ends.append("last")

    tasks = TaskSet()
    tasks.spawn(asyncio.sleep(1000), "sleeper")
    tasks.spawn(last(), "last")
    await tasks.join()
    assert ends == ["last"]


async def test_who_asked_is_told_how_a_task_ended_and_says_what_was_to_be_expected(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    async def work(error: Exception | None) -> None:
        if error is not None:
            raise error

    class Asker:
        def task_ended(self, error: BaseException | None) -> bool:
            told.append(repr(error))
            return isinstance(error, KeyError)

    tasks, asker = TaskSet(), Asker()
    for number, error in enumerate((None, KeyError("a"), ValueError("b"))):
        tasks.spawn(work(error), f"work {number}", asker)
    tasks.spawn(asyncio.sleep(1000), "sleeper", asker).cancel()
    await tasks.join()
    assert told == ["None", "KeyError('a')", "ValueError('b')", "None"]
    crash = "test_who_asked_is_told_how_a_task_ended_and_says_what_was_to_be_expected.<locals>.work"
    assert [record.getMessage() for record in caplog.records] == [f"task work 2 ({crash}) crashed"]


async def test_what_ends_is_told_in_the_context_of_who_asked_or_in_the_one_that_is_given() -> None:
    name: ContextVar[str] = ContextVar("name", default="nobody")
    told: list[str] = []

    class Asker:
        def task_ended(self, error: BaseException | None) -> bool:
            told.append(name.get())
            return True

    tasks, outside = TaskSet(), copy_context()
    name.set("asker")
    tasks.spawn(asyncio.sleep(1), "one", Asker())
    tasks.spawn(asyncio.sleep(2), "two", Asker(), outside)
    await tasks.join()
    assert told == ["asker", "nobody"]
