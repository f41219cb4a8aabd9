"""Rules about files that hold everywhere in the project."""

import re
from pathlib import Path

import pytest

from tests.support.tree import PACKAGES, ROOT, project_files, python_files, relative

MAX_LINES = 400
# A test file has its rows and ladders beside the code.
MAX_TEST_LINES = 600
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}

_MACHINE_PATH = re.compile(r"(?:^|[^\w.$}/-])/(?:work|root|home/\w+|Users/\w+)/")
_DOWNLOAD = re.compile(r"https?://[^\s\"']+/(?:simple|packages)/")
_TEXT = {".py", ".md", ".toml", ".txt", ".sh", ".xml", ".conf", ".cfg", ".yml", ".yaml", ".service", ".ini", ".json", ""}


@pytest.mark.parametrize("path", python_files(), ids=relative)
def test_no_python_file_is_too_long(path: Path) -> None:
    limit = MAX_TEST_LINES if path.is_relative_to(ROOT / "tests") else MAX_LINES
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= limit, f"{lines} lines: two rooms in one?"


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = [relative(path) for path in python_files() if BANNED_NAMES & {path.stem, *path.relative_to(ROOT).parent.parts}]
    assert named == []


def test_packages_are_typed() -> None:
    assert [name for name in PACKAGES if not (ROOT / name / "py.typed").exists()] == []


def test_tests_have_no_package_files() -> None:
    """Test files are imported by path; a package file would give two of them the same name."""
    assert [relative(path) for path in python_files("tests") if path.name == "__init__.py"] == []


def test_no_file_names_a_folder_or_download_address_of_one_machine() -> None:
    found = []
    for path in project_files():
        if path.suffix not in _TEXT:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if _MACHINE_PATH.search(line) or _DOWNLOAD.search(line):
                found.append(f"{relative(path)}:{number}: {line.strip()[:120]}")
    assert found == []


def test_scripts_can_be_executed() -> None:
    scripts = [path for path in project_files() if not path.suffix and path.read_bytes()[:2] == b"#!"]
    assert [relative(path) for path in scripts if not path.stat().st_mode & 0o100] == []
    assert ROOT / ".ci" / "run" in scripts
