"""Pure. The ordered header map of a message (RFC 3261 §7.3)."""

from collections.abc import Iterable, Iterator
from typing import Any

from sipua.message.grammar import split_list

COMPACT = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
}
"""Compact names (RFC 3261 §7.3.3, RFC 3515 §2.1, 3841, 3892 §3, 4028 §4, 6665 §8.2)."""

_NAMES = [
    "Accept",
    "Accept-Contact",
    "Accept-Encoding",
    "Accept-Language",
    "Alert-Info",
    "Allow",
    "Allow-Events",
    "Authentication-Info",
    "Authorization",
    "Call-ID",
    "Call-Info",
    "Contact",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Type",
    "CSeq",
    "Date",
    "Diversion",
    "Error-Info",
    "Event",
    "Expires",
    "From",
    "History-Info",
    "In-Reply-To",
    "Join",
    "Max-Forwards",
    "MIME-Version",
    "Min-Expires",
    "Min-SE",
    "Organization",
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Path",
    "Priority",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Require",
    "RAck",
    "Reason",
    "Record-Route",
    "Recv-Info",
    "Refer-Sub",
    "Refer-To",
    "Referred-By",
    "Reject-Contact",
    "Remote-Party-ID",
    "Replaces",
    "Reply-To",
    "Request-Disposition",
    "Require",
    "Retry-After",
    "Route",
    "RSeq",
    "Server",
    "Service-Route",
    "Session-Expires",
    "Subject",
    "Subscription-State",
    "Supported",
    "Target-Dialog",
    "Timestamp",
    "To",
    "Unsupported",
    "User-Agent",
    "Via",
    "Warning",
    "WWW-Authenticate",
]

_CANONICAL = {name.lower(): name for name in _NAMES} | COMPACT | {short.upper(): name for short, name in COMPACT.items()}
_CANONICAL |= {name: name for name in _NAMES}
KNOWN_NAMES = frozenset(_NAMES)
"""The RFCs' spellings."""

ENCODED = "encoded"
"""Where the cache has the message as it goes on the wire, beside the typed values."""

NEVER_JOINED = frozenset({"WWW-Authenticate", "Authorization", "Proxy-Authenticate", "Proxy-Authorization"})
"""Headers whose commas separate parameters, not values (RFC 3261 §7.3.1)."""


def canonical(name: str) -> str:
    """Return the RFC's spelling of a header name, long form; an unknown name comes back as it is."""
    return _CANONICAL.get(name) or _CANONICAL.get(name.lower()) or name


def _key(name: str) -> str:
    """Return what is the same for every spelling of *name* (RFC 3261 §7.3.1): the canonical one, or an unknown name in lower case."""
    known = _CANONICAL.get(name)
    if known is not None:
        return known
    lower = name.lower()
    return _CANONICAL.get(lower) or lower


class Headers:
    """Header lines in their order, names in canonical spelling; unknown names keep theirs, and any spelling of them finds the line.

    Values are unfolded text without line ends; undecodable bytes stay as surrogates and are written back unchanged.
    ``cache`` holds typed values of the lines and is emptied by every change; a line behind the first Via leaves that. ``first`` has the
    first value of each name, unknown names in lower case; None: it has to be made by :meth:`index`. Both are
    for this package; others use :meth:`get`.
    """

    __slots__ = ("_items", "cache", "first")

    def __init__(self, items: Iterable[tuple[str, str]] = (), first: dict[str, str] | None = None) -> None:
        """*items* are (name, value); the names must be canonical already. *first* may be given where it is known."""
        self._items: list[tuple[str, str]] = list(items)
        self.first = first or None
        self.cache: dict[str, Any] = {}

    def _places(self, name: str) -> list[int]:
        """Return the indices of the lines *name*, in order."""
        key = _key(name)
        if key in _CANONICAL:
            return [index for index, (spelling, _) in enumerate(self._items) if spelling == key]
        return [index for index, (spelling, _) in enumerate(self._items) if spelling.lower() == key]

    def _delete(self, places: list[int]) -> None:
        for index in reversed(places):
            del self._items[index]

    def _changed(self) -> None:
        self.first = None
        self.cache.clear()

    def get(self, name: str) -> str | None:
        """Return the value of the first line *name* (in any spelling; canonical is quickest), or None."""
        first = self.first or self.index()
        found = first.get(name)
        return found if found is not None or _CANONICAL.get(name) == name else first.get(_key(name))

    def index(self) -> dict[str, str]:
        """Make ``first`` and return it."""
        first = self.first = {}
        for spelling, value in self._items:
            first.setdefault(_CANONICAL.get(spelling) or spelling.lower(), value)
        return first

    def lacks(self, one: str, two: str, three: str = "") -> bool:
        """Tell whether there is no line of two or three names, canonical ones, and unknown ones in lower case. For PyPy without a loop."""
        first = self.first or self.index()
        return one not in first and two not in first and three not in first

    def lines(self, name: str) -> list[str]:
        """Return the values of all lines *name*, one a line, in order."""
        items = self._items
        if _CANONICAL.get(name) == name:
            first = self.first or self.index()
            if name not in first:
                return []
            return [first[name]] if len(first) == len(items) else [value for spelling, value in items if spelling == name]
        return [items[index][1] for index in self._places(name)]

    def values(self, name: str) -> list[str]:
        """Return all values of the list header *name*: lines split at commas, in order."""
        lines = self.lines(name)
        if canonical(name) in NEVER_JOINED:
            return lines
        if len(lines) == 1 and "," not in lines[0]:  # nearly always
            value = lines[0].strip()
            return [value] if value else []
        return [value for line in lines for value in split_list(line)]

    def add(self, name: str, value: str) -> None:
        """Append a line. Raises ValueError for a line end in *value*: nobody may inject headers."""
        name = canonical(name)
        self._items.append((name, one_line(name, value)))
        if self.first is not None:
            self.first.setdefault(name if name in KNOWN_NAMES else name.lower(), value)
        if self.cache:
            self._keep("Via" if name != "Via" else "")

    def _keep(self, name: str) -> None:
        """Empty the cache but for the first value *name*, which did not change."""
        known = self.cache.get(name)
        self.cache.clear()
        if known is not None:
            self.cache[name] = known

    def prepend(self, name: str, value: str) -> None:
        """Put a line in front of all others: where a Via goes."""
        name = canonical(name)
        self._items.insert(0, (name, one_line(name, value)))
        if self.first is not None:
            self.first[name if name in KNOWN_NAMES else name.lower()] = value
        self.cache.clear()

    def replace_first(self, name: str, value: str, typed: object) -> None:
        """Give the first line *name* (canonical, there is one) another *value*, which reads as *typed*. All else stays as it was read."""
        one_line(name, value)
        items, index = self._items, 0
        while items[index][0] != name:
            index += 1
        items[index] = (name, value)
        if self.first is not None:
            self.first[name] = value
        for key in (f"{name}[]", ENCODED):
            self.cache.pop(key, None)
        self.cache[name] = typed

    def set(self, name: str, value: str) -> None:
        """Replace all lines *name* by one, in the place of the first."""
        one_line(name, value)
        name = canonical(name)
        first, key = self.first or self.index(), name if name in KNOWN_NAMES else name.lower()
        if key in first:
            places = self._places(name)
            self._items[places[0]] = (name, value)
            self._delete(places[1:])
        else:
            self._items.append((name, value))
        first[key] = value
        self.cache.clear()

    def remove(self, name: str) -> None:
        """Remove all lines *name*; none is fine."""
        self._delete(self._places(name))
        self._changed()

    def remove_first(self, name: str) -> None:
        """Remove the first line *name*; none is fine."""
        self._delete(self._places(name)[:1])
        self._changed()

    def count(self, name: str) -> int:
        """Return how many lines *name* there are."""
        return len(self._places(name))

    @property
    def has_repetitions(self) -> bool:
        """True if two lines have the same name: one look at all of them is cheaper than :meth:`count` of each."""
        return len(self.first or self.index()) < len(self._items)

    def copy(self) -> "Headers":
        """Return an independent copy."""
        return Headers(self._items)

    def __contains__(self, name: object) -> bool:
        first = self.first or self.index()
        return name in first or (name not in KNOWN_NAMES and isinstance(name, str) and _key(name) in first)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._items == other._items

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"


def one_line(name: str, value: str) -> str:
    """Return *value*, for a header *name*. Raises ValueError for a line end in it: nobody may inject headers."""
    if "\r" in value or "\n" in value:
        raise ValueError(f"line end in the value of {canonical(name)}")
    return value
