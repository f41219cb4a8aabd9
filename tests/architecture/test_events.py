"""Every event that the log may show is in the documentation, and every event that the documentation names exists."""

import ast
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LEVELS: Final = frozenset({"info", "warning", "error", "exception"})
PAGE: Final = ROOT / "docs" / "howto" / "debug-a-call.md"
EVENT: Final = re.compile(r"[a-z]+(?:_[a-z]+)+|drain(?:ing|ed)")
ROW: Final = re.compile(r"(?m)^\| ((?:`[a-z_]+`(?:, )?)+)(?: \([a-z]+\))? \|")


def logged(path: Path) -> set[str]:
    """Return the events that the module *path* logs at level info and above."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = ast.unparse(node.func)
        if called == "told" or ("log" in called.lower() and called.rpartition(".")[2] in LEVELS):
            found |= {str(part.value) for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)}
    return {event for event in found if EVENT.fullmatch(event)}


EVENTS: Final = {event for path in (ROOT / "cxml").rglob("*.py") for event in logged(path)}


def test_each_event_of_the_log_is_documented() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    assert len(EVENTS) > 20
    assert {event for event in EVENTS if f"`{event}`" not in pages} == set()


def test_each_event_that_the_guide_has_a_row_for_is_logged() -> None:
    tables = PAGE.read_text(encoding="utf-8").partition("## The transfer came out wrong")[0]
    named = {event for cells in ROW.findall(tables) for event in re.findall(r"`([a-z_]+)`", cells)}
    assert "request_refused" in named
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "cxml").rglob("*.py"))
    assert {event for event in named if f'"{event}"' not in source} == set()
