"""What is measured of a unit: processor time at a rate, the rate it sustains, latencies, memory of open dialogs, start-up."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import scenario
from bench.caller import BenchError, Calls, call, command, percentile, read_statistics, read_steps, written
from bench.ports import CALLERS, WEB, reserved
from bench.processes import core_seconds, usage
from bench.rows import Percentiles
from bench.units.base import Unit

SETTLE_S = 1.0
PATIENCE_S = 4  # a unit that takes longer for a message does not keep up
TRANSACTIONS_S = 40.0  # longer than 64*T1
PERCENTILES = (50, 99)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where things run: a folder, a block of ports, the core of the unit, and the core of the caller and the web application."""

    folder: Path
    port: int
    unit_core: int = 0
    caller_core: int = 1

    @classmethod
    @contextlib.contextmanager
    def on_this_machine(cls) -> Iterator["Bench"]:
        """Take a folder, a block of ports, and the first and the last core that this process may use: one where there is no other."""
        cores = sorted(os.sched_getaffinity(0))
        with tempfile.TemporaryDirectory(prefix="cxmld-bench-") as name, reserved() as port:
            yield cls(Path(name), port, cores[0], cores[-1])

    @property
    def caller_port(self) -> int:
        """The first port of callers."""
        return self.port + CALLERS

    @property
    def web_port(self) -> int:
        """The port of the web application."""
        return self.port + WEB

    def call(self, name: str, unit: Unit, rate: int, calls: int, *, logged: bool = False, patience_s: int = 20) -> Calls:
        """Make *calls* calls of *unit* at *rate* a second; SIPp's files go to the folder *name*."""
        core, port = self.caller_core, self.caller_port
        steps = scenario.transfer()
        options = {"rate": rate, "calls": calls, "port": port, "core": core, "patience_s": patience_s}
        return call(self.folder / name, steps, unit.target, logged=logged, **options)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a unit did at a rate: processor time for each completed transfer, and the share of its core that others took.

    *answer_ms* is from INVITE to 200 by percentile, empty unless the calls were logged.
    """

    calls: Calls
    cpu_ms: float
    foreign: float
    answer_ms: Percentiles


@contextlib.contextmanager
def web_application(bench: Bench) -> Iterator[Path]:
    """Run the web application; its file of arrivals is complete after the block."""
    arrivals = bench.folder / "arrivals.txt"
    words = ["taskset", "-c", str(bench.caller_core), sys.executable, "-m", "bench.webhook", str(bench.web_port), str(arrivals)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        yield arrivals
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def running(unit: Unit) -> Iterator[Unit]:
    """Start *unit*, stop it at the end."""
    unit.start()
    try:
        yield unit
    finally:
        unit.stop()


def warm_up(bench: Bench, unit: Unit) -> None:
    """Let caches, pools and the allocator get going, and a compiler finish."""
    for rate, seconds in unit.warm_up:
        bench.call("warm-up", unit, rate, rate * seconds)


def load_at(bench: Bench, unit: Unit, rate: int, seconds: int, *, logged: bool) -> LoadResult:
    """Make calls at *rate* for *seconds*; with *logged* SIPp writes the time of each message, to be read by :func:`steps_at`."""
    before, busy_before = usage(unit.pid), core_seconds(bench.unit_core)
    calls = bench.call(f"load-{rate}", unit, rate, rate * seconds, logged=logged)
    after, busy_after = usage(unit.pid), core_seconds(bench.unit_core)
    used = after.cpu_s - before.cpu_s
    total = busy_after[1] - busy_before[1]
    foreign = max(0.0, busy_after[0] - busy_before[0] - used) / total if total else 0.0
    answer: list[float] = []
    if logged:
        steps = read_steps(steps_at(bench, rate))
        invited, answered = steps.get("S INVITE 1", {}), steps.get("R INVITE 200", {})
        answer = [(at - invited[number]) * 1000 for number, at in answered.items() if number in invited]
    return LoadResult(
        calls, used / max(1, calls.completed) * 1000, foreign, {percent: percentile(answer, percent) for percent in PERCENTILES}
    )


def steps_at(bench: Bench, rate: int) -> Path:
    """Return where SIPp wrote the times of messages of logged calls at *rate*."""
    return bench.folder / f"load-{rate}" / "steps.log"


def sustained(bench: Bench, unit: Unit, seconds: int, guess: int, ceiling: int) -> int:
    """Return the highest rate that *unit* held for *seconds* without a failed call, to within its precision.

    It is 0 when *guess* / 16 was too much.
    """
    good, bad = 0, ceiling + 1
    rate = guess
    while rate >= max(1, guess // 16) and (good == 0 or bad > max(good * unit.precision, good + 1)) and good < ceiling:
        calls = bench.call(f"sustained-{rate}", unit, rate, rate * seconds, patience_s=PATIENCE_S)
        if calls.is_clean and calls.elapsed_s < seconds * 1.2 + 1:
            good = rate
        else:
            bad = rate
            time.sleep(SETTLE_S)  # noqa: TID251  # the unit gets over it
        rate = min(ceiling, int(good * 1.5)) if bad > ceiling else (good + bad) // 2 if good else bad // 2
    return good


def memory_of(bench: Bench, unit: Unit, dialogs: int) -> float:
    """Open *dialogs* calls whose transfer does not end, and return the KiB of memory that the unit has taken for each."""
    before = usage(unit.pid)
    folder = bench.folder / f"held-{dialogs}"
    folder.mkdir(parents=True, exist_ok=True)
    written(folder, scenario.held(), unit.target)
    words = command(unit.target, bench.caller_port, bench.caller_core)
    words += ["-r", str(unit.opening_rate), "-m", str(dialogs), "-l", str(dialogs + 100)]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + dialogs / unit.opening_rate + TRANSACTIONS_S
        while time.monotonic() < until:
            time.sleep(SETTLE_S)  # noqa: TID251  # all open, and the transactions that opened them over
            if process.poll() is not None or _opened(folder) < 0:
                raise BenchError(f"{dialogs} dialogs could not be held: {_complaint(folder)}")
        if _opened(folder) < dialogs:
            raise BenchError(f"SIPp opened {_opened(folder)} of {dialogs} dialogs")
        return (usage(unit.pid).rss_bytes - before.rss_bytes) / 1024 / dialogs
    finally:
        process.kill()
        process.wait()


def _opened(folder: Path) -> int:
    """Return how many dialogs SIPp has opened, -1 when one has ended."""
    try:
        calls = read_statistics(folder / "stat.csv")
    except BenchError:  # nothing but the heading yet
        return 0
    return -1 if calls.failed or calls.completed else calls.attempted


def _complaint(folder: Path) -> str:
    """Return the first thing that SIPp had to complain about."""
    try:
        text = (folder / "errors.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "a call ended"
    return " ".join(text.partition("Via:")[0].split())[-200:] or "a call ended"
