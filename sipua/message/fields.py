"""Pure. Typed, lazily parsed header values of a message.

Each is parsed when first asked for and kept in the header map's cache, which a change of the headers empties.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sipua.errors import ParseError
from sipua.message.address import Address
from sipua.message.grammar import DIGITS_PATTERN, split_outside
from sipua.message.headers import Headers
from sipua.message.memory import Memory
from sipua.message.params import EMPTY, Params
from sipua.message.rack import RAck, parse_rseq
from sipua.message.via import CSeq, Via

T = TypeVar("T")


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


class Fields:
    """Typed access shared by requests and responses.

    What every message must have raises :class:`ParseError` when it is absent or broken; what may be absent is None then, and a list empty.
    """

    __slots__ = ("headers",)

    headers: Headers

    def _required(self, name: str, parse: Callable[[str], T]) -> T:
        text = self.headers.get(name)
        if text is None:
            raise ParseError(f"no {name}")
        value = self.headers.cache[name] = parse(text)
        return value

    def _option(self, name: str, parse: Callable[[str], T]) -> T | None:
        text = self.headers.get(name)
        if text is None:
            return None
        value = self.headers.cache[name] = parse(text)
        return value

    def _listed(self, key: str, name: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        if self.headers.get(name) is None:
            return ()
        values = self.headers.cache[key] = tuple([parse(text) for text in self.headers.values(name)])
        return values

    @property
    def via(self) -> Via:
        """The topmost Via (RFC 3261 §20.42)."""
        known: Via | None = self.headers.cache.get("Via")
        return self._required("Via", _first_via) if known is None else known

    @property
    def vias(self) -> tuple[Via, ...]:
        """All Via values, the topmost first."""
        known: tuple[Via, ...] | None = self.headers.cache.get("Via[]")
        return self._listed("Via[]", "Via", Via.parse) if known is None else known

    @property
    def from_(self) -> Address:
        """From (RFC 3261 §20.20)."""
        known: Address | None = self.headers.cache.get("From")
        return self._required("From", Address.parse) if known is None else known

    @property
    def to(self) -> Address:
        """To (RFC 3261 §20.39)."""
        known: Address | None = self.headers.cache.get("To")
        return self._required("To", Address.parse) if known is None else known

    @property
    def call_id(self) -> str:
        """Call-ID (RFC 3261 §20.8)."""
        known: str | None = self.headers.cache.get("Call-ID")
        return self._required("Call-ID", _call_id) if known is None else known

    @property
    def cseq(self) -> CSeq:
        """CSeq (RFC 3261 §20.16)."""
        known: CSeq | None = self.headers.cache.get("CSeq")
        return self._required("CSeq", CSeq.parse) if known is None else known

    @property
    def contacts(self) -> tuple[Address, ...]:
        """All Contact values (RFC 3261 §20.10)."""
        known: tuple[Address, ...] | None = self.headers.cache.get("Contact[]")
        return self._listed("Contact[]", "Contact", Address.parse) if known is None else known

    @property
    def record_route(self) -> tuple[Address, ...]:
        """All Record-Route values (RFC 3261 §20.30)."""
        known: tuple[Address, ...] | None = self.headers.cache.get("Record-Route[]")
        return self._listed("Record-Route[]", "Record-Route", Address.parse) if known is None else known

    @property
    def route(self) -> tuple[Address, ...]:
        """All Route values (RFC 3261 §20.34)."""
        known: tuple[Address, ...] | None = self.headers.cache.get("Route[]")
        return self._listed("Route[]", "Route", Address.parse) if known is None else known

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards (RFC 3261 §20.22)."""
        known: int | None = self.headers.cache.get("Max-Forwards")
        return self._option("Max-Forwards", delta_seconds) if known is None else known

    @property
    def expires(self) -> int | None:
        """Expires, seconds (RFC 3261 §20.19)."""
        known: int | None = self.headers.cache.get("Expires")
        return self._option("Expires", delta_seconds) if known is None else known

    @property
    def min_expires(self) -> int | None:
        """Min-Expires, seconds (RFC 3261 §20.23)."""
        known: int | None = self.headers.cache.get("Min-Expires")
        return self._option("Min-Expires", delta_seconds) if known is None else known

    @property
    def retry_after(self) -> int | None:
        """Retry-After, seconds (RFC 3261 §20.33)."""
        known: int | None = self.headers.cache.get("Retry-After")
        return self._option("Retry-After", delta_seconds) if known is None else known

    @property
    def content_type(self) -> Value | None:
        """Content-Type (RFC 3261 §20.15)."""
        known: Value | None = self.headers.cache.get("Content-Type")
        return self._option("Content-Type", Value.parse) if known is None else known

    @property
    def content_disposition(self) -> Value | None:
        """Content-Disposition (RFC 3261 §20.11)."""
        known: Value | None = self.headers.cache.get("Content-Disposition")
        return self._option("Content-Disposition", Value.parse) if known is None else known

    @property
    def event(self) -> Value | None:
        """Event (RFC 6665 §8.2.1)."""
        known: Value | None = self.headers.cache.get("Event")
        return self._option("Event", Value.parse) if known is None else known

    @property
    def subscription_state(self) -> Value | None:
        """Subscription-State (RFC 6665 §8.2.3)."""
        known: Value | None = self.headers.cache.get("Subscription-State")
        return self._option("Subscription-State", Value.parse) if known is None else known

    @property
    def refer_to(self) -> Address | None:
        """Refer-To (RFC 3515 §2.1)."""
        known: Address | None = self.headers.cache.get("Refer-To")
        return self._option("Refer-To", Address.parse) if known is None else known

    @property
    def referred_by(self) -> Address | None:
        """Referred-By (RFC 3892 §3)."""
        known: Address | None = self.headers.cache.get("Referred-By")
        return self._option("Referred-By", Address.parse) if known is None else known

    @property
    def refer_sub(self) -> Value | None:
        """Refer-Sub (RFC 4488 §4)."""
        known: Value | None = self.headers.cache.get("Refer-Sub")
        return self._option("Refer-Sub", Value.parse) if known is None else known

    @property
    def session_expires(self) -> Value | None:
        """Session-Expires (RFC 4028 §4)."""
        known: Value | None = self.headers.cache.get("Session-Expires")
        return self._option("Session-Expires", Value.parse) if known is None else known

    @property
    def rseq(self) -> int | None:
        """RSeq (RFC 3262 §7.1)."""
        known: int | None = self.headers.cache.get("RSeq")
        return self._option("RSeq", parse_rseq) if known is None else known

    @property
    def rack(self) -> RAck | None:
        """RAck (RFC 3262 §7.2)."""
        known: RAck | None = self.headers.cache.get("RAck")
        return self._option("RAck", RAck.parse) if known is None else known

    @property
    def supported(self) -> tuple[str, ...]:
        """The option tags of Supported, in lower case (RFC 3261 §20.37)."""
        known: tuple[str, ...] | None = self.headers.cache.get("Supported[]")
        return self._listed("Supported[]", "Supported", _option_tag) if known is None else known

    @property
    def require(self) -> tuple[str, ...]:
        """The option tags of Require, in lower case (RFC 3261 §20.32)."""
        known: tuple[str, ...] | None = self.headers.cache.get("Require[]")
        return self._listed("Require[]", "Require", _option_tag) if known is None else known

    @property
    def allow(self) -> tuple[str, ...]:
        """The methods of Allow (RFC 3261 §20.5)."""
        known: tuple[str, ...] | None = self.headers.cache.get("Allow[]")
        return self._listed("Allow[]", "Allow", str) if known is None else known

    @property
    def contact(self) -> Address | None:
        """The first Contact, None when there is none or it is ``*``."""
        if (self.headers.get("Contact") or "*").strip() == "*":
            return None
        contacts = self.contacts
        return contacts[0] if contacts else None
