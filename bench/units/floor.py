"""The floor: the daemon's job without checks, repetitions and log, as a measure of what is left to gain."""

import sys
from collections.abc import Sequence

from bench.units.base import Unit
from bench.units.ours import ROOT


class Floor(Unit):
    """``bench.floor``."""

    name = "floor"
    job = "full"
    opening_rate = 200
    max_dialogs = 20_000

    def command(self) -> Sequence[str]:
        """Run it."""
        return ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "bench.floor", str(self.port), str(self.webhook)]
