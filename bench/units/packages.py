"""SIP packages from PyPI under test, each in a virtual environment of its own: one of them is called ``sipua`` like ours."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.units.base import Unit
from bench.units.ours import ROOT

PROGRAMS = Path(__file__).parent / "peers"
INSTALL_LIMIT_S = 300


def install(folder: Path, packages: Sequence[str]) -> str:
    """Make the environment unless it is there, and return why it can't be made, ``""`` when it is there."""
    stamp = folder / ".ready"
    wanted = " ".join(packages)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return ""
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *packages]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], pip):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
        except subprocess.CalledProcessError as error:
            errors = [line for line in str(error.stderr).splitlines() if line.startswith("ERROR")]
            return f"can't be installed: {errors[-1] if errors else error}"
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"can't be installed: {error}"
    stamp.write_text(wanted, encoding="utf-8")
    return ""


class Package(Unit):
    """A referrer on a package, in one of the programs beside."""

    program = ""
    packages: Sequence[str] = ()

    @classmethod
    def folder_of(cls) -> Path:
        """Return where its environment is; git ignores it."""
        return ROOT / f".venv-bench-{cls.program}"

    @classmethod
    def missing(cls) -> str:
        """Install it on demand; without that it can't run."""
        return install(cls.folder_of(), cls.packages)

    def command(self) -> Sequence[str]:
        """Run the program by its own interpreter, out of reach of our packages."""
        python = self.folder_of() / "bin" / "python"
        return ["env", "-u", "PYTHONPATH", str(python), str(PROGRAMS / f"{self.program}_refer.py"), str(self.port)]


class Sippy(Package):
    """``sippy``, the package of the B2BUA of that name."""

    name = "sippy"
    program = "sippy"
    packages = ("sippy==2.5.0",)


class Sipua(Package):
    """``sipua`` of PyPI, on ``sipmessage``, with uvloop as ours."""

    name = "sipua of PyPI"
    program = "sipua"
    packages = ("sipua==0.5.7", "sipmessage==0.7.1", "uvloop==0.23.0")
