"""Limits, and the drain of a registry whose calls are plain tasks."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from cxml.calls.registry import CallLimits, LiveCall, Registry
from sipua.alarms import Alarms

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
        registry.add(LiveCall(SimpleNamespace(sid=sid), self.task, SimpleNamespace(stop=self.task.cancel), "pbx", began_at=now()))  # type: ignore[arg-type]

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
    assert (len(registry), registry.begun) == (0, 2)


async def test_calls_that_come_in_one_read_count_before_their_handlers_run() -> None:
    registry = Registry(CallLimits(max_calls=2), now)
    assert [registry.may_begin() for _ in range(4)] == ["", "", "max_calls", "max_calls"]
    await asyncio.sleep(0)
    assert registry.may_begin() == ""  # nobody took the places


async def test_each_call_is_ended_once_when_it_has_gone_on_too_long() -> None:
    registry = Registry(CallLimits(), now)
    registry.max_call_s = 10.0
    first = Running(registry, "first", for_s=100.0, to_end_s=30.0)
    await asyncio.sleep(1)
    short = Running(registry, "short", for_s=2.0)
    await asyncio.sleep(4)
    last = Running(registry, "last", for_s=100.0)
    await asyncio.sleep(4.9)
    assert (first.cancelled, last.cancelled) == (0, 0)
    await asyncio.sleep(0.2)
    assert (first.cancelled, last.cancelled) == (1, 0)
    await asyncio.gather(first.task, short.task, last.task)
    assert (first.cancelled, short.cancelled, last.cancelled) == (1, 0, 1)
    assert now() == pytest.approx(40.0)
    assert len(Alarms.of(asyncio.get_running_loop())) == 0


@dataclass
class Others:
    """What another process counts, and what it is told."""

    live: int = 0
    admitted: int = 0
    told: list[int] = field(default_factory=list)

    def note_live(self, live: int) -> None:
        self.told.append(live)

    def note_admitted(self) -> None:
        self.told.append(-1)


async def test_calls_of_other_processes_take_places_and_ours_are_told() -> None:
    others = Others(live=2)
    registry = Registry(CallLimits(max_calls=3), now, elsewhere=lambda _peer: others)
    assert registry.may_begin() == ""
    run = Running(registry, "1", for_s=1.0)
    await asyncio.sleep(0)
    assert registry.may_begin() == "max_calls"
    others.live = 1
    assert registry.obstacle() == ""
    await run.task
    assert others.told == [-1, 1, 2, 1, 0]  # taken, begun, its place given back, over


async def test_calls_that_other_processes_take_use_up_the_rate() -> None:
    others = Others(admitted=100)  # before our start: no matter
    registry = Registry(CallLimits(max_calls_per_s=4), now, elsewhere=lambda _peer: others)
    assert registry.may_begin() == ""
    others.admitted += 2
    assert [registry.may_begin() for _ in range(2)] == ["", "max_calls_per_s"]
    others.admitted += 50
    assert registry.obstacle() == "max_calls_per_s"
    await asyncio.sleep(0.26)
    assert registry.may_begin() == ""  # what others did beyond the rate is no debt of ours


async def test_a_peer_has_its_own_limit_over_all_processes() -> None:
    elsewhere = {"": Others(live=2), "pbx": Others(live=1)}
    registry = Registry(CallLimits(max_calls=9), now, {"pbx": CallLimits(max_calls=1)}, elsewhere.get)
    assert (registry.obstacle("pbx"), registry.obstacle("other")) == ("peer_max_calls", "")


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


async def test_a_peer_has_limits_of_its_own_within_those_for_all() -> None:
    registry = Registry(CallLimits(max_calls=3), now, {"small": CallLimits(max_calls=1), "slow": CallLimits(max_calls_per_s=1)})
    assert [registry.may_begin("small"), registry.may_begin("small")] == ["", "peer_max_calls"]
    assert [registry.may_begin("slow"), registry.may_begin("slow")] == ["", "peer_max_calls_per_s"]
    assert [registry.may_begin("free"), registry.may_begin("free"), registry.may_begin("slow")] == ["", "max_calls", "peer_max_calls_per_s"]
    await asyncio.sleep(1.0)
    assert [registry.may_begin(peer) for peer in ("small", "slow")] == ["", ""]


async def test_what_one_limit_refuses_costs_the_others_nothing() -> None:
    registry = Registry(CallLimits(max_calls_per_s=2), now, {"small": CallLimits(max_calls_per_s=1)})
    assert [registry.may_begin("small") for _ in range(10)] == ["", *["peer_max_calls_per_s"] * 9]
    assert [registry.may_begin("free") for _ in range(2)] == ["", "max_calls_per_s"]


async def test_places_of_a_peer_are_free_again_when_its_calls_end() -> None:
    registry = Registry(CallLimits(), now, {"pbx": CallLimits(max_calls=1)})
    run = Running(registry, "1", for_s=1.0)
    assert registry.obstacle("pbx") == "peer_max_calls"
    await run.task
    assert registry.obstacle("pbx") == ""


async def test_an_address_is_known_while_a_call_from_it_runs() -> None:
    registry = Registry(CallLimits(), now)
    tasks = [asyncio.get_running_loop().create_task(asyncio.sleep(0)) for _ in range(2)]
    for number, task in enumerate(tasks):
        registry.add(LiveCall(SimpleNamespace(sid=str(number)), task, SimpleNamespace(stop=task.cancel), "pbx", "10.0.0.9"))  # type: ignore[arg-type]
    registry.remove("0")
    assert registry.has_caller("10.0.0.9")
    registry.remove("1")
    assert not registry.has_caller("10.0.0.9")
    assert len(registry._hosts) == 0
    await asyncio.gather(*tasks)
