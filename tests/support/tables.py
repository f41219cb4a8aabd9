"""Reads the normative tables of ``docs/spec`` so that tests can walk them row by row."""

import re
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "docs" / "spec"

_SEPARATOR = re.compile(r"^\|[\s:|-]+\|$")


def read_table(path: Path, heading: str) -> list[dict[str, str]]:
    """Return the rows of the first table below the markdown heading whose text is *heading*.

    Each row is a mapping of column name to cell text, both stripped, with back-ticks removed.
    A missing heading or table is an error, never an empty answer: a test that walks no rows checks nothing.
    """
    return read_tables(path, heading)[0]


def read_tables(path: Path, heading: str) -> list[list[dict[str, str]]]:
    """Return the rows of each table below the markdown heading whose text is *heading*; see :func:`read_table`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next((i for i, line in enumerate(lines) if line.lstrip("#").strip() == heading and line.startswith("#")), None)
    if start is None:
        raise LookupError(f"{path.name} has no heading {heading!r}")
    tables: list[list[list[str]]] = [[]]
    for line in lines[start + 1 :]:
        if line.startswith("#"):
            break
        if not line.startswith("|"):
            tables.append([])
        elif not _SEPARATOR.match(line):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            tables[-1].append([cell.replace("\\|", "|").replace("`", "").strip() for cell in cells])
    return [_rows(path, heading, table) for table in tables if table] or _none(path, heading)


def _none(path: Path, heading: str) -> NoReturn:
    raise LookupError(f"{path.name} has no table below {heading!r}")


def _rows(path: Path, heading: str, table: list[list[str]]) -> list[dict[str, str]]:
    head, *body = table
    if not body:
        _none(path, heading)
    for row in body:
        if len(row) != len(head):
            raise LookupError(f"{path.name}, {heading!r}: row {row} has {len(row)} cells, not {len(head)}")
    return [dict(zip(head, row, strict=True)) for row in body]
