"""When garbage is collected: when memory has grown, and rather while there is no call."""

import asyncio
import gc
from dataclasses import dataclass, field

import pytest

from cxml.daemon.garbage import GROWTH, IDLE_S, LEAST_TWICE, LOOK_S, GarbageWatch, own_rhythm

START = 400_000


@dataclass
class Memory:
    """Stands for Python's memory: what is in use, and how much of it is garbage."""

    blocks: int = START
    garbage: int = 0
    calls: int = 0
    used_s: float = 0.0
    told: list[tuple[float, int]] = field(default_factory=list)
    passes: list[str] = field(default_factory=list)

    def collect(self, everything: bool) -> int:
        self.passes.append("all" if everything else "new")
        found, self.garbage = self.garbage, 0
        self.blocks -= found
        return found

    def watch(self) -> GarbageWatch:
        told = lambda pause_s, found: self.told.append((pause_s, found))  # noqa: E731
        return GarbageWatch(lambda: self.calls, told, blocks=lambda: self.blocks, used_s=lambda: self.used_s, collect=self.collect)


@pytest.mark.parametrize(
    ("start", "calls", "growth", "passes"),
    [
        (START, 1, GROWTH - 1, []),
        (START, 1, GROWTH, ["new"]),
        (START, 1, LEAST_TWICE - 1, ["new"]),
        (START, 1, LEAST_TWICE, ["all"]),
        (10_000_000, 1, 10_000_000 - 1, ["new"]),
        (10_000_000, 1, 10_000_000, ["all"]),
        (START, 0, GROWTH - 1, []),
        (START, 0, GROWTH, ["all"]),
        (10_000_000, 0, GROWTH, ["all"]),
        (START, 0, -100_000, []),
    ],
)
def test_a_pass_is_made_when_memory_has_grown(start: int, calls: int, growth: int, passes: list[str]) -> None:
    memory = Memory(blocks=start, calls=calls)
    watch = memory.watch()
    memory.blocks += growth
    watch.look()
    assert memory.passes == passes
    assert len(memory.told) == len(passes)


def test_memory_that_grows_step_by_step_is_looked_at_as_a_whole_when_it_has_doubled() -> None:
    memory = Memory(blocks=5_000_000, calls=1)
    watch = memory.watch()
    for _ in range(200):
        memory.blocks += GROWTH
        watch.look()
    assert memory.passes == [*["new"] * 99, "all", *["new"] * 100]


def test_a_moment_without_a_call_is_not_idleness() -> None:
    memory = Memory()
    watch = memory.watch()
    memory.blocks += GROWTH
    memory.used_s += IDLE_S
    watch.look()
    assert memory.passes == ["new"]
    memory.blocks += GROWTH
    watch.look()
    assert memory.passes == ["new", "all"]


def test_growth_counts_from_what_the_last_pass_left() -> None:
    memory = Memory(calls=1)
    watch = memory.watch()
    memory.blocks += GROWTH
    memory.garbage = GROWTH // 2
    watch.look()
    watch.look()
    assert [found for _, found in memory.told] == [GROWTH // 2]
    memory.blocks += GROWTH
    watch.look()
    assert len(memory.told) == 2


@pytest.mark.looptime
async def test_a_look_that_fails_is_logged_and_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    looks: list[int] = []

    def blocks() -> int:
        looks.append(1)
        if len(looks) == 2:
            raise RuntimeError("broken")
        return 0

    watch = GarbageWatch(lambda: 0, lambda _pause_s, _found: None, blocks=blocks, used_s=lambda: 0.0)
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(LOOK_S * 3.5)
    task.cancel()
    assert len(looks) == 4
    assert "looking for garbage failed" in caplog.text


@pytest.mark.cpython
@pytest.mark.looptime
async def test_python_s_own_rhythm_is_off_while_the_daemon_runs() -> None:
    told: list[int] = []
    async with own_rhythm(calls=lambda: 0, begun=lambda: 0, told=lambda _pause_s, found: told.append(found)):
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 1000
        kept: list[list[object]] = [[] for _ in range(GROWTH)]
        for circle in kept:
            circle.append(kept)
        del circle, kept
        await asyncio.sleep(LOOK_S * 1.5)
        assert len(told) == 1
        assert told[0] >= GROWTH
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
