"""The part of docs/performance.md that is made from the kept runs, so that its numbers are those that were measured."""

import json
from pathlib import Path
from typing import Any

from bench import report
from bench.rows import RESULTS, Run
from bench.units.pypy import OnPyPy

BEGIN, END = "<!-- begin: from bench/results -->\n", "<!-- end -->\n"
WARM_UP_CALLS = sum(rate * seconds for rate, seconds in OnPyPy.warm_up)
WARM_UP_S = sum(seconds for _, seconds in OnPyPy.warm_up)
_SOAKS = {"soak": "The soak", "soak-pypy": "The soak on PyPy"}
_FIGURES = {
    "memory_kib": "memory, KiB",
    "tasks": "tasks",
    "transactions": "transactions",
    "dialogs": "dialogs",
    "connections": "connections",
    "rtp_ports": "RTP ports",
    "descriptors": "descriptors",
}


def written(page: str, folder: Path = RESULTS) -> str:
    """Return *page* with what is kept in *folder* between its marks. Raises :class:`ValueError` without marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("docs/performance.md has lost its marks")
    return before + BEGIN + "\n" + _measured(folder) + "\n" + END + after


def _measured(folder: Path) -> str:
    parts = []
    if (path := folder / "performance.json").exists():
        run = Run.load(path)
        plan = f"{run.plan['repeats']} tries of {run.plan['seconds']} s for each figure, medians."
        parts.append(f"## The run\n\n{plan}\n\n{report.tables(run)}")
    if (folder / "performance.svg").exists():
        parts.append("![The same as a plot](../bench/results/performance.svg)\n")
    if (folder / "performance-flame.svg").exists():
        link = "[flame graph](../bench/results/performance-flame.svg)"
        parts.append(f"Where the daemon's time goes at the highest of these rates: a {link}, to be opened in a browser.\n")
    if (path := folder / "pypy.json").exists():
        parts.append("## On PyPy\n\n" + _on_pypy(Run.load(path), has_plot=(folder / "pypy.svg").exists()))
    for name, title in _SOAKS.items():
        if (path := folder / f"{name}.json").exists():
            parts.append(f"## {title}\n\n" + _soak(json.loads(path.read_text(encoding="utf-8"))))
    return "\n".join(parts) or "Nothing is kept yet: run `make bench`.\n"


def _on_pypy(run: Run, *, has_plot: bool) -> str:
    plan = f"A run of its own, {run.plan['repeats']} tries of {run.plan['seconds']} s for each figure, medians."
    warm = f"The daemon on PyPy had made {WARM_UP_CALLS:,} transfers before each try, in {WARM_UP_S} s; [how to](howto/run-on-pypy.md)."
    plot = "![The same as a plot](../bench/results/pypy.svg)\n" if has_plot else ""
    return f"{plan} {warm}\n\n{report.tables(run)}\n{plot}"


def _soak(kept: dict[str, Any]) -> str:
    soak = kept["soak"]
    calls = sum(soak["calls"].values())
    begin = f"{soak['seconds']} s at {soak['rate']} calls a second: {calls:,} calls"
    outcome = f"; it failed: {'; '.join(soak['faults'])}" if soak["faults"] else ", each with the outcome that it had to have; nothing grew"
    foreign = soak.get("foreign", 0.0)  # older ones did not look
    others = f" Others took up to {foreign:.0%} of its core." if foreign > report.FOREIGN else ""
    lines = [f"| {_FIGURES[one['figure']]} | {one['first']:,.0f} | {one['last']:,.0f} |\n" for one in soak["trends"]]
    head = "| held | first third, median | last third, median |\n|---|---|---|\n"
    return f"{begin}{outcome}.{others}\n\n{head}{''.join(lines)}"
