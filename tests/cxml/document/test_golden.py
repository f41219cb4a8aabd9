"""Walks ``tests/golden/*.cxml``: a document, a line of dashes, and what is expected of it.

Expected are the diagnostics, one a line, or, of a document without any, its verbs. ``UPDATE_GOLDEN=1`` rewrites the second part.
"""

import os
import re
from pathlib import Path

import pytest

from cxml.document import parse_with_diagnostics

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
SEPARATOR = "----------"
PLACE = re.compile(r"(, )?place=Place\([^)]*\)")
CASES = sorted(GOLDEN.glob("*.cxml"))


def describe(body: bytes) -> str:
    parsed = parse_with_diagnostics(body)
    lines = [f"{d} [{d.slug}{', fatal' if d.fatal else ''}]" for d in parsed.diagnostics]
    if parsed.document is not None:
        lines += [PLACE.sub("", repr(verb)) for verb in parsed.document.verbs]
    return "\n".join(lines)


def test_there_are_cases() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_document_gives_what_its_file_says(path: Path) -> None:
    document, separator, expected = path.read_text(encoding="utf-8").partition(f"\n{SEPARATOR}\n")
    found = describe(document.encode())
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(f"{document}\n{SEPARATOR}\n{found}\n", encoding="utf-8")
        return
    assert separator, f"{path.name} has no line {SEPARATOR}"
    assert found == expected.rstrip("\n")
