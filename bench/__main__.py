"""The command line of the bench; ``bench/run --help``."""

import argparse
import shutil
import sys
from dataclasses import asdict

from bench import check, facts, report
from bench.caller import BenchError
from bench.rows import RESULTS, Run
from bench.suite import Plan, measure
from bench.units.asterisk import Asterisk
from bench.units.base import Unit
from bench.units.floor import Floor
from bench.units.ours import Ours, OursQuiet, OursTcp, OursTls, OursWorkers
from bench.units.packages import Sippy, Sipua
from bench.units.pypy import OursOnPyPy, OursQuietOnPyPy, OursTcpOnPyPy, OursTlsOnPyPy
from bench.units.shares import OursOnShare, OursOnShares
from bench.units.sipp import SippUas

UNITS: dict[str, type[Unit]] = {
    "cxmld": Ours,
    "cxmld-tcp": OursTcp,
    "cxmld-tls": OursTls,
    "cxmld-quiet": OursQuiet,
    "cxmld-workers": OursWorkers,
    "cxmld-pypy": OursOnPyPy,
    "cxmld-pypy-tcp": OursTcpOnPyPy,
    "cxmld-pypy-tls": OursTlsOnPyPy,
    "cxmld-pypy-quiet": OursQuietOnPyPy,
    "cxmld-share": OursOnShare,
    "cxmld-shares": OursOnShares,
    "asterisk": Asterisk,
    "sippy": Sippy,
    "sipua": Sipua,
    "floor": Floor,
    "sipp": SippUas,
}
FULL = Plan()
INTERRUPTED = 130
"""The exit status of a run that Ctrl-C ended, as a shell has it."""
QUICK = Plan(rates=(100,), seconds=3, repeats=1, dialogs=(1000,))


def main() -> int:
    """Run what was asked for and print the tables; 2 when something that is needed is missing, 130 when an interrupt ended it early."""
    options = _options()
    if shutil.which("sipp") is None or shutil.which("taskset") is None:
        _say(f"{'skipped: ' if options.check else ''}needs SIPp (Debian: sip-tester) and taskset (util-linux)")
        return 0 if options.check else 2
    if options.check or options.write_baseline:
        return _ratio(write=options.write_baseline)
    base = QUICK if options.quick else FULL
    plan = Plan(
        rates=options.rates or base.rates,
        seconds=options.seconds or base.seconds,
        repeats=options.repeats or base.repeats,
        dialogs=options.dialogs or base.dialogs,
        figures=options.figures,
    )
    try:
        rows, ended_at = measure([UNITS[name] for name in options.only], plan, _say)
    except BenchError as error:
        _say(str(error))
        return 2
    run = Run(facts.machine(), asdict(plan), rows, ended_at)
    print(report.tables(run))
    if options.save:
        run.save(RESULTS / f"{options.save}.json")
    return INTERRUPTED if ended_at else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run", description="Completed transfers, and what they cost, of this daemon and its peers.")
    parser.add_argument("--only", nargs="+", choices=UNITS, default=list(UNITS), metavar="NAME", help=f"units: {', '.join(UNITS)}")
    figures = FULL.figures
    parser.add_argument("--figures", nargs="+", choices=figures, default=figures, metavar="FIGURE", help=f"figures: {', '.join(figures)}")
    parser.add_argument("--quick", action="store_true", help="one short try of each figure, a thousand dialogs: no figures to show anybody")
    parser.add_argument("--rates", nargs="+", type=int, metavar="RATE", help="transfers a second for processor time and latency")
    parser.add_argument("--seconds", type=int, help="length of each try")
    parser.add_argument("--repeats", type=int, help="tries of each figure; the median counts")
    parser.add_argument("--dialogs", nargs="+", type=int, metavar="NUMBER", help="open dialogs for memory")
    parser.add_argument("--save", default="", metavar="NAME", help="keep the run as bench/results/NAME.json")
    parser.add_argument("--check", action="store_true", help="only compare the processor time with bench/baseline.json, as CI does")
    parser.add_argument("--write-baseline", action="store_true", help="write bench/baseline.json anew")
    return parser.parse_args()


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _ratio(*, write: bool) -> int:
    try:
        if write:
            check.write_baseline(_say)
            return 0
        return 0 if check.check(_say) else 1
    except BenchError as error:
        _say(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
