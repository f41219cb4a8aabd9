"""The bench in CI: what a transfer costs the daemon, divided by what it costs a yardstick in the same seconds on the same core.

The yardstick is the floor (:mod:`bench.floor`), not SIPp: SIPp spends most of its processor time at a low rate on polling, so that its
figure follows the clock and not the machine. Whatever else the machine does slows both sides alike, so the ratio of one slice of time is
steadier than any figure. The median of the slices is one try, and the best of :data:`TRIES` tries is compared with the ratio that
``bench/baseline.json`` keeps.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import facts, scenario
from bench.caller import BenchError, Calls, call
from bench.measure import Bench, running, web_application
from bench.ports import CALLERS
from bench.processes import cpu_seconds
from bench.units.base import Unit
from bench.units.floor import Floor
from bench.units.ours import OursPatient

BASELINE = Path(__file__).parent / "baseline.json"
TOLERANCE = 0.25
"""How much worse than the baseline is a failure."""
TRIES = 3
RATE = 40
"""Transfers a second of each side: a machine that others share keeps it up."""
WARM_UP_S = 2.0
SLICE_S = 1.0
SLICES = 7
TAIL_S = 1.0
"""Calls go on for so long after the last slice."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The ratio to compare with, and where it was measured."""

    ratio: float
    machine: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Try:
    """Processor milliseconds for each transfer of both sides, and the median ratio of the slices; *problem*: why it doesn't count."""

    ratio: float
    ours_ms: float
    yardstick_ms: float
    problem: str = ""


def ratio_of(ours_s: Sequence[float], yardstick_s: Sequence[float]) -> float:
    """Return the median over the slices of what ours used divided by what the yardstick used; those in which it did nothing don't count."""
    ratios = [mine / other for mine, other in zip(ours_s, yardstick_s, strict=True) if other > 0]
    if not ratios:
        raise BenchError("no slice in which the yardstick used any processor time")
    return statistics.median(ratios)


def problem_of(calls: Sequence[Calls]) -> str:
    """Return why calls that ended like this don't count, ``""`` when they do."""
    for name, one in zip(("the daemon", "the floor"), calls, strict=True):
        if one.completed < one.attempted or not one.attempted:
            return f"{one.attempted - one.completed} of {one.attempted} calls of {name} were not transferred"
    return ""


def verdict(tries: Sequence[Try], baseline: Baseline) -> tuple[bool, str]:
    """Return whether the tries are good enough, and a line that says so. The best one decides."""
    counted = [one for one in tries if not one.problem]
    if not counted:
        return False, f"failed: {tries[-1].problem}"
    best = min(one.ratio for one in counted)
    change = best / baseline.ratio - 1
    text = f"{best:.2f} times the floor for each transfer, {change:+.0%} against the baseline {baseline.ratio:.2f}"
    if change > TOLERANCE:
        return False, f"failed: {text}; {TOLERANCE:.0%} worse is too much"
    if change < -TOLERANCE:
        text += "; faster for good? then bench/run --write-baseline"
    return True, text


def check(say: Callable[[str], None], path: Path = BASELINE) -> bool:
    """Try until one try is good enough, at most :data:`TRIES` times. Raises :class:`BenchError`."""
    baseline = read_baseline(path)
    tries: list[Try] = []
    is_good, text = False, ""
    while not is_good and len(tries) < TRIES:
        tries.append(one_try())
        say(f"try {len(tries)}: {shown(tries[-1])}")
        is_good, text = verdict(tries, baseline)
    say(text)
    return is_good


def write_baseline(say: Callable[[str], None], path: Path = BASELINE) -> None:
    """Keep what later runs are compared with. Raises :class:`BenchError`.

    It is the highest of :data:`TRIES` tries: company on the core costs the floor a larger share, so that is the calmest one.
    """
    tries = []
    for number in range(1, TRIES + 1):
        tries.append(one_try())
        say(f"try {number}: {shown(tries[-1])}")
        if tries[-1].problem:
            raise BenchError(tries[-1].problem)
    ratio = round(max(one.ratio for one in tries), 2)
    path.write_text(json.dumps(asdict(Baseline(ratio, facts.machine())), indent=1) + "\n", encoding="utf-8")
    say(f"{path.name}: {ratio:.2f}")


def read_baseline(path: Path = BASELINE) -> Baseline:
    """Read what is kept. Raises :class:`BenchError` when there is nothing of use."""
    try:
        kept = Baseline(**json.loads(path.read_text(encoding="utf-8")))
        if not kept.ratio > 0:
            raise BenchError(f"{path.name}: ratio has to be above 0")
    except (OSError, ValueError, TypeError) as error:
        raise BenchError(f"{path.name}: {error}; bench/run --write-baseline writes it") from error
    return kept


def shown(one: Try) -> str:
    """Return a try as a text."""
    if one.problem:
        return one.problem
    return f"ratio {one.ratio:.2f} (daemon {one.ours_ms:.2f} ms of processor time for each transfer, floor {one.yardstick_ms:.3f} ms)"


def one_try() -> Try:
    """Call both at the same time and compare what they use."""
    with Bench.on_this_machine() as bench:
        ours = OursPatient(bench.folder / "ours", bench.unit_core, bench.port, bench.web_port)
        yardstick = Floor(bench.folder / "floor", bench.unit_core, bench.port + 10, bench.web_port)
        with web_application(bench), running(ours), running(yardstick), ThreadPoolExecutor(2) as callers:
            seconds = WARM_UP_S + SLICES * SLICE_S + TAIL_S
            running_calls = [callers.submit(_call, bench, unit, int(RATE * seconds)) for unit in (ours, yardstick)]
            time.sleep(WARM_UP_S)  # noqa: TID251  # nothing else runs here
            slices = _watch((ours.pid, yardstick.pid))
            calls = [running_call.result() for running_call in running_calls]
    transfers = RATE * SLICE_S * SLICES
    return Try(ratio_of(*slices), sum(slices[0]) / transfers * 1000, sum(slices[1]) / transfers * 1000, problem_of(calls))


def _call(bench: Bench, unit: Unit, calls: int) -> Calls:
    folder = bench.folder / f"calls-{unit.port}"
    return call(folder, scenario.transfer(), unit.target, rate=RATE, calls=calls, port=unit.port + CALLERS, core=bench.caller_core)


def _watch(pids: Sequence[int]) -> list[list[float]]:
    """Return for each process what it used in each slice, in seconds."""
    used: list[list[float]] = [[] for _ in pids]
    before = [cpu_seconds(pid) for pid in pids]
    for _ in range(SLICES):
        time.sleep(SLICE_S)  # noqa: TID251  # nothing else runs here
        after = [cpu_seconds(pid) for pid in pids]
        for slices, start, end in zip(used, before, after, strict=True):
            slices.append(end - start)
        before = after
    return used
