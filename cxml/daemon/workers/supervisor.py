"""The parent: starts workers, starts those anew that die, and answers for all of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cxml.api.readiness import Readiness
from cxml.daemon.config import Config
from cxml.daemon.workers.backoff import Backoff
from cxml.daemon.workers.board import Board
from cxml.daemon.workers.division import part_of
from cxml.daemon.workers.life import Life
from cxml.daemon.workers.sockets import Sockets
from cxml.daemon.workers.start import Start
from cxml.daemon.workers.totals import Families, Snapshot, add_up, snapshot, what_remains
from cxml.errors import CxmlError
from sipua.driver import TaskSet

log = structlog.get_logger(__name__)

READY_S: Final = 60.0
"""How long a worker may take to start: a loaded machine imports slowly."""

BEAT_S: Final = 5.0
"""How often each worker is asked whether it lives."""

HUNG_BEATS, START_BEATS = 4, 9
"""A worker that doesn't answer so often, or isn't ready after so many, does nothing for its callers either. Times would mislead: when the
whole machine was asleep all workers are silent for long."""


class WorkersError(CxmlError):
    """The workers can't be started."""


class Supervisor:
    """Keeps all workers running. Make it inside the running loop."""

    def __init__(self, config: Config, sockets: Sockets, board: Board, begin: Callable[[Start], Awaitable[Life]] = Life.begin) -> None:
        """*begin* starts a worker."""
        self.restarts = 0
        self._begin = begin
        self._config = config
        self._sockets = sockets
        self._board = board
        self._lives: dict[int, Life] = {}
        self._past: Snapshot = []
        self._tasks = TaskSet()
        self._is_stopping = asyncio.Event()
        self._is_hurrying = False
        self._is_closing = False
        self._changed = asyncio.Event()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Workers(self))

    @property
    def count(self) -> int:
        """How many workers there should be."""
        return self._board.count

    @property
    def serving(self) -> tuple[int, ...]:
        """The numbers of those that take calls."""
        return self._board.live()

    # -- life and death ---------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all workers and wait until they are ready. Raises :class:`WorkersError` when one of them isn't."""
        for worker in range(self.count):
            self._tasks.spawn(self._keep(worker), name=f"worker {worker}")
        self._tasks.spawn(self._watch(), name="watch of the workers")
        await self._until(lambda: len(self.serving) == self.count or self.restarts > 0, READY_S)
        if len(self.serving) < self.count:
            raise WorkersError(f"{self.count - len(self.serving)} of {self.count} workers did not start; the log says why")

    async def _keep(self, worker: int) -> None:
        """Run *worker*, life after life."""
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        while not self._is_stopping.is_set():
            began_at = loop.time()
            try:
                await self._live(worker)
            except OSError as error:
                log.error("worker_not_started", worker=worker, detail=str(error))
            if self._is_stopping.is_set():
                return
            self.restarts += 1
            self._changed.set()
            delay = backoff.delay(loop.time() - began_at)
            if delay:
                log.warning("worker_waits", worker=worker, delay_s=delay, detail="it has died too often to be started at once")
                await _either(self._is_stopping, delay)

    async def _live(self, worker: int) -> None:
        """Run *worker* until its end. Raises OSError when there can be no process."""
        life = self._lives[worker] = await self._begin(self._start_of(worker))
        log.info("worker_started", worker=worker, pid=life.pid)
        hearing = self._tasks.spawn(self._hear(life), name=f"words of worker {worker}")
        status = await life.ended()
        await hearing
        self._note_end(life, status)

    def _start_of(self, worker: int) -> Start:
        sockets = self._sockets
        return Start(
            worker=worker,
            count=self.count,
            config=part_of(self._config, worker, sockets.listen),
            board=self._board.descriptor,
            inbox=sockets.inboxes[worker][0].fileno(),
            outboxes=[outbox.fileno() for outbox in sockets.outboxes],
            udp=[(*address, group[worker].fileno()) for address, group in sockets.udp.items()],
            tcp=[(*address, sock.fileno()) for address, sock in sockets.tcp.items()],
        )

    async def _hear(self, life: Life) -> None:
        while (message := await life.receive()) is not None:
            if message.get("said") == "ready":
                life.is_ready = True
                self._board.set_live(life.worker, is_live=True)
                self._sockets.steer(self.serving)
                if self._is_stopping.is_set():
                    self._end(life)
                self._changed.set()

    def _note_end(self, life: Life, status: int) -> None:
        """Give the share of a worker that is gone to the others, and say what was lost."""
        lost = self._board.calls(life.worker)
        self._lives.pop(life.worker, None)
        self._board.set_live(life.worker, is_live=False)
        self._sockets.steer(self.serving)
        self._board.clear(life.worker)
        self._past = add_up([self._past, what_remains(life.metrics)])
        for other in self._lives.values():
            other.order("forget", worker=life.worker)
        rescued = self._sockets.rescue(life.worker, self.serving)
        if not self._is_closing and (status or not self._is_stopping.is_set()):
            log.error("worker_died", worker=life.worker, status=status, calls_lost=lost, datagrams_passed_on=rescued)
        self._changed.set()

    async def _watch(self) -> None:
        """Ask each worker now and then, and end one that hangs; its successor can serve."""
        while True:
            await asyncio.sleep(BEAT_S)
            await asyncio.gather(*(self._beat(life) for life in tuple(self._lives.values())))

    async def _beat(self, life: Life) -> None:
        answer = await life.ask("health")
        life.missed = 0 if answer is not None else life.missed + 1
        if life.missed >= (HUNG_BEATS if life.is_ready else START_BEATS):
            log.error("worker_hung", worker=life.worker, questions=life.missed)
            life.kill()

    # -- orders -----------------------------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Let all read certificates again."""
        for life in self._lives.values():
            life.order("reload")

    def hurry(self) -> None:
        """End the wait for running calls."""
        self._is_hurrying = True
        for life in self._lives.values():
            life.order("hurry")

    async def stop(self, within_s: float) -> None:
        """Let all drain, and end after *within_s* seconds those that are left."""
        self._is_stopping.set()
        for life in self._lives.values():
            self._end(life)
        await self._until(lambda: not self._lives, within_s)
        for life in self._lives.values():
            log.error("worker_killed", worker=life.worker, detail="it did not end in time")
            life.kill()
        await self._until(lambda: not self._lives, READY_S)

    def _end(self, life: Life) -> None:
        life.order("drain")
        if self._is_hurrying:
            life.order("hurry")

    async def aclose(self) -> None:
        """End at once whatever still runs."""
        self._is_stopping.set()
        self._is_closing = True
        for life in self._lives.values():
            life.kill()
        await self._until(lambda: not self._lives, READY_S)
        await self._tasks.aclose()

    async def _until(self, holds: Callable[[], bool], within_s: float) -> None:
        """Wait until *holds* after some change, *within_s* seconds at most."""
        try:
            async with asyncio.timeout(within_s):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return

    # -- answers ----------------------------------------------------------------------------------------------------------------------

    async def readiness(self) -> Readiness:
        """Say whether calls are taken: by the workers that there are, while not one of them has a reason against it."""
        lives = sorted((life for life in self._lives.values() if life.is_ready), key=lambda life: life.worker)
        answers = await asyncio.gather(*(life.ask("health") for life in lives))
        silent = [life.worker for life, answer in zip(lives, answers, strict=True) if answer is None]
        known = [answer for answer in answers if answer is not None]
        reasons = dict.fromkeys(reason for answer in known for reason in answer["reasons"])
        if self._is_stopping.is_set():
            reasons.setdefault("draining")
        elif not known:
            reasons.setdefault("no worker")
        missing = [f"worker {worker}" for worker in range(self.count) if worker in silent or worker not in self.serving]
        shedding = sorted({reason for answer in known for reason in answer["shedding"]})
        return Readiness(tuple(reasons), tuple(shedding), tuple(missing))

    async def render(self) -> bytes:
        """Return the metrics of all processes together in Prometheus' text format."""
        told = await asyncio.gather(*(life.ask_metrics() for life in tuple(self._lives.values())))
        registry = CollectorRegistry()
        registry.register(Families(add_up([snapshot(self._registry), *told, self._past])))
        return generate_latest(registry)


class _Workers(Collector):
    """What only the parent counts."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def collect(self) -> list[Metric]:
        """Return the families."""
        serving = len(self._supervisor.serving)
        return [
            GaugeMetricFamily("cxmld_workers", "Workers that there should be.", self._supervisor.count),
            GaugeMetricFamily("cxmld_workers_serving", "Workers that take calls now.", serving),
            CounterMetricFamily("cxmld_worker_restarts", "Workers that died and were started again.", self._supervisor.restarts),
        ]


async def _either(event: asyncio.Event, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return
