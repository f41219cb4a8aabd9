"""Pure. The document that runs and the place in it.

A new document *replaces* the pending one. There is no way to append, so two documents can never race or interleave.
"""

from collections.abc import Mapping

from cxml.document.nodes import Document, Verb
from cxml.interpreter.ports import Position


class Program:
    """One call's current document and cursor, with the counts that bound a loop of documents."""

    __slots__ = ("_body", "_cursor", "_documents", "_performed", "_url", "_verbs")

    def __init__(self) -> None:
        self._url = ""
        self._body = b""
        self._verbs: tuple[Verb, ...] = ()
        self._cursor = 0
        self._documents = 0
        self._performed = 0

    @property
    def url(self) -> str:
        """The final URL of the current document: the base of relative references in it."""
        return self._url

    @property
    def cursor(self) -> int:
        """The index of the verb that runs or runs next."""
        return self._cursor

    @property
    def documents(self) -> int:
        """How many documents this call has run."""
        return self._documents

    @property
    def performed(self) -> int:
        """How many verbs this call has finished or replaced."""
        return self._performed

    @property
    def current(self) -> Verb | None:
        """The verb at the cursor; None at the end of the document."""
        return self._verbs[self._cursor] if self._cursor < len(self._verbs) else None

    def replace(self, url: str, body: bytes, document: Document) -> None:
        """Drop whatever is left of the current document and stand before the first verb of *document*.

        It comes from *url*; *body* is what a position has of it, empty where nobody asks for positions.
        """
        self._performed += self._cursor < len(self._verbs)
        self._url, self._body, self._verbs, self._cursor = url, body, document.verbs, 0
        self._documents += 1

    def advance(self) -> None:
        """Step behind the current verb; a no-op at the end."""
        if self._cursor < len(self._verbs):
            self._cursor += 1
            self._performed += 1

    def position(self, call_sid: str, pending: Mapping[str, str], dialog: Mapping[str, object]) -> Position:
        """Return where the call stands as plain data."""
        return Position(call_sid, self._url, self._body, self._cursor, dict(pending), dict(dialog))
