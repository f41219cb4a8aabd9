"""The files of the project, for the tests that look at the project itself."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sipua", "cxml")

_IGNORED_FOLDERS = {"__pycache__", "build", "dist", "node_modules"}


def project_files() -> list[Path]:
    """Return every file that belongs to the project: what git knows or would add; without git, what is not hidden."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return sorted({ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()})
    return sorted(_walk())


def _walk() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in _IGNORED_FOLDERS and not name.endswith(".egg-info") and (name == ".ci" or name[0] != ".")
        ]
        yield from (Path(folder) / name for name in files)


def _belongs(folder: str) -> bool:
    hidden = folder.startswith(".") and folder != ".ci"
    return not hidden and folder not in _IGNORED_FOLDERS and not folder.endswith(".egg-info")


def python_files(*folders: str) -> list[Path]:
    """Return the Python files below the *folders* of the project, all of them without arguments."""
    wanted = tuple(ROOT / folder for folder in folders) or (ROOT,)
    return [path for path in project_files() if path.suffix == ".py" and any(path.is_relative_to(folder) for folder in wanted)]


def relative(path: Path) -> str:
    """Return the path as it is written in documents: from the project's root, with slashes."""
    return path.relative_to(ROOT).as_posix()
