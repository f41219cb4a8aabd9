"""The tables of a run, in Markdown, and the part of docs/performance.md that is made from the kept run."""

import statistics
from collections.abc import Mapping, Sequence

from bench.rows import Percentiles, Row, Run

FOREIGN = 0.1
"""Others may take so much of a unit's core before the tables say so."""


def tables(run: Run) -> str:
    """Return everything about a run."""
    rates = [int(rate) for rate in run.plan["rates"]]
    machine = "\n".join(f"- {name}: {value}" for name, value in run.machine.items())
    early = f"Ended early, at {run.ended_at}: what was to come after it is missing.\n" if run.ended_at else ""
    parts = [machine, early, table(run.rows, rates), ratios(run.rows, rates), scaling(run.rows), growth(run.rows, rates), notes(run.rows)]
    return "\n".join(part for part in (part.strip("\n") + "\n" for part in parts) if part.strip())


def table(rows: Sequence[Row], rates: Sequence[int]) -> str:
    """Return processor time at each rate, the sustained rate, and the time to start."""
    head = ["unit", "job", *(f"CPU ms at {rate}/s" for rate in rates), "sustained/s", "start s"]
    lines = []
    for row in rows:
        if row.missing:
            lines.append([row.name, row.missing])
            continue
        cells = [row.name, row.job, *(_number(row.cpu_ms.get(rate), 3) for rate in rates)]
        lines.append([*cells, _number(statistics.median(row.sustained) if row.sustained else None, 0), _number(row.start_s or None, 2)])
    return _markdown(head, lines)


def ratios(rows: Sequence[Row], rates: Sequence[int]) -> str:
    """Return how much processor time the others take for each transfer against the first row, at equal rates."""
    if not rows or not rows[0].cpu_ms:
        return ""
    first = rows[0]
    lines = [f"CPU for each transfer, others / {first.name}:\n"]
    for row in rows[1:]:
        both = [rate for rate in rates if rate in row.cpu_ms and rate in first.cpu_ms]
        if both:
            lines.append(f"- {row.name}: {', '.join(f'{row.cpu_ms[rate] / first.cpu_ms[rate]:.2f} at {rate}/s' for rate in both)}")
    return "\n".join(lines) + "\n" if len(lines) > 1 else ""


def scaling(rows: Sequence[Row]) -> str:
    """Return how many times the transfers of one process several workers sustain, when each has the same share of a core."""
    on_shares = [row for row in rows if row.share < 1 and row.sustained and statistics.median(row.sustained)]
    lines = []
    for one in (row for row in on_shares if row.workers == 1):
        for row in on_shares:
            if row.workers > 1 and row.share == one.share:
                times = statistics.median(row.sustained) / statistics.median(one.sustained)
                many = f"{row.workers} workers, {row.share:.0%} of a core each"
                lines.append(f"- {many}, sustain {times:.2f} times what one process sustains on {one.share:.0%}")
    return "\n".join(lines) + "\n" if lines else ""


def growth(rows: Sequence[Row], rates: Sequence[int]) -> str:
    """Return latencies by the rate, and memory by the number of dialogs."""
    dialogs = sorted({number for row in rows for number in row.kib_per_dialog})
    parts = []
    for title, of in (("INVITE → 200", _answer), ("Final NOTIFY → action request", _action)):
        lines = [[row.name, *(_pair(of(row).get(rate)) for rate in rates)] for row in rows if of(row)]
        if lines:
            parts.append(f"{title}, p50 / p99 ms:\n\n" + _markdown(["unit", *(f"at {rate}/s" for rate in rates)], lines))
    if dialogs:
        lines = [[row.name, *(_number(row.kib_per_dialog.get(number), 1) for number in dialogs)] for row in rows if row.kib_per_dialog]
        parts.append("Memory, KiB for each open dialog:\n\n" + _markdown(["unit", *(f"{number:,} dialogs" for number in dialogs)], lines))
    return "\n".join(parts)


def _answer(row: Row) -> Mapping[int, Percentiles]:
    return row.answer_ms


def _action(row: Row) -> Mapping[int, Percentiles]:
    return row.action_ms


def notes(rows: Sequence[Row]) -> str:
    """Return what went wrong, and what others took of the unit's core."""
    lines = [f"- {row.name}: {note}" for row in rows for note in row.notes]
    lines += [f"- {row.name}: others took up to {row.foreign:.0%} of its core" for row in rows if row.foreign > FOREIGN]
    return "\n".join(lines) + "\n" if lines else ""


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    filled = [[*line, *[""] * (len(head) - len(line))] for line in lines]
    return f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n" + "".join(f"| {' | '.join(line)} |\n" for line in filled)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _pair(values: Percentiles | None) -> str:
    return f"{values[50]:.2f} / {values[99]:.2f}" if values else "–"
