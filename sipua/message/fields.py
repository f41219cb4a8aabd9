"""Pure. Typed, lazily parsed header values of a message.

Each is parsed when first asked for and kept in the header map's cache, which a change of the headers empties.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

from sipua.errors import ParseError
from sipua.message.address import Address
from sipua.message.grammar import DIGITS_PATTERN, split_list
from sipua.message.headers import Headers
from sipua.message.params import EMPTY, Params
from sipua.message.via import CSeq, Via

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Value:
    """A token with parameters: Event, Subscription-State, Content-Type, Session-Expires and others; ``value`` keeps its case."""

    value: str
    params: Params = EMPTY

    @classmethod
    def parse(cls, text: str) -> "Value":
        """Parse ``value;name=value…``. Raises :class:`ParseError`."""
        value, semicolon, params = text.partition(";")
        value = value.strip()
        if not value or any(c.isspace() for c in value.replace(" / ", "/")):
            raise ParseError("broken header value")
        return cls(value.replace(" ", ""), Params.parse(params) if semicolon else EMPTY)

    def __str__(self) -> str:
        return f"{self.value}{self.params}"


def delta_seconds(text: str) -> int:
    """Parse 1*DIGIT; values above 2**32-1 count as 2**32-1 (RFC 3261 §20.19). A comment behind it is ignored (§20.33)."""
    match = DIGITS_PATTERN.match(text.strip())
    if match is None:
        raise ParseError("not a number of seconds")
    return min(int(match[0]), 2**32 - 1)


class HasHeaders:
    """What a field needs of the object it sits on."""

    __slots__ = ()
    headers: Headers


class Required(Generic[T]):
    """The first line of a header that every message has. Reading an absent or broken one raises :class:`ParseError`."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self._name = name
        self._parse = parse

    @overload
    def __get__(self, message: None, owner: type) -> "Required[T]": ...
    @overload
    def __get__(self, message: HasHeaders, owner: type) -> T: ...
    def __get__(self, message: HasHeaders | None, owner: type) -> "Required[T] | T":
        if message is None:
            return self
        cache = message.headers.cache
        value: T | None = cache.get(self._name)
        if value is None:
            text = message.headers.get(self._name)
            if text is None:
                raise ParseError(f"no {self._name}")
            value = cache[self._name] = self._parse(text)
        return value


class Option(Generic[T]):
    """The first line of a header that may be absent (None). A broken one raises :class:`ParseError`."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self._name = name
        self._parse = parse

    @overload
    def __get__(self, message: None, owner: type) -> "Option[T]": ...
    @overload
    def __get__(self, message: HasHeaders, owner: type) -> T | None: ...
    def __get__(self, message: HasHeaders | None, owner: type) -> "Option[T] | T | None":
        if message is None:
            return self
        text = message.headers.get(self._name)
        if text is None:
            return None
        cache = message.headers.cache
        value: T | None = cache.get(self._name)
        if value is None:
            value = cache[self._name] = self._parse(text)
        return value


class Listed(Generic[T]):
    """All values of a list header, in order; none is an empty tuple. A broken one raises :class:`ParseError`."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self._name = name
        self._parse = parse

    @overload
    def __get__(self, message: None, owner: type) -> "Listed[T]": ...
    @overload
    def __get__(self, message: HasHeaders, owner: type) -> tuple[T, ...]: ...
    def __get__(self, message: HasHeaders | None, owner: type) -> "Listed[T] | tuple[T, ...]":
        if message is None:
            return self
        if message.headers.get(self._name) is None:
            return ()
        key = f"{self._name}[]"
        cache = message.headers.cache
        value: tuple[T, ...] | None = cache.get(key)
        if value is None:
            value = cache[key] = tuple(self._parse(text) for text in message.headers.values(self._name))
        return value


def _first_via(text: str) -> Via:
    values = split_list(text)
    if not values:
        raise ParseError("empty Via")
    return Via.parse(values[0])


def _call_id(text: str) -> str:
    value = text.strip()
    if not value or any(c.isspace() for c in value):
        raise ParseError("broken Call-ID")
    return value


def _option(text: str) -> str:
    return text.lower()


class Fields(HasHeaders):
    """Typed access shared by requests and responses."""

    __slots__ = ()

    via = Required("Via", _first_via)
    vias = Listed("Via", Via.parse)
    from_ = Required("From", Address.parse)
    to = Required("To", Address.parse)
    call_id = Required("Call-ID", _call_id)
    cseq = Required("CSeq", CSeq.parse)
    contacts = Listed("Contact", Address.parse)
    record_route = Listed("Record-Route", Address.parse)
    route = Listed("Route", Address.parse)
    max_forwards = Option("Max-Forwards", delta_seconds)
    expires = Option("Expires", delta_seconds)
    min_expires = Option("Min-Expires", delta_seconds)
    retry_after = Option("Retry-After", delta_seconds)
    content_type = Option("Content-Type", Value.parse)
    content_disposition = Option("Content-Disposition", Value.parse)
    event = Option("Event", Value.parse)
    subscription_state = Option("Subscription-State", Value.parse)
    refer_to = Option("Refer-To", Address.parse)
    referred_by = Option("Referred-By", Address.parse)
    refer_sub = Option("Refer-Sub", Value.parse)
    session_expires = Option("Session-Expires", Value.parse)
    supported = Listed("Supported", _option)
    require = Listed("Require", _option)
    allow = Listed("Allow", str)

    @property
    def contact(self) -> Address | None:
        """The first Contact, None when there is none or it is ``*``."""
        if (self.headers.get("Contact") or "*").strip() == "*":
            return None
        contacts = self.contacts
        return contacts[0] if contacts else None
