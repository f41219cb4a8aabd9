"""Where the daemon's time goes: a flame graph by py-spy while it is called.

    python -m bench.flame NAME

The calls come at the highest rate of the kept run NAME for which there is a figure; the graph is bench/results/NAME-flame.svg.

Needs py-spy, the extra ``bench``, and the right to look into a process (root, or ``kernel.yama.ptrace_scope`` 0).
"""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.caller import BenchError
from bench.measure import Bench, running, warm_up, web_application
from bench.rows import RESULTS, Run
from bench.units.ours import ROOT, Ours

SAMPLES_PER_S = 250
SECONDS = 10
LEAST_RATE = 100
_COMMAND = re.compile("py-spy record [^<]*")
WITHOUT_S = 2
"""Calls go on for so long after the last sample."""


def record(rate: int, out: Path) -> None:
    """Call the daemon and write the graph. Raises :class:`BenchError`."""
    with Bench.on_this_machine() as bench:
        unit = Ours(bench.folder / "unit", bench.unit_core, bench.port, bench.web_port, bench.caller_core)
        with web_application(bench), running(unit), ThreadPoolExecutor(1) as caller:
            warm_up(bench, unit)
            calls = caller.submit(bench.call, "flame", unit, rate, rate * (SECONDS + WITHOUT_S))
            spy = ["taskset", "-c", str(bench.caller_core), str(Path(sys.executable).parent / "py-spy"), "record"]
            spy += [
                "--pid",
                str(unit.pid),
                "--duration",
                str(SECONDS),
                "--rate",
                str(SAMPLES_PER_S),
                "--output",
                str(bench.folder / "flame.svg"),
            ]
            spied = subprocess.run(spy, capture_output=True, text=True, check=False)
            if spied.returncode:
                raise BenchError(f"py-spy: {(spied.stderr or spied.stdout).strip()[-300:]}")
            if problem := calls.result().problem:
                raise BenchError(f"{rate}/s: {problem}")
        out.parent.mkdir(parents=True, exist_ok=True)
        svg = (bench.folder / "flame.svg").read_text(encoding="utf-8")
        out.write_text(published(svg, f"cxmld at {rate} transfers a second"), encoding="utf-8")


def published(svg: str, title: str) -> str:
    """Return the graph with a *title* in place of the command, and without the folders of this machine."""
    svg = _COMMAND.sub(title, svg)
    for place in sorted({str(ROOT), *sys.path, sys.prefix, sys.base_prefix}, key=len, reverse=True):
        if len(place) > 1:
            svg = svg.replace(place.rstrip("/") + "/", "")
    return svg


def main() -> int:
    """Record; 2 when that is impossible."""
    name = sys.argv[1]
    try:
        rows = [row for row in Run.load(RESULTS / f"{name}.json").rows if row.name == Ours.name]
        record(max((rate for row in rows for rate in row.cpu_ms), default=LEAST_RATE), RESULTS / f"{name}-flame.svg")
    except (BenchError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
