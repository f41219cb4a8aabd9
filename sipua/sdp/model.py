"""Pure. The values of a session description (RFC 8866) as far as a telephone call needs them.

Owns the shapes only; text is the business of :mod:`sipua.sdp.parser`. Values say what was written, readers such as
:meth:`MediaDescription.rtpmaps` interpret it and skip what is broken.
"""

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Who sends, seen by the side that writes the attribute (RFC 3264 §5.1)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """True if the writer sends media."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """True if the writer wants to get media."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)

    @property
    def reversed(self) -> "Direction":
        """The same stream seen by the other side."""
        return direction(sends=self.receives, receives=self.sends)

    @property
    def without_receive(self) -> "Direction":
        """The direction that puts the peer on hold (RFC 3264 §8.4)."""
        return direction(sends=self.sends, receives=False)

    def within(self, other: "Direction") -> "Direction":
        """What is left of this direction if only *other* is allowed."""
        return direction(sends=self.sends and other.sends, receives=self.receives and other.receives)


def direction(*, sends: bool, receives: bool) -> Direction:
    """Return the direction with these two properties."""
    if sends:
        return Direction.SENDRECV if receives else Direction.SENDONLY
    return Direction.RECVONLY if receives else Direction.INACTIVE


class Codec(StrEnum):
    """The audio encodings that are spoken, by their name in ``a=rtpmap`` (RFC 3551 §4.5.14)."""

    PCMU = "PCMU"
    PCMA = "PCMA"


CLOCK_RATE = 8000
"""Clock of PCMU, PCMA and of their telephone-event, in Hz."""

TELEPHONE_EVENT = "telephone-event"
"""Encoding name of DTMF in RTP (RFC 4733 §2)."""

STATIC_PAYLOAD_TYPES = {Codec.PCMU: 0, Codec.PCMA: 8}
"""Payload types that need no ``a=rtpmap`` (RFC 3551 §6)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The ``o=`` line (RFC 8866 §5.2). Identifier and version stay text: peers send more digits than any integer type has."""

    username: str
    session_id: str
    version: str
    address: str
    address_type: str = "IP4"
    network: str = "IN"


@dataclass(frozen=True, slots=True)
class Connection:
    """A ``c=`` line (RFC 8866 §5.7)."""

    address: str
    address_type: str = "IP4"
    network: str = "IN"

    @property
    def host(self) -> str:
        """The address without a multicast TTL or count."""
        return self.address.partition("/")[0]

    @property
    def is_unspecified(self) -> bool:
        """True for the old form of hold, ``0.0.0.0`` (RFC 3264 §8.4), and for the IPv6 form that some peers invent."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True)
class Attribute:
    """An ``a=`` line; *value* is None for a flag (RFC 8866 §5.13)."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class RtpMap:
    """An ``a=rtpmap`` value (RFC 8866 §6.6)."""

    payload_type: int
    encoding: str
    clock_rate: int
    channels: int = 1

    def __str__(self) -> str:
        tail = f"/{self.channels}" if self.channels != 1 else ""
        return f"{self.payload_type} {self.encoding}/{self.clock_rate}{tail}"


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One ``m=`` section (RFC 8866 §5.14)."""

    media: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    port_count: int = 1
    title: str | None = None
    connection: Connection | None = None
    bandwidths: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()

    @property
    def direction(self) -> Direction | None:
        """The first direction attribute of the section, if any."""
        return first_direction(self.attributes)

    def rtpmaps(self) -> dict[int, RtpMap]:
        """The readable ``a=rtpmap`` values by payload type; broken ones are left out, the first one of a number counts."""
        found: dict[int, RtpMap] = {}
        for attribute in self.attributes:
            if attribute.name == "rtpmap" and attribute.value is not None:
                rtpmap = _read_rtpmap(attribute.value)
                if rtpmap is not None:
                    found.setdefault(rtpmap.payload_type, rtpmap)
        return found

    def number(self, name: str) -> int | None:
        """The value of the first attribute *name* as a whole number (a fraction is cut off), or None."""
        for attribute in self.attributes:
            if attribute.name == name:
                return read_number((attribute.value or "").strip().partition(".")[0], limit=65535)
        return None


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description. ``u= e= p= r= z= k=`` lines are not kept: nothing in a call depends on them."""

    origin: Origin
    name: str = "-"
    title: str | None = None
    connection: Connection | None = None
    bandwidths: tuple[str, ...] = ()
    timings: tuple[str, ...] = ("0 0",)
    attributes: tuple[Attribute, ...] = ()
    media: tuple[MediaDescription, ...] = ()

    def connection_of(self, media: MediaDescription) -> Connection | None:
        """The address of a section: its own, else that of the session (RFC 8866 §5.7)."""
        return media.connection or self.connection

    def direction_of(self, media: MediaDescription) -> Direction:
        """The direction of a section: its own, else that of the session, else sendrecv (RFC 3264 §5.1)."""
        return media.direction or first_direction(self.attributes) or Direction.SENDRECV


def first_direction(attributes: tuple[Attribute, ...]) -> Direction | None:
    """Return the first direction among *attributes*."""
    for attribute in attributes:
        if attribute.value is None and attribute.name in _DIRECTIONS:
            return _DIRECTIONS[attribute.name]
    return None


def read_number(text: str, limit: int) -> int | None:
    """Return the ASCII decimal *text* as a number from 0 to *limit*, or None."""
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS:
        return None
    value = int(text)
    return value if value <= limit else None


def _read_rtpmap(value: str) -> RtpMap | None:
    number, _, encoding = value.strip().partition(" ")
    name, _, rest = encoding.strip().partition("/")
    clock, _, channels = rest.partition("/")
    payload_type = read_number(number, limit=127)
    clock_rate = read_number(clock, limit=_MAX_CLOCK_RATE)
    count = read_number(channels, limit=255) if channels else 1
    if not name or payload_type is None or not clock_rate or not count:
        return None
    return RtpMap(payload_type, name, clock_rate, count)


_DIRECTIONS = {item.value: item for item in Direction}
_MAX_DIGITS = 10  # more never fits a number that we read; keeps int() cheap
_MAX_CLOCK_RATE = 1_000_000  # far above any registered clock
