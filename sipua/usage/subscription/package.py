"""Pure. What the subscription machine needs of an event package, and what it is told of a NOTIFY (RFC 6665 §5.4, §8.2)."""

from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from sipua.errors import ParseError
from sipua.message import Request, Value
from sipua.message.fields import delta_seconds
from sipua.message.memory import Memory

T_co = TypeVar("T_co", covariant=True)

_INFO: Final = "notify info"
"""Where the cache of a request's headers has it."""


@dataclass(frozen=True, slots=True)
class NotifyInfo:
    """The parts of a NOTIFY that a subscriber acts on.

    ``event_id`` is the ``id`` of Event, ``state`` the value of Subscription-State in lower case, ``expires`` (seconds) and ``reason``
    its parameters, ``content_type`` the raw Content-Type. None stands for absent; what can't be read counts as absent.
    """

    cseq: int
    event_id: str | None = None
    state: str | None = None
    expires: int | None = None
    reason: str | None = None
    content_type: str | None = None
    body: bytes = b""

    @classmethod
    def from_request(cls, request: Request) -> "NotifyInfo":
        """Read *request*, whose CSeq the layers below have checked, once. Never raises for its other headers."""
        headers = request.headers
        known: NotifyInfo | None = headers.cache.get(_INFO)
        if known is None:
            event, state = headers.get("Event"), headers.get("Subscription-State")
            known = headers.cache[_INFO] = cls(
                request.cseq.number,
                None if event is None else _EVENT_IDS.read(event)[0],
                *((None, None, None) if state is None else _STATES.read(state)),
                headers.get("Content-Type"),
                request.body,
            )
        return known

    @property
    def is_terminated(self) -> bool:
        """True if this NOTIFY ends its subscription (RFC 6665 §4.1.3)."""
        return self.state == "terminated"


def _value(text: str) -> Value | None:
    try:
        return Value.parse(text)
    except ParseError:
        # The token alone still says what matters; broken parameters are as good as none.
        token = text.partition(";")[0].split()
        return Value(token[0]) if token else None


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return delta_seconds(text)
    except ParseError:
        return None


def _event_id(event: str) -> tuple[str | None]:
    value = _value(event)
    return (None if value is None else value.params.get("id"),)


def _state(text: str) -> tuple[str | None, int | None, str | None]:
    """Return the state, how long it lasts in seconds, and the reason."""
    value = _value(text)
    if value is None:
        return None, None, None
    reason = value.params.get("reason")
    return value.value.lower(), _seconds(value.params.get("expires")), None if reason is None else reason.lower()


_EVENT_IDS = Memory(_event_id)
_STATES = Memory(_state)


@dataclass(frozen=True, slots=True)
class Reading(Generic[T_co]):
    """What a package makes of a body: the ``payload``, None if there is none; ``answer`` and ``headers`` go into the response."""

    answer: int
    payload: T_co | None = None
    headers: tuple[tuple[str, str], ...] = ()


class EventPackage(Protocol[T_co]):
    """An event package as its subscriber sees it."""

    @property
    def event(self) -> str:
        """The package's name in Event, compared byte by byte (RFC 6665 §8.2.1)."""

    @property
    def default_expires_s(self) -> int:
        """The duration that holds while the notifier has named none, in seconds."""

    def read(self, content_type: str | None, body: bytes) -> Reading[T_co]:
        """Read the body of a NOTIFY. Never raises; an error answer must be one that leaves the subscription alive."""
