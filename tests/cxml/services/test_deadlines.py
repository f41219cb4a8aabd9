"""One timer for all who wait: each is expired at its time, and the timer is left alone while they only put it off."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.services.deadlines import Deadlines

pytestmark = pytest.mark.looptime


class Waiter:
    def __init__(self, deadlines: Deadlines, in_s: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.due_at = self.loop.time() + in_s
        self.expired_at: float | None = None
        deadlines.add(self)

    def expire(self) -> None:
        assert self.expired_at is None
        self.expired_at = self.loop.time()


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 20), st.none() | st.integers(0, 20), st.none() | st.integers(0, 20)),
        max_size=8,
    )
)
async def test_each_expires_when_it_is_due_unless_it_was_put_off_or_taken_out(plans: list[tuple[int, int, int | None, int | None]]) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    deadlines = Deadlines(loop)
    waiters: list[tuple[Waiter, float, bool]] = []

    async def one(begin: int, in_s: int, more: int | None, out: int | None) -> None:
        await asyncio.sleep(begin)
        waiter = Waiter(deadlines, in_s)
        due = begin + in_s
        if more is not None and more < in_s:  # heard of again in time
            await asyncio.sleep(more)
            waiter.due_at = loop.time() + in_s
            due = begin + more + in_s
        out_at = None if out is None else begin + (more if more is not None and more < in_s else 0) + out
        taken = out_at is not None and out_at < due
        if out is not None and taken:
            await asyncio.sleep(out)
            deadlines.discard(waiter)
        waiters.append((waiter, due, taken))

    await asyncio.gather(*(one(*plan) for plan in plans))
    await asyncio.sleep(100)
    for waiter, due, taken in waiters:
        assert waiter.expired_at == (None if taken else pytest.approx(start + due, abs=0.01))
    assert len(deadlines) == 0


async def test_requests_that_end_in_time_cost_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    armed: list[float] = []
    real = loop.call_at

    def call_at(when: float, *rest: object) -> asyncio.TimerHandle:
        armed.append(when)
        return real(when, *rest)  # type: ignore[arg-type]

    deadlines = Deadlines(loop)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_at", call_at)
        for _ in range(100):
            deadlines.discard(Waiter(deadlines, 5.0))
    assert len(armed) == 1
    deadlines.close()
    await asyncio.sleep(10)


async def test_who_is_expired_may_add_another() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    found: list[Waiter] = []

    class Again(Waiter):
        def expire(self) -> None:
            super().expire()
            found.append(Waiter(deadlines, 1.0))

    Again(deadlines, 2.0)
    await asyncio.sleep(5)
    assert [waiter.expired_at for waiter in found] == [pytest.approx(3.0, abs=0.01)]
