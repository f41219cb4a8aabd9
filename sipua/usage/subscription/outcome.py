"""Pure. The one result of a transfer, as a value (``docs/spec/refer-outcomes.md``)."""

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class TransferOutcome:
    """The result of one REFER, fixed once.

    ``refer_code`` is the final status of the REFER, ``notify_code`` the status that counted among those the NOTIFYs reported;
    0 means there is none. ``notified`` tells whether any NOTIFY of this REFER came, readable or not. ``detail`` is one printable line
    for people and logs. ``call_lost``: the peer no longer knows the call, so it is over although nobody hung up. ``retry_advised``:
    the peer was not ready yet, the same REFER may work a moment later.
    """

    kind: TransferKind
    refer_code: int = 0
    notify_code: int = 0
    notified: bool = False
    detail: str = ""
    call_lost: bool = False
    retry_advised: bool = False

    @property
    def is_accepted(self) -> bool:
        """True if the REFER got a 2xx or a NOTIFY proved that it was accepted."""
        return 200 <= self.refer_code < 300 or (self.notified and self.refer_code == 0)

    @property
    def is_success(self) -> bool:
        """True if the target answered, as far as the peer tells."""
        return self.kind is TransferKind.TRANSFERRED


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
