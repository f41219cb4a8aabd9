"""Limits, and the drain of a registry whose calls are plain tasks."""

import asyncio
from types import SimpleNamespace

import pytest

from cxml.calls.registry import CallLimits, LiveCall, Registry

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


class Running:
    """A call that takes some time, and then some more to end in good order."""

    def __init__(self, registry: Registry, sid: str, *, for_s: float, to_end_s: float = 0.0) -> None:
        self.cancelled = 0
        self._registry = registry
        self._sid = sid
        self.task = asyncio.get_running_loop().create_task(self._run(for_s, to_end_s))
        registry.add(LiveCall(SimpleNamespace(sid=sid), self.task, "pbx"))  # type: ignore[arg-type]

    async def _run(self, for_s: float, to_end_s: float) -> None:
        try:
            await asyncio.sleep(for_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            try:
                await asyncio.sleep(to_end_s)
            except asyncio.CancelledError:
                self.cancelled += 1
        finally:
            self._registry.remove(self._sid)


async def test_the_number_of_calls_is_limited() -> None:
    registry = Registry(CallLimits(max_calls=2), now)
    runs = [Running(registry, str(number), for_s=1.0) for number in range(2)]
    assert registry.may_begin() == "max_calls"
    await asyncio.gather(*(run.task for run in runs))
    assert registry.may_begin() == ""


async def test_calls_that_come_in_one_read_count_before_their_handlers_run() -> None:
    registry = Registry(CallLimits(max_calls=2), now)
    assert [registry.may_begin() for _ in range(4)] == ["", "", "max_calls", "max_calls"]
    await asyncio.sleep(0)
    assert registry.may_begin() == ""  # nobody took the places


async def test_the_rate_is_a_bucket_of_one_second() -> None:
    registry = Registry(CallLimits(max_calls_per_s=3), now)
    assert [registry.may_begin() for _ in range(4)] == ["", "", "", "max_calls_per_s"]
    await asyncio.sleep(0.34)
    assert [registry.may_begin() for _ in range(2)] == ["", "max_calls_per_s"]
    await asyncio.sleep(100)
    assert [registry.may_begin() for _ in range(4)] == ["", "", "", "max_calls_per_s"]


async def test_less_than_one_call_a_second_lets_the_first_one_in() -> None:
    registry = Registry(CallLimits(max_calls_per_s=0.5), now)
    assert [registry.may_begin() for _ in range(2)] == ["", "max_calls_per_s"]
    await asyncio.sleep(2.0)
    assert registry.may_begin() == ""


async def test_a_drain_of_nothing_is_over_at_once() -> None:
    registry = Registry(CallLimits(), now)
    assert await registry.drain(60, 10) == 0
    assert now() == 0.0
    assert registry.may_begin() == "draining"


async def test_a_drain_waits_for_running_calls() -> None:
    registry = Registry(CallLimits(), now)
    run = Running(registry, "1", for_s=20)
    assert await registry.drain(60, 10) == 0
    assert (now(), run.cancelled) == (20.0, 0)


async def test_a_drain_that_takes_too_long_ends_the_calls_in_good_order() -> None:
    registry = Registry(CallLimits(), now)
    run = Running(registry, "1", for_s=1000, to_end_s=3)
    short = Running(registry, "2", for_s=1)
    assert await registry.drain(60, 10) == 1
    assert (now(), run.cancelled, short.cancelled) == (63.0, 1, 0)


async def test_a_call_that_will_not_end_is_stopped() -> None:
    registry = Registry(CallLimits(), now)
    run = Running(registry, "1", for_s=1000, to_end_s=1000)
    assert await registry.drain(60, 10) == 1
    assert (now(), run.cancelled, len(registry)) == (70.0, 2, 0)


async def test_hurry_ends_the_wait() -> None:
    registry = Registry(CallLimits(), now)
    run = Running(registry, "1", for_s=1000, to_end_s=1)
    asyncio.get_running_loop().call_later(5, registry.hurry)
    assert await registry.drain(60, 10) == 1
    assert (now(), run.cancelled) == (6.0, 1)


async def test_hurry_before_the_drain_leaves_no_wait() -> None:
    registry = Registry(CallLimits(), now)
    Running(registry, "1", for_s=1000)
    await asyncio.sleep(0)
    registry.hurry()
    assert await registry.drain(60, 10) == 1
    assert now() == 0.0
