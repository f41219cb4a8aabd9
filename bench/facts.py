"""The machine and the versions, for every table."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.units.pypy import pypy_version


def machine() -> dict[str, str]:
    """Return what a reader needs to judge the figures; no host name, no path."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    memory = re.search(r"MemTotal: *(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
    facts = {
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[1]) // 1024 // 1024} GiB" if memory else "?",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "PyPy": pypy_version(),
        "SIPp": _first_line(["sipp", "-v"]),
    }
    for name in ("uvloop", "httptools", "httpx", "lxml"):
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "not installed"
    return facts


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "not installed"
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else "?"
