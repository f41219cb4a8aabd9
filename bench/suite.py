"""One run of the bench: every unit, each figure several times, medians.

The repeats of a figure go round the units, so that an hour in which the machine is slower is not one unit's.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.caller import BenchError, percentile, read_steps
from bench.measure import PERCENTILES, Bench, load_at, memory_of, running, steps_at, sustained, warm_up, web_application
from bench.rows import Percentiles, Row
from bench.scenario import FINAL_NOTIFY
from bench.units.base import Unit

CEILING = 1900  # calls a second that SIPp as the caller makes
ACTION_LIMIT_S = 10.0
GUESS = 400
"""The first rate of the search for the sustained one."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. *rates* for processor time and latency, *dialogs* for memory; *repeats* of all but memory."""

    rates: Sequence[int] = (100, 200, 400)
    seconds: int = 10
    repeats: int = 3
    dialogs: Sequence[int] = (1000, 5000, 20000)
    figures: Sequence[str] = ("cpu", "latency", "sustained", "memory")


Step = Callable[[Bench, type[Unit], Plan, Row], None]


def measure(units: Sequence[type[Unit]], plan: Plan, say: Say) -> tuple[list[Row], str]:
    """Measure all units and return their rows; what one can't do becomes a note of its row.

    An interrupt (Ctrl-C) ends the run early: the rows have what was measured until then, and the text says what was broken off.
    """
    rows = [Row(unit.name, unit.job, unit.missing(), workers=unit.workers, share=unit.share) for unit in units]
    pairs = [(unit, row) for unit, row in zip(units, rows, strict=True) if not row.missing]
    ended_at = ""
    try:
        for work, step, unit, row in _work(pairs, plan):
            ended_at = work
            say(work)
            _one(step, unit, plan, row)
        ended_at = ""
    except KeyboardInterrupt:
        say(f"ended early, at {ended_at}")
    for row in rows:
        row.take_medians(plan.repeats)
    return rows, ended_at


def _work(pairs: Sequence[tuple[type[Unit], Row]], plan: Plan) -> Iterator[tuple[str, Step, type[Unit], Row]]:
    """Yield what is to be done, in its order, each with its name: the tries of a figure go round the units."""
    steps: Sequence[tuple[Step, set[str], int]] = (
        (_load, {"cpu", "latency"}, plan.repeats),
        (_sustained, {"sustained"}, plan.repeats),
        (_memory, {"memory"}, 1),
    )
    for step, figures, repeats in steps:
        for repeat in range(repeats):
            for unit, row in pairs:
                if wanted := figures.intersection(plan.figures, unit.figures):
                    yield f"{row.name}: {' and '.join(sorted(wanted))}, {repeat + 1} of {repeats}", step, unit, row


def _one(step: Step, unit: type[Unit], plan: Plan, row: Row) -> None:
    with Bench.on_this_machine() as bench:
        try:
            step(bench, unit, plan, row)
        except BenchError as error:
            _note(row, str(error).replace(str(bench.folder), "…"))


def _note(row: Row, text: str) -> None:
    if text not in row.notes:
        row.notes.append(text)


@contextlib.contextmanager
def _under_test(bench: Bench, unit_class: type[Unit]) -> Iterator[tuple[Unit, Path]]:
    """Run a unit with a web application; its file of arrivals is complete after the block."""
    made = unit_class(bench.folder / "unit", bench.unit_core, bench.port, bench.web_port, bench.caller_core)
    with web_application(bench) as arrivals, running(made) as unit:
        yield unit, arrivals


def _load(bench: Bench, unit_class: type[Unit], plan: Plan, row: Row) -> None:
    is_logged = "latency" in plan.figures and "latency" in unit_class.figures
    held = []
    with _under_test(bench, unit_class) as (unit, arrivals):
        row.start_s = min(row.start_s or unit.started_in_s, unit.started_in_s)
        warm_up(bench, unit)
        for rate in plan.rates:
            result = load_at(bench, unit, rate, plan.seconds, logged=is_logged)
            if not result.calls.is_clean:
                _note(row, f"{rate}/s: {result.calls.problem}")
                break
            held.append(rate)
            row.foreign = max(row.foreign, result.foreign)
            row.cpu_all_ms.setdefault(rate, []).append(result.cpu_ms)
            if is_logged:
                row.answer_all_ms.setdefault(rate, []).append(result.answer_ms)
    if is_logged and row.job == "full":  # the web application says when requests came only at its end
        for rate in held:
            row.action_all_ms.setdefault(rate, []).append(action_ms(steps_at(bench, rate), arrivals))


def action_ms(steps: Path, arrivals: Path) -> Percentiles:
    """Pair each final NOTIFY with the next action request of the same caller: numbers come again in other runs, so the time decides."""
    came: dict[int, list[float]] = {}
    for line in arrivals.read_text(encoding="ascii").splitlines():
        number, at = line.split()
        came.setdefault(int(number), []).append(float(at))
    waits = []
    for caller, sent in read_steps(steps).get(f"S NOTIFY {FINAL_NOTIFY}", {}).items():
        wait_s = min((at - sent for at in came.get(caller, []) if at >= sent), default=ACTION_LIMIT_S)
        waits += [wait_s * 1000] if wait_s < ACTION_LIMIT_S else []
    if not waits:
        raise BenchError("no action request came")
    return {percent: percentile(waits, percent) for percent in PERCENTILES}


def _sustained(bench: Bench, unit_class: type[Unit], plan: Plan, row: Row) -> None:
    guess = row.sustained[-1] if row.sustained else GUESS
    with _under_test(bench, unit_class) as (unit, _arrivals):
        warm_up(bench, unit)
        row.sustained.append(sustained(bench, unit, plan.seconds, guess or GUESS // 4, CEILING))


def _memory(bench: Bench, unit_class: type[Unit], plan: Plan, row: Row) -> None:
    for dialogs in plan.dialogs:
        if dialogs > unit_class.max_dialogs:
            continue
        with _under_test(bench, unit_class) as (unit, _):
            warm_up(bench, unit)
            try:
                row.kib_per_dialog[dialogs] = memory_of(bench, unit, dialogs)
            except BenchError as error:  # more of them may be held: the first ones may have met a bad moment
                _note(row, str(error))
