"""Pure. How far the outcome of a transfer can be relied on (``docs/spec/refer-outcomes.md``, "Confidence").

PBXs exist that report success before the target can have answered. Their reports are sound by the letter of RFC 3515; what gives them
away is time: nobody takes a call up in the instant in which the transfer is accepted, or in which the target begins to ring.
"""

from sipua.usage.subscription.outcome import Doubt, TransferKind

PROMPT_S = 0.2
"""A success sooner than this is doubted: early ones were seen up to 0.03 s, the first of a phone that answers by itself at 0.33 s."""

SILENT_FAILURE_S = 5.0
"""A 503 without any ringing after more than this is doubted: Asterisk also reports so that a silent target answered and has ended."""


_UNREPORTED = frozenset(
    {
        TransferKind.UNKNOWN,
        TransferKind.NO_RESPONSE,
        TransferKind.NOTIFY_TIMEOUT,
        TransferKind.NO_SUBSCRIPTION,
        TransferKind.DAEMON_RESTARTED,
    }
)
_ENDED_WITH_CALL = frozenset({TransferKind.PEER_HANGUP, TransferKind.LOCAL_HANGUP, TransferKind.CALL_LOST})


class Witness:
    """Keeps when one transfer was accepted, when it rang and when it was decided; times are in seconds of one clock."""

    __slots__ = ("_accepted_at", "_final_at", "_rings", "_rings_at", "may_have_arrived")

    def __init__(self) -> None:
        self._accepted_at: float | None = None
        self._rings = 0
        self._rings_at: float | None = None
        self._final_at: float | None = None
        self.may_have_arrived = False
        """Whether the peer may have got the REFER though its transport failed."""

    def accepted(self, now: float) -> None:
        """The REFER got a 2xx, or a NOTIFY proved that it was accepted; the first proof counts."""
        if self._accepted_at is None:
            self._accepted_at = now

    def reported(self, code: int, now: float) -> None:
        """A NOTIFY reported *code*. A provisional status that is merely repeated is no news, nor is 100."""
        self.accepted(now)
        if code >= 200:
            self._final_at = now
        elif code > 100 and code != self._rings:
            self._rings, self._rings_at = code, now

    def doubt(self, kind: TransferKind, refer_code: int, notify_code: int) -> Doubt:
        """Return what speaks against the outcome *kind*, with the codes of the outcome (0: none)."""
        if kind in _UNREPORTED or (kind is TransferKind.UNREACHABLE and self.may_have_arrived):
            return Doubt.NOT_REPORTED
        if kind in _ENDED_WITH_CALL:
            return Doubt.NONE if refer_code >= 300 else Doubt.NOT_REPORTED
        if self._final_at is None or self._accepted_at is None:
            return Doubt.NONE
        if kind is TransferKind.TRANSFERRED:
            if self._rings_at is not None:
                return Doubt.CUT_SHORT if self._final_at - self._rings_at < PROMPT_S else Doubt.NONE
            return Doubt.AT_ONCE if self._final_at - self._accepted_at < PROMPT_S else Doubt.NONE
        is_late = self._rings_at is None and self._final_at - self._accepted_at > SILENT_FAILURE_S
        return Doubt.LATE_503 if notify_code == 503 and is_late else Doubt.NONE
