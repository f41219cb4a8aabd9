"""A share of a core for a group of processes: two halves of one core stand for two cores where the caller needs the other one.

The kernel does it: control groups with a quota of processor time, version 1 or 2. It needs root.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 4000
"""Short, so that a group that has used its share up waits for milliseconds at most."""


@dataclass(frozen=True, slots=True)
class Share:
    """The control group *folder*; what runs in it gets a share of the processor time of one core."""

    folder: Path
    home: Path
    """Where its processes go when it ends."""

    @classmethod
    def missing(cls, root: Path = CONTROL_GROUPS) -> str:
        """Return why no share can be given here, ``""`` when it can."""
        try:
            _home(root)
        except OSError as error:
            return f"no shares of a core here: {error}"
        return "" if os.geteuid() == 0 else "shares of a core need root"

    @classmethod
    def of_a_core(cls, name: str, share: float, root: Path = CONTROL_GROUPS) -> "Share":
        """Make the group *name*, whose processes together get *share* (0 to 1) of a core. Raises :class:`OSError`."""
        home = _home(root)
        made = cls(home / name, home)
        made.folder.mkdir(exist_ok=True)
        quota_us = int(share * PERIOD_US)
        if home == root:
            made._set("cpu.max", f"{quota_us} {PERIOD_US}")
        else:
            made._set("cpu.cfs_period_us", PERIOD_US)
            made._set("cpu.cfs_quota_us", quota_us)
        return made

    def take(self, pids: Sequence[int]) -> None:
        """Put processes into the group. Raises :class:`OSError`."""
        for pid in pids:
            self._set("cgroup.procs", pid)

    def end(self) -> None:
        """Remove the group; who is left goes home. Raises :class:`OSError`."""
        for pid in (self.folder / "cgroup.procs").read_text(encoding="ascii").split():
            (self.home / "cgroup.procs").write_text(pid, encoding="ascii")
        self.folder.rmdir()

    def _set(self, name: str, value: object) -> None:
        (self.folder / name).write_text(str(value), encoding="ascii")


def _home(root: Path) -> Path:
    """Return the folder in which groups with shares of processor time are made: of version 1 that of the controller."""
    first = root / "cpu"
    if (first / "cgroup.procs").exists():
        return first
    if "cpu" in (root / "cgroup.subtree_control").read_text(encoding="ascii").split():
        return root
    raise OSError("the controller cpu is off in the control group at the root")
