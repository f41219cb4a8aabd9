"""Pure. REFER as an event package, and the transferor's side of one transfer: one outcome, once (RFC 3515, 3420, 7647).

:class:`ReferTransfer` puts together the response to the REFER, its NOTIFYs and the end of the call it was sent in. It
does not own the dialog, authentication or repetition: a response that is followed by another try is not told to it.
The outcome and the end are two things: the subscription outlives both the outcome and the call, and its NOTIFYs are
answered until it ends. State table and timed outcomes: docs/spec/refer.md; outcomes: docs/spec/refer-outcomes.md.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sipua.effects import Effect, Terminated
from sipua.timers import TimerSet, Timing
from sipua.usage.subscription.confidence import Witness
from sipua.usage.subscription.machine import MAX_LIFETIME_S, AnswerNotify, Delivered, Ended, Subscription
from sipua.usage.subscription.outcome import DETAILS, TransferKind, TransferOutcome, kind_of_end, kind_of_notify, kind_of_refusal, reported
from sipua.usage.subscription.package import NotifyInfo
from sipua.usage.subscription.refer_package import ReferPackage
from sipua.usage.subscription.sipfrag import Sipfrag, parse_sipfrag

log = logging.getLogger("sipua.usage")

MAX_BYE_GRACE_S = 32.0  # the notifier's own NOTIFY transaction gives up then
_EXPIRY_GRACE_S = 4.0  # the NOTIFY that ends an expired subscription has to get here
_UNHEARD_S = 180.0  # after the outcome: late reports are answered while an honest target may ring, and then no dialog is kept for them
_TOO_EARLY_S = 1.0  # after the ACK: Asterisk refuses by NOTIFY 400 what reaches it before its bridge is up

PACKAGE = ReferPackage()
EndedBy = Literal["peer", "local"]


@dataclass(frozen=True, slots=True)
class ReferSettings:
    """How long a transfer waits, in seconds: for the next NOTIFY, and after the peer's BYE for a late one (0 to 32)."""

    notify_timeout_s: float = 180.0
    bye_grace_s: float = 2.0

    def __post_init__(self) -> None:
        if self.notify_timeout_s <= 0 or not 0 <= self.bye_grace_s <= MAX_BYE_GRACE_S:
            raise ValueError("notify_timeout_s must be above 0, bye_grace_s from 0 to 32")


class ReferState(StrEnum):
    """Where a transfer stands."""

    INIT = "init"
    SENT = "sent"
    HELD = "held"
    """The outcome is known, the call is over after a NOTIFY, or we ended it; the response to the REFER is still missing."""
    ACCEPTED = "accepted"
    LINGER = "linger"
    """The call is over; a last NOTIFY may still come."""
    REPORTED = "reported"
    """The outcome is out; the subscription lives on."""
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Progress(Effect):
    """A NOTIFY reported the provisional status ``code`` (100 to 199) before the outcome."""

    code: int


@dataclass(frozen=True, slots=True)
class Concluded(Effect):
    """The one outcome. Comes exactly once after the REFER was sent."""

    outcome: TransferOutcome


class ReferTransfer:
    """One transfer. The driver answers 481 itself once :meth:`matches` says no."""

    __slots__ = (
        "_confirmed_at",
        "_cseqs",
        "_detail",
        "_end",
        "_gone",
        "_has_id",
        "_is_answered",
        "_is_final",
        "_is_overdue",
        "_notified",
        "_notify_code",
        "_refer_code",
        "_sent_at",
        "_settings",
        "_subscription",
        "_timing",
        "_too_early",
        "_witness",
        "outcome",
        "state",
        "timers",
    )

    def __init__(self, settings: ReferSettings | None = None, timing: Timing | None = None, confirmed_at: float | None = None) -> None:
        """*confirmed_at* is the time of the call's ACK, None when that is not known."""
        self.state = ReferState.INIT
        self.timers = TimerSet()
        self.outcome: TransferOutcome | None = None
        """The outcome once it is fixed."""
        self._settings = settings or ReferSettings()
        self._timing = timing or Timing()
        self._confirmed_at = confirmed_at
        lifetime = max(MAX_LIFETIME_S, self._settings.notify_timeout_s)
        self._subscription = Subscription(PACKAGE, self._timing, self.timers, lifetime)
        self._cseqs: tuple[str, ...] = ()
        self._has_id: bool | None = None
        self._sent_at = 0.0
        self._is_answered = False
        self._is_overdue = False
        self._refer_code = 0
        self._notified = False
        self._notify_code = 0
        self._is_final = False
        self._end: Ended | None = None
        self._gone: TransferKind | None = None
        self._detail = ""
        self._too_early = False
        self._witness = Witness()

    @property
    def is_subscribed(self) -> bool:
        """True while a NOTIFY of this transfer may come: from sending until the subscription ends."""
        return self.state is not ReferState.INIT and not self._subscription.is_over

    @property
    def has_result(self) -> bool:
        """True once a NOTIFY brought a final status: what comes after it is of no interest to anybody."""
        return self._is_final

    @property
    def takes_no_id(self) -> bool:
        """True while a NOTIFY without Event id may be one of this transfer's."""
        return self.is_subscribed and not self._has_id

    @property
    def may_repeat(self) -> bool:
        """True while it makes sense to send the REFER again: the call is up, nobody has begun it, and its outcome was not told."""
        return self._gone is None and self.outcome is None and not self._notified

    def repeats(self, info: NotifyInfo) -> bool:
        """Tell whether *info* merely ends the subscription of a transfer that has its result: the same status again, or none."""
        if not self.has_result or not info.is_terminated:
            return False
        fragment = parse_sipfrag(info.content_type, info.body)
        return not isinstance(fragment, Sipfrag) or fragment.status == self._notify_code

    def matches(self, event_id: str | None, others: Sequence["ReferTransfer"] = (), info: NotifyInfo | None = None) -> bool:
        """Tell whether a NOTIFY of this dialog with that Event id (None: no id) belongs to this transfer (RFC 3515 §2.4.6).

        Any CSeq number used for the REFER counts, also that of a challenged one. *others*: all transfers of the dialog, oldest first,
        among which :func:`owner_without_id` chooses. The form of the first NOTIFY is demanded of the others (RFC 6665 §8.2.1).
        """
        if event_id is None:
            return owner_without_id(others or (self,), info) is self
        return self.is_subscribed and event_id in self._cseqs and self._has_id is not False

    def sent(self, cseq: int, now: float) -> list[Effect]:
        """Note that the REFER is sent with *cseq*, for the first time or again after a response that :meth:`refer_response` did not get."""
        if self.state not in (ReferState.INIT, ReferState.SENT, ReferState.HELD):
            return []
        self._cseqs = (*self._cseqs, str(cseq))
        self._sent_at = now
        if self.state is ReferState.INIT:
            self._enter(ReferState.SENT)
        return [*self._subscription.sent(now), *self._advance(now)]

    def refer_response(
        self, status: int, now: float, *, refer_sub_false: bool = False, expires: int | None = None, reason: str = ""
    ) -> list[Effect]:
        """Take the response to the REFER that counts; *expires* is its Expires header in seconds, *reason* a printable phrase.

        *refer_sub_false*: it has ``Refer-Sub: false`` (RFC 4488 §4).
        """
        if status < 200 or self.state in (ReferState.INIT, ReferState.TERMINATED) or self._is_answered:
            return []
        self._is_answered = True
        ends = self._subscription.response(status, now, expires)
        if status >= 300:
            # RFC 6665 §4.1.2.1: the error wins over NOTIFYs that came before it.
            self._note_end(ends)
            self._is_final = False
            self._notify_code = 0
            self._detail = f"REFER {status} {reason}".rstrip()
            # A challenge is not met any more once the call is over, so it is no refusal.
            unmet = self._gone if status in (401, 407) else None
            return self._conclude(unmet or kind_of_refusal(status), status, now)
        self._refer_code = status
        self._witness.accepted(now)
        if refer_sub_false and not self._notified:
            self._note_end(self._subscription.drop())
        self._arm_verb_timer(now)
        return self._advance(now)

    def refer_timeout(self, now: float) -> list[Effect]:
        """Note that Timer F fired: no final response to the REFER. Counts as 408 (RFC 3261 §8.1.3.1) unless a NOTIFY came."""
        return self._unanswered(TransferKind.NO_RESPONSE, 408, now)

    def refer_transport_error(self, now: float, *, may_have_arrived: bool = False) -> list[Effect]:
        """Note that the REFER, or its answer, got lost with its transport. Counts as 503 (RFC 3261 §8.1.3.1) unless a NOTIFY came."""
        self._witness.may_have_arrived = may_have_arrived
        return self._unanswered(TransferKind.UNREACHABLE, 503, now)

    def _unanswered(self, kind: TransferKind, status: int, now: float) -> list[Effect]:
        if self.state in (ReferState.INIT, ReferState.TERMINATED) or self._is_answered:
            return []
        self._is_answered = True
        self._note_end(self._subscription.unanswered())
        return self._advance(now) if self._notified else self._conclude(kind, status, now)

    def notify(self, info: NotifyInfo, now: float) -> list[Effect]:
        """Take a NOTIFY of this transfer. The first effect is its answer."""
        if self.state is ReferState.TERMINATED:
            return []
        if self.is_subscribed and self._has_id is None:
            self._has_id = info.event_id is not None
        effects = self._subscription.notify(info, now)
        answer = effects[0]
        if isinstance(answer, AnswerNotify) and answer.status in (481, 500):
            return effects
        return self._digest(effects, info, now)

    def late_notify(self, info: NotifyInfo, now: float) -> list[Effect]:
        """Take a NOTIFY that was answered 500 only because a later request (BYE) overtook it (RFC 3261 §12.2.2).

        Its result counts if none is known; a provisional one merely proves acceptance. There is no answer among the effects.
        """
        if not self.is_subscribed:
            return []
        effects = self._subscription.late(info, now)
        if self._notify_code:  # a provisional status that comes late is older than the one known
            effects = [effect for effect in effects if not (isinstance(effect, Delivered) and effect.payload.status < 200)]
        return self._digest(effects, info, now)

    def _digest(self, effects: list[Effect], info: NotifyInfo, now: float) -> list[Effect]:
        """Turn what the subscription says of a NOTIFY into what the transfer says."""
        out: list[Effect] = []
        if self.outcome is None:
            self._notified = True
        for effect in effects:
            if isinstance(effect, AnswerNotify):
                out.append(effect)
            elif isinstance(effect, Delivered) and not self._is_final and self.outcome is None:
                self._witness.reported(effect.payload.status, now)
                out += self._learn(effect.payload, info)
        self._note_end(effects)
        if self._is_final or self._end is not None:
            self._subscription.shorten(now)
            self.timers.stop("verb")
        else:
            self._arm_verb_timer(now, restart=True)
        return out + self._advance(now)

    def _learn(self, fragment: Sipfrag, info: NotifyInfo) -> list[Effect]:
        former, code = self._notify_code, fragment.status
        self._notify_code = code
        self._detail = reported(code, fragment.reason)
        if code < 200:
            return [Progress(code)]
        # A redirection may still be followed by the peer, unless it says that it is done or is too simple to say so.
        self._is_final = not 300 <= code < 400 or info.is_terminated or info.state is None
        self._too_early = code == 400 and info.is_terminated and former <= 100 and self._was_sent_early
        return []

    @property
    def _was_sent_early(self) -> bool:
        """True if the REFER left so soon after the ACK that the peer may not have been ready, whenever its NOTIFY comes."""
        return self._confirmed_at is not None and self._sent_at - self._confirmed_at < _TOO_EARLY_S

    def call_ended(self, by: EndedBy, now: float) -> list[Effect]:
        """Note that the call is over: a BYE came (*by* "peer") or we sent one ("local")."""
        return self._leave(TransferKind.PEER_HANGUP if by == "peer" else TransferKind.LOCAL_HANGUP, now)

    def call_lost(self, now: float) -> list[Effect]:
        """Note that the peer answered another request in the call with 481 or 408 or not at all."""
        return self._leave(TransferKind.CALL_LOST, now)

    def _leave(self, kind: TransferKind, now: float) -> list[Effect]:
        if self._gone is None:
            self._gone = kind
        return self._advance(now)

    def tick(self, now: float) -> list[Effect]:
        """Handle the deadlines that have passed."""
        return [effect for name in self.timers.due(now) for effect in self._fire(name, now)]

    def _fire(self, name: str, now: float) -> list[Effect]:
        if name in ("N", "expires"):
            self._note_end(self._subscription.fire(name))
            if not self._is_answered and not self._notified:
                return self._unanswered(TransferKind.NO_RESPONSE, 408, now)  # F and N are due at the same moment
            return self._advance(now)
        if self.outcome is not None:
            return []
        if name == "T4":
            self._is_overdue = True  # a NOTIFY came: accepted, even if the response is lost; or we hung up and have waited enough
            return self._advance(now)
        return self._conclude(self._gone or TransferKind.NOTIFY_TIMEOUT, self._refer_code, now)

    def _advance(self, now: float) -> list[Effect]:
        """Go where what is known by now leads."""
        if self.state in (ReferState.INIT, ReferState.TERMINATED):
            return []
        if self.outcome is not None:
            return self._finish()
        end = self._end
        if not self._is_answered and not self._is_overdue:
            is_over = self._gone is TransferKind.LOCAL_HANGUP or (self._gone is not None and self._notified)
            if self.state is ReferState.SENT and (self._is_final or end is not None or is_over):
                self._enter(ReferState.HELD)
                self.timers.start("T4", now + self._timing.t4)
            return []
        if self._is_final:
            return self._conclude(kind_of_notify(self._notify_code), self._refer_code, now)
        if end is not None:
            return self._conclude(self._gone or kind_of_end(end.cause), self._refer_code, now)
        if self._gone is TransferKind.LOCAL_HANGUP:
            return self._conclude(self._gone, self._refer_code, now)
        if self._gone is None:
            self._enter(ReferState.ACCEPTED)
        elif self.state is not ReferState.LINGER:
            self._enter(ReferState.LINGER)
            self.timers.start("linger", now + self._settings.bye_grace_s)
        return []

    def _arm_verb_timer(self, now: float, *, restart: bool = False) -> None:
        """Bound the wait for the outcome: the granted duration and Timer N, at most the setting after the last NOTIFY."""
        if self.outcome is not None or self._subscription.is_over or ("verb" in self.timers and not restart):
            return
        deadline = now + self._settings.notify_timeout_s
        if self._notified and self._subscription.expires_at is not None:
            granted = self._subscription.expires_at + _EXPIRY_GRACE_S
            deadline = min(deadline, max(granted, self._sent_at + self._timing.timeout))
        self.timers.start("verb", deadline)

    def _note_end(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Ended):
                self._end = effect

    def _conclude(self, kind: TransferKind, refer_code: int, now: float) -> list[Effect]:
        if self.outcome is not None:
            return self._finish()
        detail = self._detail if self._is_final or (refer_code >= 300 and self._detail) else DETAILS.get(kind, self._detail)
        if kind is TransferKind.UNKNOWN and self._end is not None and self._end.reason:
            detail += f" ({self._end.reason})"
        self.outcome = TransferOutcome(
            kind=kind,
            refer_code=refer_code,
            notify_code=self._notify_code,
            notified=self._notified,
            detail=detail,
            call_lost=kind is TransferKind.CALL_LOST,
            retry_advised=self._is_final and self._too_early and self._gone is None,
            doubt=self._witness.doubt(kind, refer_code, self._notify_code),
        )
        for name in ("verb", "linger", "T4"):
            self.timers.stop(name)
        self._subscription.shorten(now, _UNHEARD_S)
        self._enter(ReferState.REPORTED)
        return [Concluded(self.outcome), *self._finish()]

    def _finish(self) -> list[Effect]:
        if not self._subscription.is_over:
            return []
        self._enter(ReferState.TERMINATED)
        return [Terminated()]

    def _enter(self, state: ReferState) -> None:
        if state is not self.state:
            log.debug("transfer: %s -> %s", self.state, state)
        self.state = state
        if state is not ReferState.HELD:
            self.timers.stop("T4")
        if state is ReferState.TERMINATED:
            self.timers.clear()


def owner_without_id(transfers: Sequence[ReferTransfer], info: NotifyInfo | None = None) -> ReferTransfer | None:
    """Return whose a NOTIFY without Event id is; *transfers* are all of one dialog, oldest first.

    The oldest without a final status has it, also when its outcome is out already: its late result must not pass for that of the next.
    One that has its final status only takes it if no other may, or if the NOTIFY, *info*, ends a subscription with that very status:
    peers that never write an id may not end their subscriptions either.
    """
    takers = [transfer for transfer in transfers if transfer.takes_no_id]
    if len(takers) < 2:
        return takers[0] if takers else None
    if info is not None and (ended := next((transfer for transfer in takers if transfer.repeats(info)), None)) is not None:
        return ended
    return next((transfer for transfer in takers if not transfer.has_result), next(iter(takers), None))
