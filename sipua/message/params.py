"""Pure. ``;name=value`` lists of URIs, addresses, Via and other headers (RFC 3261 §7.3.1, §25.1 generic-param)."""

import re
from collections.abc import Iterable, Iterator, Mapping

from sipua.errors import ParseError
from sipua.message.grammar import is_token, quote, split_outside, unquote

_NOT_IN_NAME = re.compile(r'[\s"<>@]')
MAX_PARAMS = 64  # real headers have less than ten


class Params:
    """An immutable, ordered list of parameters; names are case-insensitive, values keep their bytes.

    A parameter without value reads as ``""``, an absent one as None.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[tuple[str, str | None]] = ()) -> None:
        """*items* are name and raw value (quoted strings with their quotes) or None for a bare name."""
        self._items = tuple(items)

    @classmethod
    def parse(cls, text: str) -> "Params":
        """Parse ``;a=b;c`` (with or without the leading semicolon). Raises :class:`ParseError`."""
        return cls.find_plain(text.removeprefix(";")) or cls.parse_any(text)

    @classmethod
    def find_plain(cls, text: str) -> "Params | None":
        """Parse ``a=b;c`` as nearly all peers send it: nothing to strip, skip, unquote or refuse. None for any other."""
        if not (text.isascii() and text.isprintable()) or text.count(";") >= MAX_PARAMS:
            return None
        if " " in text or '"' in text or "<" in text or ">" in text:
            return None
        items: list[tuple[str, str | None]] = []
        for part in text.split(";"):  # one pass, and no pattern with a group for each: PyPy takes far longer for that
            name, equals, value = part.partition("=")
            if not name or "@" in name:
                return None
            items.append((name, value if equals else None))
        return cls(items)

    @classmethod
    def parse_any(cls, text: str) -> "Params":
        """Parse any list, plain ones as :meth:`parse` does. Raises :class:`ParseError`."""
        text = text.strip()
        text = text.removeprefix(";")
        if not text:
            return EMPTY
        parts = split_outside(text, ";")
        if len(parts) > MAX_PARAMS:
            raise ParseError("too many parameters")
        items: list[tuple[str, str | None]] = []
        for part in parts:
            if not part:
                continue  # ";;" is not in the grammar but harmless, and sent
            name, equals, value = part.partition("=")
            name = name.strip()
            if not name or _NOT_IN_NAME.search(name):
                raise ParseError("broken parameter name")
            value = value.strip()
            if value.count('"') == 1 or (value.startswith('"') and not value.endswith('"')):
                raise ParseError("unbalanced quotes in a parameter")
            items.append((name, value if equals else None))
        return cls(items)

    def get(self, name: str) -> str | None:
        """Return the value of the first parameter *name* without quotes, ``""`` when it has none, None when it is absent."""
        for key, value in self._items:
            if key == name or key.lower() == name:
                return unquote(value) if value and value[0] == '"' else value or ""
        return None

    def replaced(self, name: str, value: str | None) -> "Params":
        """Return a copy in which *name*, in lower case, has *value* (None: a bare name), in its old place or at the end."""
        return self.replaced_all({name: None if value is None else _as_written(value)})

    def replaced_all(self, values: Mapping[str, str | None]) -> "Params":
        """Return a copy in which each name of *values*, in lower case, has its value there, in its old place or at the end.

        The values need no quotes.
        """
        left = dict(values)
        items: list[tuple[str, str | None]] = []
        for item in self._items:
            lower = item[0].lower()
            if lower in values:
                items.append((item[0], values[lower]))
                left.pop(lower, None)
            else:
                items.append(item)
        items += left.items()
        return Params(items)

    def without(self, *names: str) -> "Params":
        """Return a copy without the parameters *names* (lower case)."""
        return Params((k, v) for k, v in self._items if k.lower() not in names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str | None]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Params) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __str__(self) -> str:
        return "".join([f";{k}" if v is None else f";{k}={v}" for k, v in self._items])

    def __repr__(self) -> str:
        return f"Params({str(self)!r})"


def _as_written(value: str) -> str:
    """Return *value* in quotes if it needs them: hosts and IPv6 addresses are not tokens but stand bare (RFC 3261 §25.1 gen-value)."""
    if is_token(value) or (value and all(c.isalnum() or c in "-.!%*_+`'~:[]/&$@" for c in value)):
        return value
    return quote(value)


EMPTY = Params()
