"""The daemon on shares of one core: what a second worker adds when it has as much of it as the first. The caller has a core of its own."""

import os
from collections.abc import Sequence

from bench.caller import BenchError
from bench.processes import family
from bench.shares import Share
from bench.units.ours import Ours


class OursOnShare(Ours):
    """One process on its share, the yardstick."""

    name = "cxmld on 30 % of a core"
    figures = ("sustained",)
    precision = 1.03
    share = 0.3
    """Two of them leave room on the core: at 45 % each they wait for each other, and have its caches in turns."""
    _shares: Sequence[Share] = ()

    @classmethod
    def missing(cls) -> str:
        """It needs control groups."""
        return Share.missing()

    def start(self) -> None:
        """Run it, then give each worker its share; the parent has part of the first one's. Raises :class:`BenchError`."""
        super().start()
        parent, *others = family(self.pid)
        if len(others) != (self.workers if self.workers > 1 else 0):
            raise BenchError(f"{self.name}: {len(others)} processes in place of {self.workers}")
        groups = [[parent, *others[:1]], *([other] for other in others[1:])]
        try:
            self._shares = [Share.of_a_core(f"cxmld-bench-{os.getpid()}-{number}", self.share) for number in range(len(groups))]
            for share, pids in zip(self._shares, groups, strict=True):
                share.take(pids)
        except OSError as error:
            self.stop()
            raise BenchError(f"{self.name}: {error}") from error

    def stop(self) -> None:
        """Remove the shares, too."""
        super().stop()
        for share in self._shares:
            share.end()
        self._shares = ()


class OursOnShares(OursOnShare):
    """Two workers, each on a share of its own."""

    name = "cxmld, 2 workers, 30 % each"
    workers = 2

    def config(self) -> str:
        """Return the configuration."""
        return f"{super().config()}[workers]\ncount = {self.workers}\n"
