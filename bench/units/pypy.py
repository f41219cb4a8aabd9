"""The daemon on PyPy, which compiles its code while it runs."""

import subprocess
from pathlib import Path

from bench.units.base import Unit
from bench.units.ours import ROOT, Ours, OursQuiet, OursTcp, OursTls

FOLDER = ROOT / ".venv-pypy"
PYTHON = FOLDER / "bin" / "python"
_VERSION = "import platform, sys; print('.'.join(map(str, sys.pypy_version_info[:3])), 'with Python', platform.python_version())"


def pypy_version(python: Path = PYTHON) -> str:
    """Return the version of PyPy, and of Python that it stands for."""
    try:
        done = subprocess.run([python, "-c", _VERSION], capture_output=True, text=True, check=False)
    except OSError:
        return "not installed"
    return done.stdout.strip() or "not installed"


class OnPyPy(Unit):
    """What the daemon on PyPy has of its own: another interpreter, and a minute of calls before its code is compiled."""

    python = str(PYTHON)
    warm_up = ((50, 4), (100, 5), (200, 5), (400, 20), (800, 15))

    @classmethod
    def missing(cls) -> str:
        """Tell how to get PyPy."""
        return "" if (FOLDER / ".ready").exists() else "no PyPy here: make pypy"


class OursOnPyPy(OnPyPy, Ours):
    """``cxmld serve`` on PyPy in place of CPython."""

    name = "cxmld on PyPy"


class OursTcpOnPyPy(OnPyPy, OursTcp):
    """The same over one TCP connection."""

    name = "cxmld TCP on PyPy"


class OursTlsOnPyPy(OnPyPy, OursTls):
    """The same over one TLS connection."""

    name = "cxmld TLS on PyPy"


class OursQuietOnPyPy(OnPyPy, OursQuiet):
    """The same without a log line for each call."""

    name = "cxmld without log on PyPy"
