"""One timer of the loop for all alarms."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.alarms import MIN_STALE, Alarm, Alarms

pytestmark = pytest.mark.looptime


class Bell:
    """Notes when it was rung; something that can be watched by a weak reference."""

    def __init__(self) -> None:
        self.rung: list[float] = []

    def ring(self, now: float) -> None:
        self.rung.append(round(now, 3))


async def test_alarms_go_off_in_the_order_of_their_times_and_of_their_setting() -> None:
    alarms, begin = Alarms.of(asyncio.get_running_loop()), asyncio.get_running_loop().time()
    heard: list[tuple[str, float]] = []
    for name, delay in (("late", 3), ("first", 1), ("second", 1), ("middle", 2)):
        alarms.set(begin + delay, lambda now, name=name: heard.append((name, round(now - begin, 3))))  # type: ignore[misc]
    await asyncio.sleep(5)
    assert heard == [("first", 1), ("second", 1), ("middle", 2), ("late", 3)]
    assert len(alarms) == 0


async def test_a_loop_has_one_set_of_alarms() -> None:
    loop = asyncio.get_running_loop()
    alarms, other = Alarms.of(loop), asyncio.new_event_loop()
    try:
        others = Alarms.of(other)
        assert others is not alarms
        assert (Alarms.of(loop), Alarms.of(other), Alarms.of(other), Alarms.of(loop)) == (alarms, others, others, alarms)
    finally:
        other.close()


async def test_an_alarm_that_was_taken_back_never_goes_off_and_lets_its_callback_go_at_once() -> None:
    loop = asyncio.get_running_loop()
    alarms, bell = Alarms.of(loop), Bell()
    watched = weakref.ref(bell)
    alarm = alarms.set(loop.time() + 1000, bell.ring)
    alarms.cancel(alarm)
    alarms.cancel(alarm)
    assert len(alarms) == 0
    del bell
    gc.collect()
    assert watched() is None
    await asyncio.sleep(2000)


async def test_an_alarm_may_take_back_the_next_one_of_the_same_time() -> None:
    loop = asyncio.get_running_loop()
    alarms, bell = Alarms.of(loop), Bell()
    kept: list[Alarm] = []
    alarms.set(loop.time() + 1, lambda _now: alarms.cancel(kept[0]))
    kept.append(alarms.set(loop.time() + 1, bell.ring))
    await asyncio.sleep(2)
    assert bell.rung == []
    assert len(alarms) == 0


async def test_an_alarm_set_for_a_time_that_has_passed_goes_off_in_the_next_turn() -> None:
    loop = asyncio.get_running_loop()
    alarms, heard = Alarms.of(loop), []

    def again(now: float) -> None:
        heard.append(now)
        if len(heard) < 3:
            alarms.set(now - 1, again)

    alarms.set(loop.time() - 1, again)
    assert heard == []
    await asyncio.sleep(1)
    assert len(heard) == 3


async def test_an_earlier_alarm_is_not_held_up_by_a_later_one() -> None:
    loop = asyncio.get_running_loop()
    alarms, bell = Alarms.of(loop), Bell()
    alarms.set(loop.time() + 100, lambda _now: None)
    alarms.set(loop.time() + 1, bell.ring)
    begin = loop.time()
    await asyncio.sleep(2)
    assert bell.rung == [round(begin + 1, 3)]
    await asyncio.sleep(200)


async def test_an_alarm_that_fails_is_logged_and_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    alarms, bell = Alarms.of(loop), Bell()

    def fail(_now: float) -> None:
        raise ValueError("mine")

    alarms.set(loop.time() + 1, fail)
    alarms.set(loop.time() + 1, bell.ring)
    alarms.set(loop.time() + 2, bell.ring)
    await asyncio.sleep(3)
    assert len(bell.rung) == 2
    assert "an alarm failed" in caplog.text


async def test_a_cancellation_out_of_an_alarm_costs_no_other_and_stops_no_timer(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    alarms, bell = Alarms.of(loop), Bell()
    cancelled: asyncio.Future[None] = loop.create_future()
    cancelled.cancel()
    alarms.set(loop.time() + 1, lambda _now: cancelled.result())
    alarms.set(loop.time() + 1, bell.ring)
    alarms.set(loop.time() + 2, bell.ring)
    await asyncio.sleep(3)
    alarms.set(loop.time() + 1, bell.ring)
    await asyncio.sleep(2)
    assert len(bell.rung) == 3
    assert "an alarm failed" in caplog.text


async def test_alarms_go_on_even_when_one_stops_the_loop() -> None:
    class StopError(BaseException):
        """What no alarm holds back."""

    def stop(_now: float) -> None:
        raise StopError

    loop = asyncio.get_running_loop()
    alarms, bell = Alarms.of(loop), Bell()
    alarms.set(loop.time(), stop)
    alarms.set(loop.time() + 1, bell.ring)
    handle = alarms._handle
    assert handle is not None
    handle.cancel()
    with pytest.raises(StopError):
        alarms._go_off()
    await asyncio.sleep(2)
    assert len(bell.rung) == 1


async def test_each_alarm_runs_in_the_context_of_whoever_set_it() -> None:
    loop = asyncio.get_running_loop()
    alarms, heard = Alarms.of(loop), []
    name: ContextVar[str] = ContextVar("name", default="nobody")

    def set_as(who: str) -> None:
        name.set(who)
        alarms.set(loop.time() + 1, lambda _now: heard.append(name.get()))

    alarms.set(loop.time() + 1, lambda _now: heard.append(name.get()))
    for who in ("alice", "bob"):
        copy_context().run(set_as, who)
    await asyncio.sleep(2)
    assert heard == ["nobody", "alice", "bob"]


async def test_the_timer_of_alarms_that_were_taken_back_stays_and_serves_the_next_one() -> None:
    clock = HandClock()
    alarms = Alarms(cast("asyncio.AbstractEventLoop", clock))
    first, second = (alarms.set(float(when), lambda _now: None) for when in (2, 1))
    alarms.cancel(second)
    alarms.cancel(first)
    assert len(alarms) == 0
    bell = Bell()
    alarms.set(5.0, bell.ring)
    assert clock.calls == 2  # for the two, and none for the third: the timer that is there comes before it
    clock.run()
    assert bell.rung == [5.0]
    assert clock.armed is None  # none goes on for ever


async def test_alarms_that_were_taken_back_do_not_pile_up() -> None:
    loop = asyncio.get_running_loop()
    alarms = Alarms.of(loop)
    far = alarms.set(loop.time() + 1e6, lambda _now: None)
    for _ in range(20 * MIN_STALE):
        alarms.cancel(alarms.set(loop.time() + 1e6, lambda _now: None))
    assert len(alarms) == 1
    assert len(alarms._heap) <= MIN_STALE + 2
    alarms.cancel(far)


class HandClock:
    """A loop whose only timer is gone off by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.armed: tuple[float, Callable[[], None]] | None = None
        self.calls = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> "HandClock":
        self.armed = when, callback
        self.calls += 1
        return self

    def cancel(self) -> None:
        self.armed = None

    def run(self) -> None:
        while self.armed is not None:
            (self.now, callback), self.armed = self.armed, None
            callback()


@given(plan=st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=60))
def test_exactly_those_that_were_kept_go_off_each_once_in_order(plan: list[tuple[int, bool]]) -> None:
    clock = HandClock()
    alarms = Alarms(cast("asyncio.AbstractEventLoop", clock))
    heard: list[int] = []
    made = [alarms.set(float(delay), lambda _now, delay=delay: heard.append(delay)) for delay, _ in plan]  # type: ignore[misc]
    for alarm, (_, is_kept) in zip(made, plan, strict=True):
        if not is_kept:
            alarms.cancel(alarm)
    assert len(alarms) == sum(is_kept for _, is_kept in plan)
    clock.run()
    assert heard == sorted(delay for delay, is_kept in plan if is_kept)
    assert len(alarms) == 0
