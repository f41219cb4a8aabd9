"""Node with the npm package ``@signalwire/compatibility-api``, where Node is present."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "@signalwire/compatibility-api"
VERSION = "3.2.0"
INSTALL_LIMIT_S = 100
RUN_LIMIT_S = 60


class NodeError(Exception):
    """Node can't be used; the text says why."""


def missing_node() -> str | None:
    """Return why there is no Node here, None when there is one."""
    return None if shutil.which("node") else "node is not here"


def package_folder() -> Path:
    """Return a folder from which scripts can require the package. The first run makes it, in CXMLD_TEST_NODE or ``.venv-node``.

    Raises :class:`NodeError` when the package can't be installed.
    """
    folder = Path(os.environ.get("CXMLD_TEST_NODE") or ROOT / ".venv-node").resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:  # parallel test processes install it once
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _has_package(folder):
                _install(folder)
    except (OSError, subprocess.SubprocessError) as error:
        problem = getattr(error, "stderr", "") or str(error)
        raise NodeError(f"{PACKAGE} can't be installed in {folder}: {str(problem).strip()[-300:]}") from error
    return folder


def run_script(script: str, folder: Path) -> str:
    """Run *script* in *folder* and return what it prints. Raises CalledProcessError when it fails."""
    command = [shutil.which("node") or "node", "-e", script]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=True).stdout


def _has_package(folder: Path) -> bool:
    try:
        return run_script(f"console.log(require('{PACKAGE}/package.json').version)", folder).strip() == VERSION
    except subprocess.CalledProcessError:
        return False


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NodeError("node is here, but npm is not")
    command = [npm, "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", str(folder), f"{PACKAGE}@{VERSION}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
