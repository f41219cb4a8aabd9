"""What a running process costs: processor time and memory, with its children, as the kernel accounts for it."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time in seconds since the start, resident memory in bytes, open descriptors."""

    cpu_s: float
    rss_bytes: int
    descriptors: int


def family(pid: int) -> list[int]:
    """Return *pid* and all its descendants that live."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def usage(pid: int) -> Usage:
    """Return what the family of *pid* has used; a member that ends in the middle counts no more."""
    cpu_s = 0.0
    rss = descriptors = 0
    for one in family(pid):
        cpu_s += _cpu_s(one)
        rss += _rss_bytes(one)
        descriptors += _descriptors(one)
    return Usage(cpu_s, rss, descriptors)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of the family of *pid* alone: asked often, it costs less than :func:`usage`."""
    return sum(_cpu_s(one) for one in family(pid))


def _cpu_s(pid: int) -> float:
    """The scheduler counts living threads in nanoseconds, ``stat`` all of them in ticks: the larger one is nearer to the truth."""
    fields = _stat(pid)
    if not fields:
        return 0.0
    nanoseconds = 0
    for thread in _threads(pid):
        try:
            nanoseconds += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text(encoding="ascii").split()[0])
        except (OSError, IndexError):  # the thread ended, or the kernel keeps no such account
            continue
    return max(nanoseconds / 1e9, (int(fields[11]) + int(fields[12])) / TICKS_PER_S)


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _rss_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def core_seconds(core: int) -> tuple[float, float]:
    """Return the busy and the total seconds of a processor core since the machine started: what others took shows in the difference."""
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        if line.startswith(f"cpu{core} "):
            values = [int(word) / TICKS_PER_S for word in line.split()[1:9]]
            return sum(values) - values[3] - values[4], sum(values)
    raise LookupError(f"no core {core}")
