"""Pure. Typed, lazily parsed header values of a message.

Each is parsed when first asked for and kept in the header map's cache, which a change of the headers empties
(:class:`Headers` says of what).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeVar, cast

from sipua.errors import ParseError
from sipua.message.address import Address
from sipua.message.grammar import DIGITS_PATTERN, split_outside
from sipua.message.headers import Headers
from sipua.message.memory import Memory
from sipua.message.params import EMPTY, Params
from sipua.message.rack import RAck, parse_rseq
from sipua.message.via import CSeq, Via

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Value(NamedTuple):
    """A token with parameters: Event, Subscription-State, Content-Type, Session-Expires and others; ``value`` keeps its case."""

    value: str
    params: Params = EMPTY

    @classmethod
    def parse(cls, text: str) -> "Value":
        """Parse ``value;name=value…``. Raises :class:`ParseError`."""
        return _MEMORY.read(text)

    @classmethod
    def parse_any(cls, text: str) -> "Value":
        """Parse *text* without regard to what was parsed before. Raises :class:`ParseError`."""
        value, semicolon, params = text.partition(";")
        value = value.strip()
        if not value or any(c.isspace() for c in value.replace(" / ", "/")):
            raise ParseError("broken header value")
        return cls(value.replace(" ", ""), Params.parse(params) if semicolon else EMPTY)

    def __str__(self) -> str:
        return f"{self.value}{self.params}"


_MEMORY = Memory(Value.parse_any)
_SMALL_NUMBERS = {str(number): number for number in range(256)}  # every Max-Forwards


def delta_seconds(text: str) -> int:
    """Parse 1*DIGIT; values above 2**32-1 count as 2**32-1 (RFC 3261 §20.19). A comment behind it is ignored (§20.33)."""
    known = _SMALL_NUMBERS.get(text)
    if known is not None:
        return known
    match = DIGITS_PATTERN.match(text.strip())
    if match is None:
        raise ParseError("not a number of seconds")
    return min(int(match[0]), 2**32 - 1)


def _first_via(text: str) -> Via:
    if "," not in text:
        return Via.parse(text)
    # one broken element makes the line unusable: where the top value ends is then a guess (RFC 4475 §3.1.2.1)
    values = [Via.parse(part) for part in split_outside(text, ",")]
    return values[0]


def _call_id(text: str) -> str:
    words = text.split()
    if len(words) != 1:
        raise ParseError("broken Call-ID")
    return words[0]


def _option_tag(text: str) -> str:
    return text.lower()


class Field(Protocol[T_co]):
    """A typed value of a message as a type checker sees it; it is a property."""

    def __get__(self, message: object, owner: type | None = None) -> T_co:
        """Return the value."""


def _required(name: str, parse: Callable[[str], T], doc: str) -> Field[T]:
    """Make the field of a header *name* that every message must have."""

    def read(message: "Fields") -> T:
        headers = message.headers
        known: T | None = headers.cache.get(name)
        if known is not None:
            return known
        text = (headers.first or headers.index()).get(name)
        if text is None:
            raise ParseError(f"no {name}")
        value = headers.cache[name] = parse(text)
        return value

    return cast("Field[T]", property(read, doc=doc))


def _option(name: str, parse: Callable[[str], T], doc: str) -> Field[T | None]:
    """Make the field of a header *name* that may be absent: None then."""

    def read(message: "Fields") -> T | None:
        headers = message.headers
        known: T | None = headers.cache.get(name)
        if known is not None:
            return known
        text = (headers.first or headers.index()).get(name)
        if text is None:
            return None
        value = headers.cache[name] = parse(text)
        return value

    return cast("Field[T | None]", property(read, doc=doc))


def _listed(name: str, parse: Callable[[str], T], doc: str) -> Field[tuple[T, ...]]:
    """Make the field of all values of a header *name*: an empty tuple without any."""
    key = f"{name}[]"

    def read(message: "Fields") -> tuple[T, ...]:
        headers = message.headers
        known: tuple[T, ...] | None = headers.cache.get(key)
        if known is not None:
            return known
        if (headers.first or headers.index()).get(name) is None:
            return ()
        texts = headers.values(name)
        values = headers.cache[key] = (parse(texts[0]),) if len(texts) == 1 else tuple([parse(text) for text in texts])
        return values

    return cast("Field[tuple[T, ...]]", property(read, doc=doc))


def read_mandatory(headers: Headers) -> None:
    """Parse what every message must have. Raises :class:`ParseError` for the first that is absent or broken.

    For a message as it came, once: PyPy then makes each field's own code a look into the cache.
    """
    first, cache = headers.first or headers.index(), headers.cache
    cache["Via"] = _first_via(_of(first, "Via"))
    cache["Call-ID"] = _call_id(_of(first, "Call-ID"))
    cache["From"] = Address.parse(_of(first, "From"))
    cache["To"] = Address.parse(_of(first, "To"))
    cache["CSeq"] = CSeq.parse(_of(first, "CSeq"))


def _of(first: Mapping[str, str], name: str) -> str:
    text = first.get(name)
    if text is None:
        raise ParseError(f"no {name}")
    return text


class Fields:
    """Typed access shared by requests and responses.

    What every message must have raises :class:`ParseError` when it is absent or broken; what may be absent is None then, and a list empty.
    """

    __slots__ = ("headers",)

    headers: Headers

    via = _required("Via", _first_via, "The topmost Via (RFC 3261 §20.42).")
    vias = _listed("Via", Via.parse, "All Via values, the topmost first.")
    from_ = _required("From", Address.parse, "From (RFC 3261 §20.20).")
    to = _required("To", Address.parse, "To (RFC 3261 §20.39).")
    call_id = _required("Call-ID", _call_id, "Call-ID (RFC 3261 §20.8).")
    cseq = _required("CSeq", CSeq.parse, "CSeq (RFC 3261 §20.16).")
    contacts = _listed("Contact", Address.parse, "All Contact values (RFC 3261 §20.10).")
    record_route = _listed("Record-Route", Address.parse, "All Record-Route values (RFC 3261 §20.30).")
    route = _listed("Route", Address.parse, "All Route values (RFC 3261 §20.34).")
    max_forwards = _option("Max-Forwards", delta_seconds, "Max-Forwards (RFC 3261 §20.22).")
    expires = _option("Expires", delta_seconds, "Expires, seconds (RFC 3261 §20.19).")
    min_expires = _option("Min-Expires", delta_seconds, "Min-Expires, seconds (RFC 3261 §20.23).")
    retry_after = _option("Retry-After", delta_seconds, "Retry-After, seconds (RFC 3261 §20.33).")
    content_type = _option("Content-Type", Value.parse, "Content-Type (RFC 3261 §20.15).")
    content_disposition = _option("Content-Disposition", Value.parse, "Content-Disposition (RFC 3261 §20.11).")
    event = _option("Event", Value.parse, "Event (RFC 6665 §8.2.1).")
    subscription_state = _option("Subscription-State", Value.parse, "Subscription-State (RFC 6665 §8.2.3).")
    refer_to = _option("Refer-To", Address.parse, "Refer-To (RFC 3515 §2.1).")
    referred_by = _option("Referred-By", Address.parse, "Referred-By (RFC 3892 §3).")
    refer_sub = _option("Refer-Sub", Value.parse, "Refer-Sub (RFC 4488 §4).")
    session_expires = _option("Session-Expires", Value.parse, "Session-Expires (RFC 4028 §4).")
    rseq = _option("RSeq", parse_rseq, "RSeq (RFC 3262 §7.1).")
    rack = _option("RAck", RAck.parse, "RAck (RFC 3262 §7.2).")
    supported = _listed("Supported", _option_tag, "The option tags of Supported, in lower case (RFC 3261 §20.37).")
    require = _listed("Require", _option_tag, "The option tags of Require, in lower case (RFC 3261 §20.32).")
    allow = _listed("Allow", str, "The methods of Allow (RFC 3261 §20.5).")

    @property
    def contact(self) -> Address | None:
        """The first Contact, None when there is none or it is ``*``."""
        if (self.headers.get("Contact") or "*").strip() == "*":
            return None
        contacts = self.contacts
        return contacts[0] if contacts else None
