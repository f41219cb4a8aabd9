"""Reads the normative tables of ``docs/spec`` so that tests can walk them row by row."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "docs" / "spec"

_SEPARATOR = re.compile(r"^\|[\s:|-]+\|$")


def read_table(path: Path, heading: str) -> list[dict[str, str]]:
    """Return the rows of the first table below the markdown heading whose text is *heading*.

    Each row is a mapping of column name to cell text, both stripped, with back-ticks removed.
    A missing heading or table is an error, never an empty answer: a test that walks no rows checks nothing.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next((i for i, line in enumerate(lines) if line.lstrip("#").strip() == heading and line.startswith("#")), None)
    if start is None:
        raise LookupError(f"{path.name} has no heading {heading!r}")
    rows: list[list[str]] = []
    for line in lines[start + 1 :]:
        if line.startswith("#") or (rows and not line.startswith("|")):
            break
        if line.startswith("|") and not _SEPARATOR.match(line):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            rows.append([cell.replace("\\|", "|").replace("`", "").strip() for cell in cells])
    if len(rows) < 2:
        raise LookupError(f"{path.name} has no table below {heading!r}")
    head, *body = rows
    for row in body:
        if len(row) != len(head):
            raise LookupError(f"{path.name}, {heading!r}: row {row} has {len(row)} cells, not {len(head)}")
    return [dict(zip(head, row, strict=True)) for row in body]
