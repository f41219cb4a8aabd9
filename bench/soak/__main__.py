"""The command line of the soak: ``make soak``, or ``python -m bench.soak --help``."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from bench import facts
from bench.caller import BenchError
from bench.measure import Bench
from bench.report import FOREIGN
from bench.soak.daemon import Soaked, SoakedOnPyPy
from bench.soak.judge import LEAST_S
from bench.soak.run import Result, soak

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """Soak; 1 when something was lost or grew, 2 when the daemon did not start."""
    parser = argparse.ArgumentParser(prog="bench.soak", description="Calls of every outcome for a long time; fails if anything grows.")
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("SOAK_SECONDS", "300")), help="how long calls begin")
    parser.add_argument("--rate", type=int, default=int(os.environ.get("SOAK_RATE", "20")), help="calls a second")
    parser.add_argument("--workers", type=int, default=1, help="processes of the daemon")
    parser.add_argument("--pypy", action="store_true", help="soak the daemon on PyPy (make pypy)")
    parser.add_argument("--save", default="", metavar="NAME", help="keep the figures as bench/results/NAME.json")
    options = parser.parse_args()
    if options.seconds < LEAST_S or options.rate < 1:
        parser.error(f"a soak takes at least {LEAST_S:g} seconds, and a call a second")
    if options.pypy and SoakedOnPyPy.missing():
        parser.error(SoakedOnPyPy.missing())
    kind = SoakedOnPyPy if options.pypy else Soaked
    try:
        with Bench.on_this_machine() as bench:
            result = soak(bench, options.rate, options.seconds, _say, options.workers, kind)
    except BenchError as error:
        _say(str(error))
        return 2
    _report(result)
    if options.save:
        RESULTS.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": facts.machine(), "soak": asdict(result)}, indent=1)
        (RESULTS / f"{options.save}.json").write_text(text + "\n", encoding="utf-8")
    return 1 if result.faults else 0


def _say(text: str) -> None:
    print(f"soak: {text}", file=sys.stderr, flush=True)


def _report(result: Result) -> None:
    for outcome, number in result.outcomes.items():
        print(f"{number:8}  {outcome}")
    for trend in result.trends:
        print(f"{trend.figure:>12}: {trend.first:.0f} → {trend.last:.0f} (limit {trend.limit:.0f}){'  grows' if trend.grows else ''}")
    for fault in result.faults:
        print(f"fault: {fault}")
    if result.foreign > FOREIGN:
        print(f"others took up to {result.foreign:.0%} of the daemon's core: what piles up while it has to wait shows in its memory")
    print(f"{sum(result.calls.values())} calls, {'failed' if result.faults else 'all of them as they had to be, nothing grew'}")


if __name__ == "__main__":
    sys.exit(main())
