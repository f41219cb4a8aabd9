"""A virtual environment with the PyPI package ``signalwire``, which pins an old ``twilio`` and so can't share the project's."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERIFIER = ROOT / "tests" / "support" / "verify_signalwire.py"
INSTALL_LIMIT_S = 100

Check = dict[str, object]
Verify = Callable[[Sequence[Check]], list[bool]]


class InstallError(Exception):
    """The environment can't be made; the text says why."""


def signalwire_python() -> Path:
    """Return the environment's interpreter. The first run makes the environment, in CXMLD_TEST_VENVS or ``.venv-signalwire``."""
    directory = Path(os.environ.get("CXMLD_TEST_VENVS") or ROOT / ".venv-signalwire")
    python = directory / "bin" / "python"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / ".lock").open("w") as lock:  # parallel test processes make it once
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _has_signalwire(python):
                _run([sys.executable, "-m", "venv", str(directory)])
                _run([str(python), "-m", "pip", "install", "--quiet", "signalwire"])
    except (OSError, subprocess.SubprocessError) as exc:
        problem = getattr(exc, "stderr", "") or str(exc)
        raise InstallError(f"the package signalwire can't be installed in {directory}: {problem.strip()[-300:]}") from exc
    return python


def verify_with(python: Path, checks: Sequence[Check]) -> list[bool]:
    """Ask the official validator of SignalWire about many requests at once."""
    command = [str(python), str(VERIFIER)]
    done = subprocess.run(command, input=json.dumps(checks), capture_output=True, text=True, timeout=60, check=True)
    return [bool(valid) for valid in json.loads(done.stdout)]


def _has_signalwire(python: Path) -> bool:
    if not python.exists():
        return False
    return subprocess.run([str(python), "-c", "import signalwire"], capture_output=True, check=False).returncode == 0


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
