"""Pure. What the machines of a call ask for."""

from dataclasses import dataclass
from enum import StrEnum

from sipua.effects import Effect


class EndedBy(StrEnum):
    """Who or what ended a call."""

    LOCAL = "local"
    PEER = "peer"
    NO_ACK = "no-ack"
    LOST = "lost"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Respond(Effect):
    """Answer the INVITE with *status*; a repeated 200 is the same bytes again."""

    status: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Confirmed(Effect):
    """The call is confirmed: requests in the dialog may be sent."""


@dataclass(frozen=True, slots=True)
class SendBye(Effect):
    """Send BYE in the dialog of the call."""


@dataclass(frozen=True, slots=True)
class Over(Effect):
    """The session is over."""

    by: EndedBy


@dataclass(frozen=True, slots=True)
class Progress(Effect):
    """A provisional response other than 100 came from the fork *tag*."""

    status: int
    tag: str


@dataclass(frozen=True, slots=True)
class Ack(Effect):
    """Acknowledge the 2xx of the fork *tag*."""

    tag: str


@dataclass(frozen=True, slots=True)
class Bye(Effect):
    """End the surplus dialog of the fork *tag*."""

    tag: str


@dataclass(frozen=True, slots=True)
class Cancel(Effect):
    """Cancel the INVITE."""


@dataclass(frozen=True, slots=True)
class Established(Effect):
    """The fork *tag* answered first: its dialog is the call's."""

    tag: str


@dataclass(frozen=True, slots=True)
class Failed(Effect):
    """The INVITE came to nothing: *status* of the final response, 487 when it was cancelled."""

    status: int
    reason: str | None = None
