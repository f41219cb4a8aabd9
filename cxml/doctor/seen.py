"""Pure. What an examination saw of a PBX, as plain values."""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sipua.errors import ParseError, printable
from sipua.message import Message, Request, Response

EVIDENCE_CHARS = 160
"""A line of evidence stays a line."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A message that passed: seconds since the beginning, whether it was ours, and the message."""

    at_s: float
    is_ours: bool
    message: Message

    @property
    def line(self) -> str:
        """The first line with its direction, fit for a terminal."""
        return f"{'>' if self.is_ours else '<'} {printable(self.message.start_line, EVIDENCE_CHARS)}"

    @property
    def method(self) -> str:
        """The method of the request, or of the one that a response answers; "" when it can't be read."""
        if isinstance(self.message, Request):
            return self.message.method
        try:
            return self.message.cseq.method
        except ParseError:
            return ""

    def header(self, name: str) -> str:
        """Return a header's value fit for a terminal, "" when it is absent."""
        return printable(self.message.headers.get(name) or "", EVIDENCE_CHARS)


Messages = Sequence[Seen]


class Purpose(StrEnum):
    """What a test call is made for."""

    CALL = "call"
    """Is it answered, does audio come, and how does a transfer end."""
    UNANSWERED = "unanswered"
    """A transfer to a target that never answers."""
    TEL = "tel"
    """A transfer to a ``tel:`` URI."""
    HOST = "host"
    """A transfer to the right user at a wrong host."""


@dataclass(frozen=True, slots=True)
class MediaSeen:
    """Packets of *waited_s* seconds: those that came in an agreed codec, in another one, and those that went; *errors* of our socket.

    0 seconds: there was no socket for audio, so the numbers say nothing.
    """

    waited_s: float
    received: int = 0
    unexpected: int = 0
    sent: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class TransferSeen:
    """How a transfer ended: *kind* and *doubt* as the daemon would report them (docs/spec/refer-outcomes.md), and its *target*."""

    target: str
    kind: str
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class CallSeen:
    """One test call to *extension*. *fault* is why it could not be made; *media* and *transfer* are None when it didn't come that far.

    *is_cut_off*: the examination ended in the middle of it, so what is missing says nothing.
    """

    purpose: Purpose
    extension: str
    messages: Messages = ()
    fault: str = ""
    media: MediaSeen | None = None
    transfer: TransferSeen | None = None
    is_cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that was seen of one peer; None and () stand for steps that were not taken.

    *uri* is where it was asked, *address* the address behind it ("" when there is none), *fault* why there is no way to it,
    *is_unresolved*: because its name can't be resolved.
    *has_password*: user name and password are configured; *wants_binding*: so is ``register``.
    """

    uri: str
    address: str = ""
    fault: str = ""
    is_unresolved: bool = False
    has_password: bool = False
    wants_binding: bool = False
    options: Messages | None = None
    register: Messages | None = None
    calls: tuple[CallSeen, ...] = ()

    @property
    def messages(self) -> Iterator[Seen]:
        """Every message, in the order of the steps."""
        yield from self.options or ()
        yield from self.register or ()
        for call in self.calls:
            yield from call.messages


def requests(messages: Messages, method: str, *, ours: bool) -> list[Seen]:
    """Return the requests *method* of one side."""
    return [seen for seen in messages if seen.is_ours is ours and isinstance(seen.message, Request) and seen.message.method == method]


def final(messages: Messages, method: str) -> Seen | None:
    """Return the last final response of the PBX to *method*."""
    found = [seen for seen in responses(messages, method) if status_of(seen) >= 200]
    return found[-1] if found else None


def responses(messages: Messages, method: str) -> list[Seen]:
    """Return the responses of the PBX to *method*."""
    return [seen for seen in messages if not seen.is_ours and isinstance(seen.message, Response) and seen.method == method]


def status_of(seen: Seen) -> int:
    """Return the status of a response, 0 for a request."""
    return seen.message.status if isinstance(seen.message, Response) else 0


def is_private(host: str) -> bool | None:
    """Tell whether an address means nothing on the Internet; None for a name."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return not address.is_global
