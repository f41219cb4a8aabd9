"""The parent, with workers that are objects of the test, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from cxml.daemon.config import Config, Workers
from cxml.daemon.metrics import Metrics
from cxml.daemon.workers.board import Board
from cxml.daemon.workers.life import Life
from cxml.daemon.workers.sockets import open_sockets
from cxml.daemon.workers.start import Start
from cxml.daemon.workers.supervisor import BEAT_S, HUNG_BEATS, Supervisor, WorkersError
from cxml.daemon.workers.totals import Snapshot, snapshot

pytestmark = pytest.mark.looptime

START_S = 1.0


class FakeLife:
    """A worker that is ready after a second; *dies_after* is its time, *answers* whether it says anything later.

    *obeys* is whether it ends when it is told to.
    """

    def __init__(
        self, start: Start, *, dies_after: float | None = None, answers: bool = True, obeys: bool = True, reasons: tuple[str, ...] = ()
    ) -> None:
        loop = asyncio.get_running_loop()
        self.worker = start.worker
        self.config = start.config
        self.pid = 4711
        self.missed = 0
        self.is_ready = False
        self.metrics: Snapshot = []
        self.orders: list[str] = []
        self._counted = Metrics()
        self._answers = answers
        self._obeys = obeys
        self._reasons = reasons
        self._end: asyncio.Future[int] = loop.create_future()
        self._dies_after = dies_after
        if dies_after is not None:
            loop.call_later(dies_after, self.end, 1)

    def end(self, status: int) -> None:
        if not self._end.done():
            self._end.set_result(status)

    async def receive(self) -> dict[str, str] | None:
        if not self.is_ready and (self._dies_after is None or self._dies_after > START_S):
            await asyncio.sleep(START_S)
            return {"said": "ready"}
        await asyncio.wait([self._end])
        return None

    async def ended(self) -> int:
        await asyncio.wait([self._end])
        return self._end.result()

    def order(self, what: str, **more: int) -> None:
        self.orders.append(" ".join([what, *map(str, more.values())]))
        if what == "drain" and self._obeys:
            self.end(0)

    def kill(self) -> None:
        self.end(-9)

    async def ask(self, what: str) -> Any:
        if not self._answers:
            return None
        return {"reasons": self._reasons, "shedding": ["overload"]} if what == "health" else None

    async def ask_metrics(self) -> Snapshot:
        await self.ask("metrics")
        self._counted.call_began()
        self._counted.call_ended("completed")
        self.metrics = snapshot(self._counted.registry)
        return self.metrics


@dataclass
class Plant:
    """A supervisor and the lives that it began, in order; *plans* are the properties of those to come, by worker."""

    plans: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    lives: list[FakeLife] = field(default_factory=list)
    began_at: list[float] = field(default_factory=list)
    no_process: int = 0

    async def begin(self, start: Start) -> Life:
        self.began_at.append(asyncio.get_running_loop().time())
        if self.no_process:
            self.no_process -= 1
            raise OSError("no memory")
        plans = self.plans.get(start.worker, [])
        self.lives.append(FakeLife(start, **(plans.pop(0) if plans else {})))
        return cast("Life", self.lives[-1])


@asynccontextmanager
async def plant(count: int = 2, **plans: Any) -> AsyncIterator[tuple[Supervisor, Plant, Board]]:
    made = Plant(**plans)
    with ExitStack() as stack:
        board = Board.make(count, ())
        stack.callback(board.close)
        supervisor = Supervisor(Config(workers=Workers(count=count)), open_sockets((), count, stack), board, made.begin)
        try:
            yield supervisor, made, board
        finally:
            await supervisor.aclose()


async def test_all_workers_serve_once_they_are_ready_and_end_when_they_are_told() -> None:
    async with plant(3) as (supervisor, made, board):
        await supervisor.start()
        assert (supervisor.serving, board.live()) == ((0, 1, 2), (0, 1, 2))
        state = await supervisor.readiness()
        assert (state.status, state.reasons, state.shedding, state.missing) == ("ready", (), ("overload",), ())
        supervisor.reload()
        await supervisor.stop(5)
        assert [life.orders[:2] for life in made.lives] == [["reload", "drain"]] * 3
        assert supervisor.serving == ()
        assert (await supervisor.readiness()).reasons == ("draining",)


async def test_a_daemon_of_which_a_worker_does_not_start_does_not_start() -> None:
    with capture_logs() as logs:
        async with plant(plans={1: [{"dies_after": 0.5}]}) as (supervisor, _, _):
            with pytest.raises(WorkersError, match=r"[12] of 2 workers did not start"):
                await supervisor.start()
    assert [line["status"] for line in logs if line["event"] == "worker_died" and line["worker"] == 1] == [1]


async def test_a_worker_that_dies_again_and_again_is_started_again_later_and_later_while_the_other_serves() -> None:
    async with plant(plans={1: [{"dies_after": 2.0}] * 4}) as (supervisor, made, board):
        await supervisor.start()
        share = board.share(1, "")
        assert share is not None
        share.note_live(7)
        with capture_logs() as logs:
            await asyncio.sleep(1.5)
            assert (await supervisor.readiness()).status == "degraded"
            assert board.calls(1) == 0
            await asyncio.sleep(30)
        assert made.began_at[2:] == pytest.approx([2.0, 5.0, 9.0, 15.0], abs=0.1)  # each lives for 2 s; waits of 0, 1, 2 and 4 s
        assert [line["calls_lost"] for line in logs if line["event"] == "worker_died"] == [7, 0, 0, 0]
        assert (supervisor.serving, supervisor.restarts) == ((0, 1), 4)
        assert (await supervisor.readiness()).status == "ready"
        assert made.lives[0].orders == ["forget 1"] * 4


async def test_a_process_that_can_not_be_made_is_tried_again() -> None:
    async with plant() as (supervisor, made, _):
        await supervisor.start()
        made.no_process = 2
        made.lives[0].end(-11)
        with capture_logs() as logs:
            await asyncio.sleep(5)
        assert [line["event"] for line in logs if line["log_level"] == "error"] == [
            "worker_died",
            "worker_not_started",
            "worker_not_started",
        ]
        assert supervisor.serving == (0, 1)


async def test_a_worker_that_says_nothing_for_too_long_is_killed_and_replaced() -> None:
    async with plant(plans={0: [{"answers": False}]}) as (supervisor, made, _):
        await supervisor.start()
        assert (await supervisor.readiness()).missing == ("worker 0",)
        with capture_logs() as logs:
            await asyncio.sleep((HUNG_BEATS + 2) * BEAT_S)
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["worker_hung", "worker_died"]
        assert (len(made.lives), supervisor.serving) == (3, (0, 1))


async def test_a_daemon_that_was_asleep_kills_nobody(looptime: Any) -> None:
    async with plant() as (supervisor, made, _):
        await supervisor.start()
        looptime += 3600  # a machine that was suspended: the clock has jumped
        await asyncio.sleep(3 * BEAT_S)
        assert (len(made.lives), supervisor.restarts) == (2, 0)


async def test_one_reason_of_one_worker_against_calls_counts_for_all() -> None:
    async with plant(plans={0: [{"reasons": ("not registered at pbx",)}]}) as (supervisor, _, _):
        await supervisor.start()
        state = await supervisor.readiness()
        assert (state.is_ready, state.reasons) == (False, ("not registered at pbx",))


async def test_a_worker_that_does_not_end_in_time_is_killed() -> None:
    async with plant(plans={1: [{"obeys": False}]}) as (supervisor, _, _):
        await supervisor.start()
        with capture_logs() as logs:
            await supervisor.stop(10)
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["worker_killed", "worker_died"]


async def test_a_hurry_reaches_also_those_that_were_not_ready_when_it_came() -> None:
    async with plant(plans={worker: [{"obeys": False}] for worker in (0, 1)}) as (supervisor, made, _):
        starting = asyncio.create_task(supervisor.start())
        await asyncio.sleep(0.5)
        stopping = asyncio.create_task(supervisor.stop(3))
        await asyncio.sleep(0)
        supervisor.hurry()
        await asyncio.gather(starting, stopping)
        assert all({"drain", "hurry"} <= set(life.orders) for life in made.lives)


async def test_totals_of_the_dead_stay_in_the_metrics() -> None:
    async with plant() as (supervisor, made, _):
        await supervisor.start()
        name = 'cxmld_calls_total{reason="completed"}'
        assert f"{name} 2.0" in (await supervisor.render()).decode()
        made.lives[0].end(1)
        await asyncio.sleep(2)
        text = (await supervisor.render()).decode()
        assert f"{name} 4.0" in text  # one of the dead, two of the one that lives, one of the new
        for line in ("cxmld_workers 2.0", "cxmld_workers_serving 2.0", "cxmld_worker_restarts_total 1.0"):
            assert line in text
