"""Pure. The one result of a transfer, as a value (``docs/spec/refer-outcomes.md``)."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from sipua.remembered import remembered
from sipua.usage.subscription.machine import EndCause


class TransferKind(StrEnum):
    """What became of a transfer, in one word."""

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


class Doubt(StrEnum):
    """Why an outcome is not to be relied on; ``NONE``: nothing speaks against it."""

    NONE = ""
    AT_ONCE = "at_once"
    """Success in the instant in which the transfer was accepted, without any ringing."""
    CUT_SHORT = "ringing_cut_short"
    """Success in the instant in which ringing was reported."""
    LATE_503 = "late_503"
    """503 without any ringing, long after the transfer was accepted."""
    NOT_REPORTED = "not_reported"
    """The REFER may have been carried out, and nobody has told with what result."""


DETAILS = MappingProxyType(
    {
        TransferKind.UNKNOWN: "the peer ended the subscription without a result",
        TransferKind.NO_RESPONSE: "no response to the REFER",
        TransferKind.UNREACHABLE: "the REFER could not be sent",
        TransferKind.CALL_LOST: "the peer does not know the call any more",
        TransferKind.PEER_HANGUP: "the peer hung up before the result came",
        TransferKind.LOCAL_HANGUP: "we hung up before the result came",
        TransferKind.NOTIFY_TIMEOUT: "no result came in time",
        TransferKind.NO_SUBSCRIPTION: "the peer accepted without reporting the result",
    }
)
"""What outcomes without a status say for people and logs."""


@dataclass(frozen=True, slots=True)
class TransferOutcome:
    """The result of one REFER, fixed once.

    ``refer_code`` is the final status of the REFER, ``notify_code`` the status that counted among those the NOTIFYs reported;
    0 means there is none. ``notified`` tells whether any NOTIFY of this REFER came, readable or not. ``detail`` is one printable line
    for people and logs. ``call_lost``: the peer no longer knows the call, so it is over although nobody hung up. ``retry_advised``:
    the peer was not ready yet, the same REFER may work a moment later. ``doubt``: why the outcome is not to be relied on.
    """

    kind: TransferKind
    refer_code: int = 0
    notify_code: int = 0
    notified: bool = False
    detail: str = ""
    call_lost: bool = False
    retry_advised: bool = False
    doubt: Doubt = Doubt.NONE

    @property
    def is_accepted(self) -> bool:
        """True if the REFER got a 2xx or a NOTIFY proved that it was accepted."""
        return 200 <= self.refer_code < 300 or (self.notified and self.refer_code == 0)

    @property
    def is_unsent(self) -> bool:
        """True if the call was over before the REFER could be sent."""
        return self.kind is TransferKind.CALL_LOST and not self.call_lost

    @property
    def is_success(self) -> bool:
        """True if the target answered, as far as the peer tells."""
        return self.kind is TransferKind.TRANSFERRED


_ENDS = MappingProxyType(
    {
        EndCause.NOTIFIER: TransferKind.UNKNOWN,
        EndCause.DROPPED: TransferKind.NO_SUBSCRIPTION,
        EndCause.NO_NOTIFY: TransferKind.NOTIFY_TIMEOUT,
        EndCause.EXPIRED: TransferKind.NOTIFY_TIMEOUT,
    }
)


def kind_of_end(cause: EndCause) -> TransferKind:
    """Return what the end of a subscription says whose transfer has no result."""
    return _ENDS.get(cause, TransferKind.UNKNOWN)


def kind_of_notify(code: int) -> TransferKind:
    """Return what the final status *code* (200 to 699) in a NOTIFY says."""
    if code < 300:
        return TransferKind.TRANSFERRED
    if code in (486, 600):
        return TransferKind.BUSY
    if code == 487:
        return TransferKind.NO_ANSWER
    return TransferKind.DECLINED if code == 603 else TransferKind.FAILED


def kind_of_refusal(status: int) -> TransferKind:
    """Return what the response *status* (300 to 699) to a REFER says that is not repeated any more."""
    if status in (401, 407):
        return TransferKind.UNAUTHENTICATED
    # RFC 5057 §5.1: the peer has lost the dialog, and the call with it.
    return TransferKind.CALL_LOST if status == 481 else TransferKind.REJECTED


@remembered(64)
def reported(code: int, reason: str) -> str:
    """Return in words what a NOTIFY said: one text for the many calls that wait after the same report."""
    return f"NOTIFY {code} {reason}".rstrip()
