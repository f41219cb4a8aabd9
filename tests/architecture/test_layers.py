"""The arrows between packages and what they offer."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tree import PACKAGES, ROOT, python_files, relative


def test_imports_go_one_way() -> None:
    """Import-linter's contracts stand in pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def exported(path: Path) -> list[str] | None:
    """Return the literal ``__all__`` of a module, None when it has none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            names = ast.literal_eval(node.value)
            return [str(name) for name in names]
    return None


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, each by name: the order that the linter keeps too."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)


MODULES = [(path, names) for path in python_files(*PACKAGES) if (names := exported(path)) is not None]


@pytest.mark.parametrize(("path", "names"), MODULES, ids=[relative(path) for path, _ in MODULES])
def test_public_names_are_sorted_and_exist(path: Path, names: list[str]) -> None:
    assert names == sorted(names, key=order)
    assert len(names) == len(set(names))
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    assert [name for name in names if not hasattr(module, name)] == []


def test_the_tests_mirror_the_packages() -> None:
    """A folder below tests/sipua or tests/cxml has the name of the package folder whose code it tests."""
    folders = {path.parent for package in PACKAGES for path in python_files(f"tests/{package}")}
    assert sorted(relative(f) for f in folders if not (ROOT / f.relative_to(ROOT / "tests")).exists()) == []


def test_every_package_has_tests() -> None:
    """Either a folder of the same name or a file test_<package>*.py beside it; one that only re-exports needs none."""
    missing = []
    for init in python_files(*PACKAGES):
        if init.name != "__init__.py":
            continue
        package = init.parent
        if not any(path.name != "__init__.py" for path in package.glob("*.py")):
            continue
        mirror = ROOT / "tests" / package.relative_to(ROOT)
        if not any(mirror.rglob("test_*.py")) and not any(mirror.parent.glob(f"test_{package.name}*.py")):
            missing.append(relative(package))
    assert missing == []
