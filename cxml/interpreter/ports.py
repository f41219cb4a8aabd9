"""Pure. The Protocols through which verbs and the engine see the world.

They are owned by the interpreter: SIP, HTTP and storage implement them, verbs and the engine call nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class RejectReason(StrEnum):
    """Values of ``<Reject reason>``."""

    REJECTED = "rejected"
    BUSY = "busy"


class TransferKind(StrEnum):
    """What became of a transfer, in one word: the value of ``CxmldReferOutcome``."""

    TRANSFERRED = "transferred"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    DECLINED = "declined"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    UNAUTHENTICATED = "unauthenticated"
    NO_RESPONSE = "no_response"
    UNREACHABLE = "unreachable"
    CALL_LOST = "call_lost"
    PEER_HANGUP = "peer_hangup"
    LOCAL_HANGUP = "local_hangup"
    NOTIFY_TIMEOUT = "notify_timeout"
    NO_SUBSCRIPTION = "no_subscription"
    INVALID_TARGET = "invalid_target"
    NOT_SIP = "not_sip"
    DAEMON_RESTARTED = "daemon_restarted"


class Confidence(StrEnum):
    """How far a result can be relied on: the value of ``CxmldReferConfidence``."""

    HIGH = "high"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class TransferResult:
    """The one result of one ``<Refer>``.

    ``refer_code`` is the final status of the REFER (0: none), ``notify_code`` the last status a NOTIFY reported (0: none),
    ``notified`` whether any NOTIFY came. ``doubt`` is one word for why the result is not to be relied on, "" if nothing speaks against it.
    """

    kind: TransferKind
    refer_code: int = 0
    notify_code: int = 0
    notified: bool = False
    detail: str = ""
    doubt: str = ""

    @property
    def confidence(self) -> Confidence:
        """Whether the result can be relied on."""
        return Confidence.LOW if self.doubt else Confidence.HIGH


class CallEndedError(Exception):
    """The call ended while a verb used it."""


class Call(Protocol):
    """One voice call as verbs see it."""

    @property
    def sid(self) -> str:
        """The CallSid."""

    @property
    def is_answered(self) -> bool:
        """True once the call is confirmed (2xx and ACK)."""

    @property
    def is_ended(self) -> bool:
        """True once the call is over, whoever ended it."""

    def on_ended(self, told: Callable[[], None]) -> None:
        """Have *told*, which does not raise, called once when the call is over: at once if it is. Replaces who was told before."""

    async def answer(self) -> None:
        """Answer and wait until the call is confirmed; a second call is a no-op. Raises :class:`CallEndedError`."""

    async def reject(self, reason: RejectReason) -> None:
        """Refuse an unanswered call (``rejected`` or ``busy``); an answered one is hung up."""

    async def hangup(self) -> None:
        """End the call in whatever state it is. Never raises; a no-op on an ended call."""

    async def fail(self) -> None:
        """End a call that an error keeps from going on: an unanswered one is refused as by a failing server.

        An answered one is hung up. Never raises; a no-op on an ended call.
        """

    def dialog(self) -> Mapping[str, object]:
        """The call's SIP dialog as plain data for the journal; empty when it can't be taken up again."""

    async def transfer(self, target: str) -> TransferResult:
        """Refer the peer to *target* (a SIP URI, byte for byte) and wait for the outcome. Never raises for a failed transfer."""


@dataclass(slots=True)
class FetchedDocument:
    """A document as a web server gave it: the final URL (after redirects, no fragment) and the body."""

    url: str
    body: bytes
    content_type: str = ""


class WebhookError(Exception):
    """A request for a document failed.

    ``code`` is the vendors' error code (11200 time-out, 11210 DNS, 11215 redirects, 11217 status, 11220 TLS,
    11750 size, 12300 content type …), ``url`` the URL that failed without credentials, ``detail`` one line for people.
    """

    def __init__(self, code: int, url: str, detail: str) -> None:
        """Keep the three parts; the text is ``code url: detail``."""
        super().__init__(f"{code} {url}: {detail}")
        self.code = code
        self.url = url
        self.detail = detail


class Webhooks(Protocol):
    """The web application of one call. At most one request is outstanding at a time."""

    async def fetch(self, url: str, method: str, extra: Mapping[str, str]) -> FetchedDocument:
        """Request *url* with the standard parameters of the call plus *extra* and return the document.

        Raises :class:`WebhookError`.
        """


@dataclass(slots=True)
class Position:
    """Where a call stands: enough to go on after a restart. All values are plain data.

    ``document_url`` and ``document`` are the document that runs, ``cursor`` the index of the verb that runs or runs next,
    ``pending`` what a verb waits for (for ``<Refer>``: its target and action), ``dialog`` the SIP dialog as plain data.
    """

    call_sid: str
    document_url: str
    document: bytes
    cursor: int
    pending: Mapping[str, str]
    dialog: Mapping[str, object]


class Journal(Protocol):
    """Keeps the position of each call at each verb boundary."""

    async def record(self, position: Position) -> None:
        """Keep *position* in place of the call's former one."""

    async def forget(self, call_sid: str) -> None:
        """The call is over and its last request delivered: drop its position."""
