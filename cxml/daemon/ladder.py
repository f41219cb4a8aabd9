"""Pure. A call as a ladder: who sent what to whom, SIP and HTTP on one time line."""

from collections.abc import Sequence
from dataclasses import dataclass

from sipua.errors import printable

COLUMN = 34
"""Characters between two life lines: room for the longest label."""

MAX_LABEL = 1000
"""A label is cut to the column anyway; this bounds the work."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One message: seconds since the beginning, sender, receiver, and a text of one line."""

    at_s: float
    sender: str
    receiver: str
    label: str


def render(parties: Sequence[str], rungs: Sequence[Rung]) -> list[str]:
    """Return the lines of the ladder; messages between parties that are not in *parties* are left out."""
    lines = [" " * 8 + "".join(name.center(COLUMN) for name in parties).rstrip()]
    known = set(parties)
    lines += [f"{rung.at_s:6.3f}  {_arrow(parties, rung)}" for rung in rungs if {rung.sender, rung.receiver} <= known]
    return lines


def _arrow(parties: Sequence[str], rung: Rung) -> str:
    start, end = parties.index(rung.sender), parties.index(rung.receiver)
    left, right = min(start, end), max(start, end)
    row = [" "] * (COLUMN * len(parties))
    for index in range(len(parties)):
        row[index * COLUMN + COLUMN // 2] = "|"
    if start == end:
        return _to_itself(row, start, rung.label)
    first, last = left * COLUMN + COLUMN // 2 + 1, right * COLUMN + COLUMN // 2 - 1
    width = last - first + 1
    label = _cut(rung.label, width - 4)
    body = f" {label} ".center(width - 1, "-")
    row[first : last + 1] = body + ">" if end > start else "<" + body
    return "".join(row).rstrip()


def _to_itself(row: list[str], index: int, label: str) -> str:
    """Write what a party sends to itself beside its life line."""
    start = index * COLUMN + COLUMN // 2 + 2
    text = f"<> {_cut(label, min(COLUMN - 6, len(row) - start - 3))}"
    row[start : start + len(text)] = text
    return "".join(row).rstrip()


def _cut(label: str, room: int) -> str:
    """Return *label* on one line of at most *room* characters."""
    text = printable(label, MAX_LABEL)
    return text if len(text) <= room else text[: room - 1] + "…"
