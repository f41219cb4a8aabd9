"""Pure. On which line of a TOML text each table and key stands; ``tomllib`` does not tell."""

import re
from collections import Counter
from typing import Final

Path = tuple[str | int, ...]
"""Where a value stands: names of tables and keys, and indexes into arrays of tables."""

_KEY_PART: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY: Final = re.compile(rf"[ \t]*({_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*)[ \t]*=")
_TABLE: Final = re.compile(rf"[ \t]*\[(\[?)[ \t]*({_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*)[ \t]*\]")
_PART: Final = re.compile(_KEY_PART)
_TOKEN: Final = re.compile(
    r"""
    "{3}(?:[^\\]|\\.)*?"{3,5} | '{3}.*?'{3,5}     # multi-line strings
    | "(?:[^"\\\n]|\\.)*" | '[^'\n]*'           # strings
    | \#[^\n]*                                   # a comment
    | [\[\]{}\n]
    | [^"'\#\[\]{}\n]+
    | .""",
    re.DOTALL | re.VERBOSE,
)


def find_lines(text: str) -> dict[Path, int]:
    """Return the line, counted from 1, of each table and each key in *text*. Keys of inline tables are left out.

    Of a text that is not TOML it finds what it can; it never raises.
    """
    lines: dict[Path, int] = {}
    tables: Counter[Path] = Counter()
    table: Path = ()
    position = 0
    line = 1
    while position < len(text):
        if match := _TABLE.match(text, position):
            table = _resolve(_parts(match[2]), tables)
            if match[1]:
                tables[table] += 1
                table = (*table, tables[table] - 1)
            lines.setdefault(table, line)
        elif match := _KEY.match(text, position):
            lines.setdefault((*table, *_parts(match[1])), line)
        end = _end_of_statement(text, match.end() if match else position)
        line += text.count("\n", position, end)
        position = end
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """Return the line of *path*, or else of the first thing in it, or of the nearest around it; None if none of it is in the text."""
    if path not in lines:
        inside = [line for place, line in lines.items() if path and place[: len(path)] == path]
        if inside:
            return min(inside)
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def _parts(key: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(key))


def _resolve(path: Path, tables: Counter[Path]) -> Path:
    """Put in the index of the last table where *path* leads through an array of tables."""
    resolved: Path = ()
    for part in path[:-1]:
        resolved = (*resolved, part)
        if tables[resolved]:
            resolved = (*resolved, tables[resolved] - 1)
    return (*resolved, *path[-1:])


def _end_of_statement(text: str, position: int) -> int:
    depth = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        token = match[0] if match else text[position]
        position += len(token)
        if token in "[{":
            depth += 1
        elif token in "]}":
            depth -= 1
        elif token == "\n" and depth <= 0:
            break
    return position
