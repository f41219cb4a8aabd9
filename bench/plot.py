"""The plot of a kept run:  python -m bench.plot NAME  writes bench/results/NAME.png and NAME.svg.

Needs matplotlib, the extra ``bench``.
"""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import colormaps, rcParams
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.rows import RESULTS, Row, Run

WIDTH, HEIGHT = 13, 9
_COLOURS = [colormaps["tab20"](number) for number in range(20)]


def draw(run: Run) -> Any:
    """Return a figure: processor time, sustained rate, latency to the action request, and memory, each unit in one colour."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    panels = figure.subplots(2, 2)
    rows = [row for row in run.rows if not row.missing and row.share == 1]
    colours = {row.name: _COLOURS[index % len(_COLOURS)] for index, row in enumerate(rows)}
    rates = [int(rate) for rate in run.plan["rates"]]
    _groups(panels[0][0], rows, rates, lambda row: row.cpu_ms, colours)
    panels[0][0].set_title("CPU for each transfer, ms")
    panels[0][0].set_xlabel("transfers a second")
    _bars(panels[0][1], {row.name: statistics.median(row.sustained) for row in rows if row.sustained}, colours)
    panels[0][1].set_title("Transfers a second sustained on one core")
    _groups(panels[1][0], rows, rates, lambda row: {rate: values[99] for rate, values in row.answer_ms.items()}, colours)
    panels[1][0].set_title("INVITE → 200, 99th percentile, ms")
    panels[1][0].set_xlabel("transfers a second")
    panels[1][0].set_yscale("log")
    dialogs = sorted({number for row in rows for number in row.kib_per_dialog})
    _groups(panels[1][1], rows, dialogs, lambda row: row.kib_per_dialog, colours)
    panels[1][1].set_title("Memory for each open dialog, KiB")
    panels[1][1].set_xlabel("open dialogs")
    panels[1][1].set_yscale("log")
    handles = [Patch(color=colours[row.name]) for row in rows]
    labels = [f"{row.name} ({'with webhooks' if row.job == 'full' else 'SIP alone'})" for row in rows]
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    facts = run.machine
    figure.suptitle(f"{facts['processor']}, {facts['cores']} cores, Linux {facts['kernel']}, Python {facts['Python']}", fontsize=10)
    return figure


def _groups(
    panel: Any, rows: Sequence[Row], places: Sequence[int], values: Callable[[Row], Mapping[int, float]], colours: Mapping[str, Any]
) -> None:
    """Draw a group of bars for each place, a bar for each row that has a value there."""
    width = 0.85 / max(1, len(rows))
    for index, row in enumerate(rows):
        found = values(row)
        at = [number + (index - (len(rows) - 1) / 2) * width for number, place in enumerate(places) if place in found]
        panel.bar(at, [found[place] for place in places if place in found], width, color=colours[row.name])
    panel.set_xticks(range(len(places)), [f"{place:,}" for place in places])
    panel.grid(axis="y", alpha=0.3)


def _bars(panel: Any, values: Mapping[str, float], colours: Mapping[str, Any]) -> None:
    names = list(values)[::-1]
    bars = panel.barh(names, [values[name] for name in names], color=[colours[name] for name in names])
    panel.margins(x=0.1)  # room for the labels
    panel.bar_label(bars, fmt="%.0f", padding=3)
    panel.grid(axis="x", alpha=0.3)


def main() -> int:
    """Draw the run and write both files."""
    name = sys.argv[1]
    rcParams["svg.hashsalt"] = name  # the same run gives the same file
    figure = draw(Run.load(RESULTS / f"{name}.json"))
    figure.savefig(RESULTS / f"{name}.png", dpi=110, metadata={"Software": None})
    figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
