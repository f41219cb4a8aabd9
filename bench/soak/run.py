"""One soak: the daemon on a core of its own, callers and web application on another, a line of figures every ten seconds."""

import asyncio
import contextlib
import os
import random
import re
import signal
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import uvloop

from bench.measure import Bench, running
from bench.processes import core_seconds, usage
from bench.soak.daemon import Application, Soaked
from bench.soak.judge import EVERY_S, Sample, Trend, left_over, trends
from bench.soak.kinds import KINDS, Kind, tell
from bench.soak.ledger import Ledger
from bench.soak.peer import Peer

QUIET_S = 300.0
"""How long the daemon may take to give everything back after the last call: it keeps dialogs for up to three minutes."""
QUIET_POLL_S = 2.0
LOSS = 0.05
"""Share of the packets that get lost, each way, of calls that lose packets."""
MAX_OPEN_S = 120
"""When more calls are open than begin in this time they pile up, and it makes no sense to go on."""

STALL_AT_S = 70.0
STALL_S = 1.0
"""The daemon is stopped for so long, within the warm-up: a busy machine does that to it some time in an hour. What its calls pile up to
then is the most that the allocator keeps pages for, and no growth when it happens again.
"""

GAUGES: Mapping[str, str] = {
    "calls": "cxmld_calls_active",
    "transactions": "cxmld_sip_transactions_open",
    "dialogs": "cxmld_sip_dialogs_open",
    "connections": "cxmld_sip_connections_open",
    "rtp_ports": "cxmld_rtp_ports_used",
    "tasks": "cxmld_tasks",
}
_METRIC = re.compile(r"^(\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_LEVEL = re.compile(rb'"level": ?"(\w+)"')
Say = Callable[[str], None]


@dataclass(slots=True)
class Result:
    """What a soak found; it is good when :attr:`faults` is empty."""

    seconds: int
    rate: int
    calls: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    trends: list[Trend] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    foreign: float = 0.0
    """The largest share of the daemon's core that others took between two samples."""


def begun_by(passed_s: float, rate: float, ramp_s: float) -> float:
    """Return how many calls have begun after *passed_s* when their rate rises evenly for *ramp_s* up to *rate* a second."""
    return rate * (passed_s - ramp_s / 2) if passed_s >= ramp_s else rate * passed_s**2 / (2 * ramp_s)


async def stall(pid: int, at_s: float = STALL_AT_S, for_s: float = STALL_S) -> None:
    """Stop the processes of the group *pid* after *at_s*, for *for_s*. That they are gone is for others to tell."""
    await asyncio.sleep(at_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(for_s)
        finally:
            os.killpg(pid, signal.SIGCONT)


class LogReader:
    """Counts the lines of the daemon's log by level and keeps the first errors."""

    def __init__(self) -> None:
        self.levels: Counter[str] = Counter()
        self.errors: list[str] = []
        self._half = b""

    def read(self, descriptor: int) -> None:
        """Take what has come."""
        *lines, self._half = (self._half + os.read(descriptor, 1 << 20)).split(b"\n")
        for line in lines:
            level = _LEVEL.search(line)
            word = level[1].decode() if level else "no level"
            self.levels[word] += 1
            if word not in ("debug", "info", "warning") and len(self.errors) < 10:
                self.errors.append(line.decode("utf-8", "replace")[:500])


class Soak:
    """The parts of a soak while it runs."""

    def __init__(self, unit: Soaked, rate: int, seconds: int, say: Say) -> None:
        self.ledger = Ledger()
        self.samples: list[Sample] = []
        self._unit, self._rate, self._seconds, self._say = unit, rate, seconds, say
        self._log = LogReader()
        self._begun = 0
        self._stop = ""
        self._foreign = 0.0

    async def run(self) -> Result:
        """Soak, and say what was found."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._unit.log, self._log.read, self._unit.log)
        server = await loop.create_server(lambda: Application(self.ledger), "127.0.0.1", self._unit.webhook, backlog=1024)
        peer = Peer(("127.0.0.1", self._unit.port), self._unit.tcp_port, loss=LOSS)
        await peer.open()
        before = await self._figures()
        self._start = loop.time()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch())
            stalling = group.create_task(stall(self._unit.pid))
            await self._call(peer, group)
            ended = loop.time() - self._start
            self._say(f"{self._begun} calls begun; the last ones come to their ends")
            await self._all_known()
            watching.cancel()
            stalling.cancel()
        self.ledger.finish()
        self._say("no call is open; everything has to be given back")
        after = await self._given_back(before)
        loop.remove_reader(self._unit.log)
        server.close()
        peer.close()
        return self._result(before, after, ended)

    async def _call(self, peer: Peer, group: asyncio.TaskGroup) -> None:
        """Begin calls at an even pace, which rises at the begin, in shuffled decks of a hundred."""
        loop, cards = asyncio.get_running_loop(), random.Random(1)
        deck: list[Kind] = []
        while not self._stop and (passed := loop.time() - self._start) < self._seconds:
            while self._begun < begun_by(passed, self._rate, self._unit.ramp_s):
                if not deck:
                    deck = [kind for kind in KINDS for _ in range(kind.share)]
                    cards.shuffle(deck)
                self._begun += 1
                group.create_task(self._one(peer, deck.pop(), self._begun))
            await asyncio.sleep(1 / self._rate)

    async def _one(self, peer: Peer, kind: Kind, number: int) -> None:
        self.ledger.begin(number, kind.name, kind.outcome)
        if not kind.by_tcp:
            call = peer.call(number, is_lossy=kind.is_lossy)
            self.ledger.over(number, await tell(kind, call))
            peer.over(call)
            return
        try:
            call, connection = await peer.call_by_tcp(number)
        except OSError as error:
            self.ledger.over(number, f"no connection: {error}")
            return
        self.ledger.over(number, await tell(kind, call))
        connection.close()
        peer.over(call)

    async def _watch(self) -> None:
        self._say("    s   calls     MiB  CPU %  others  " + "  ".join(f"{name:>12}" for name in (*GAUGES, "descriptors")))
        used, busy = usage(self._unit.pid).cpu_s, core_seconds(self._unit.core)
        while True:
            await asyncio.sleep(EVERY_S)
            figures = await self._figures()
            sample = Sample(asyncio.get_running_loop().time() - self._start, figures)
            self.samples.append(sample)
            now, busy_now = figures["cpu_s"], core_seconds(self._unit.core)
            cells = "  ".join(f"{figures[name]:12.0f}" for name in (*GAUGES, "descriptors"))
            share = (now - used) / EVERY_S
            foreign = max(0.0, busy_now[0] - busy[0] - (now - used)) / max(EVERY_S, busy_now[1] - busy[1])
            self._foreign = max(self._foreign, foreign)
            self._say(f"{sample.at_s:5.0f} {self._begun:7} {figures['memory_kib'] / 1024:7.1f} {share:6.0%} {foreign:7.0%}  {cells}")
            used, busy = now, busy_now
            if self.ledger.open > max(1000, self._rate * MAX_OPEN_S):
                self._stop = f"{self.ledger.open} calls are open at {self._rate}/s: they pile up"

    async def _figures(self) -> dict[str, float]:
        text = await asyncio.to_thread(_read, self._unit.metrics_url)
        sums: dict[str, float] = {}
        for name, value in _METRIC.findall(text):
            sums[name] = sums.get(name, 0.0) + float(value)
        kernel = usage(self._unit.pid)
        figures = {name: sums[metric] for name, metric in GAUGES.items()}
        return figures | {"memory_kib": kernel.rss_bytes / 1024, "descriptors": float(kernel.descriptors), "cpu_s": kernel.cpu_s}

    async def _all_known(self) -> None:
        """Wait until everything about the calls that have begun is known, or can't come any more."""
        loop = asyncio.get_running_loop()
        until = loop.time() + QUIET_S
        while self.ledger.open and loop.time() < until:  # noqa: ASYNC110  # what we wait for happens in another process
            await asyncio.sleep(QUIET_POLL_S)

    async def _given_back(self, before: Mapping[str, float]) -> dict[str, float]:
        """Wait until nothing is held any more, and return the last figures."""
        loop = asyncio.get_running_loop()
        until = loop.time() + QUIET_S
        while left_over(before, after := await self._figures()) and loop.time() < until:  # noqa: ASYNC110  # the same
            await asyncio.sleep(QUIET_POLL_S)
        return after

    def _result(self, before: Mapping[str, float], after: Mapping[str, float], ended_s: float) -> Result:
        result = Result(self._seconds, self._rate, dict(self.ledger.begun), samples=self.samples, foreign=self._foreign)
        result.outcomes = {f"{kind}: {outcome}": number for (kind, outcome), number in sorted(self.ledger.outcomes.items())}
        if self._stop:
            result.faults.append(self._stop)
        result.faults += [f"{number} times {problem}" for problem, number in self.ledger.problems.most_common()]
        result.faults += self.ledger.examples
        result.faults += [f"log: {line}" for line in self._log.errors]
        result.faults += [
            f"{name} was {old:.0f} before the calls and is {new:.0f}" for name, (old, new) in left_over(before, after).items()
        ]
        try:
            result.trends = trends(self.samples, ended_s)
        except ValueError as error:
            result.faults.append(str(error))
        result.faults += [
            f"{one.figure} grows: {one.first:.0f} to {one.last:.0f}, limit {one.limit:.0f}" for one in result.trends if one.grows
        ]
        return result


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as response:  # noqa: S310  # our own daemon
        return str(response.read().decode())


def soak(bench: Bench, rate: int, seconds: int, say: Say, workers: int = 1, kind: type[Soaked] = Soaked) -> Result:
    """Run a soak of *seconds* at *rate* calls a second against a daemon of so many *workers* and of this *kind*."""
    unit = kind(bench.folder / "soak", bench.unit_core, bench.port, bench.web_port)
    unit.workers = workers
    os.sched_setaffinity(0, {bench.caller_core})
    with running(unit):
        return uvloop.run(Soak(unit, rate, seconds, say).run())
