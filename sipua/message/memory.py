"""Pure. Values that come again and again are parsed once: the same peers, dialogs and types stand in message after message."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MAX_REMEMBERED: Final = 1024
"""Texts of one kind: those of some hundred calls. Whoever sends more of them makes us parse, as if nothing was remembered."""

MAX_CHARACTERS: Final = 256
"""The longest text that is remembered; longer ones are rare, and must not fill the memory."""


class Memory(Generic[T]):
    """Parses texts and remembers the last of them. *parse* is a pure function with immutable results; what raises is tried anew.

    The texts are in two halves: when the newer one is full it becomes the older one, which is forgotten. What is asked for moves up.
    """

    __slots__ = ("_newer", "_older", "_parse")

    def __init__(self, parse: Callable[[str], T]) -> None:
        self._parse = parse
        self._newer: dict[str, T] = {}
        self._older: dict[str, T] = {}

    def read(self, text: str) -> T:
        """Return what *text* was parsed to, or parse it. Raises what *parse* raises."""
        value = self._newer.get(text)
        if value is None:
            value = self._older.get(text)
            if value is None:
                value = self._parse(text)
            self.note(text, value)
        return value

    def find(self, text: str) -> T | None:
        """Return what *text* is known to read as."""
        value = self._newer.get(text)
        return self._older.get(text) if value is None else value

    def note(self, text: str, value: T) -> None:
        """Remember that *text* reads as *value*."""
        if len(text) > MAX_CHARACTERS:
            return
        if len(self._newer) >= MAX_REMEMBERED // 2:
            self._older, self._newer = self._newer, {}
        self._newer[text] = value

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)
