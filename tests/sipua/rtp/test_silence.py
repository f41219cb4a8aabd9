"""The clock that all sessions share: virtual time, no sockets."""

import asyncio
from collections.abc import Callable

import pytest

from sipua.rtp.silence import SilenceClock

pytestmark = pytest.mark.looptime


class Sender:
    def __init__(self, clock: SilenceClock | None = None, victim: "Sender | None" = None) -> None:
        self.calls: list[tuple[float, int]] = []
        self.clock = clock
        self.victim = victim

    def send_silence(self, intervals: int) -> None:
        self.calls.append((round(asyncio.get_running_loop().time(), 4), intervals))
        if self.clock is not None and self.victim is not None:
            self.clock.remove(self.victim)


async def test_every_sender_gets_one_call_each_twenty_milliseconds() -> None:
    clock, one, two = SilenceClock(asyncio.get_running_loop()), Sender(), Sender()
    clock.add(one)
    await asyncio.sleep(0.05)
    clock.add(two)
    clock.add(two)
    await asyncio.sleep(0.05)
    assert one.calls == [(0.02, 1), (0.04, 1), (0.06, 1), (0.08, 1), (0.1, 1)][: len(one.calls)]
    assert len(one.calls) >= 4
    assert two.calls == one.calls[2:]
    clock.remove(one)
    clock.remove(two)


async def test_without_senders_there_is_no_timer() -> None:
    clock, sender = SilenceClock(asyncio.get_running_loop()), Sender()
    clock.remove(sender)
    clock.add(sender)
    assert sender in clock
    clock.remove(sender)
    assert len(clock) == 0
    await asyncio.sleep(0.1)
    assert sender.calls == []
    clock.add(sender)
    await asyncio.sleep(0.03)
    assert len(sender.calls) == 1
    clock.remove(sender)


class LateLoop:
    """Only what the clock needs of a loop; time moves when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due = 0.0
        self.tick: Callable[[], None] = lambda: None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        self.due, self.tick = when, callback
        return asyncio.TimerHandle(when, lambda: None, (), asyncio.get_running_loop())


async def test_a_late_wake_is_one_call_for_all_the_intervals_it_missed() -> None:
    loop = LateLoop()
    clock, sender = SilenceClock(loop), Sender()  # type: ignore[arg-type]
    clock.add(sender)
    for now in (0.021, 0.107, 0.12, 0.14):
        loop.now = now
        loop.tick()
        assert loop.due > now
    assert [intervals for _, intervals in sender.calls] == [1, 4, 1, 1]
    assert loop.due == pytest.approx(0.16)


async def test_a_sender_that_is_removed_in_a_tick_is_not_called_in_it() -> None:
    clock = SilenceClock(asyncio.get_running_loop())
    second = Sender()
    first = Sender(clock, second)
    clock.add(first)
    clock.add(second)
    await asyncio.sleep(0.03)
    assert len(first.calls) == 1
    assert second.calls == []
    clock.remove(first)
