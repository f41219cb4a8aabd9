"""Pure. The subscriber of RFC 6665 §4.1: one subscription, from the request that creates it to its end.

Owns states, Timer N and the lifetime, and says how a NOTIFY is answered. Does not own dialogs, matching, or what a body
means: that is the event package's. There is no refresh: the one package so far, ``refer``, needs none (RFC 3515 §2.4.7).
The state table is docs/spec/subscription.md.
"""

import logging
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from sipua.effects import Effect
from sipua.timers import TimerSet, Timing
from sipua.usage.subscription.package import EventPackage, NotifyInfo, Reading

log = logging.getLogger("sipua.usage")

T = TypeVar("T")

MAX_LIFETIME_S = 900.0  # a notifier may grant years; Asterisk, the most generous peer known, grants 600 s


class SubscriberState(StrEnum):
    """The states of RFC 6665 §4.1.2."""

    INIT = "init"
    NOTIFY_WAIT = "notify_wait"
    PENDING = "pending"
    ACTIVE = "active"
    TERMINATED = "terminated"


class EndCause(StrEnum):
    """Who or what ended a subscription."""

    NOTIFIER = "notifier"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    NO_NOTIFY = "no_notify"
    EXPIRED = "expired"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class AnswerNotify(Effect):
    """Answer the NOTIFY just received with ``status`` and ``headers`` (names and values), without body."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Delivered(Effect, Generic[T]):
    """The package read this from a NOTIFY."""

    payload: T


@dataclass(frozen=True, slots=True)
class Entered(Effect):
    """A NOTIFY moved the subscription to ``state``, pending or active."""

    state: SubscriberState


@dataclass(frozen=True, slots=True)
class Ended(Effect):
    """The subscription is over; ``reason`` is the notifier's own word for it, "" if it gave none."""

    cause: EndCause
    reason: str = ""


class Subscription(Generic[T]):
    """One subscription. *timers* may be shared with the machine that owns it; its timers there are ``N`` and ``expires``."""

    __slots__ = ("_cseq", "_latest_end", "_max_lifetime_s", "_package", "_timing", "expires_at", "state", "timers")

    def __init__(
        self,
        package: EventPackage[T],
        timing: Timing,
        timers: TimerSet | None = None,
        max_lifetime_s: float = MAX_LIFETIME_S,
    ) -> None:
        self.state = SubscriberState.INIT
        self.timers = TimerSet() if timers is None else timers
        self.expires_at: float | None = None
        """When the duration that the notifier granted runs out, None if it granted none yet."""
        self._package = package
        self._timing = timing
        self._max_lifetime_s = max_lifetime_s
        self._latest_end = math.inf
        self._cseq = 0

    @property
    def is_over(self) -> bool:
        """True once it has ended."""
        return self.state is SubscriberState.TERMINATED

    def sent(self, now: float) -> list[Effect]:
        """Note that the request goes out, for the first time or again with credentials: Timer N starts (RFC 6665 §4.1.2.4)."""
        if self.state in (SubscriberState.INIT, SubscriberState.NOTIFY_WAIT):
            self._enter(SubscriberState.NOTIFY_WAIT)
            self.timers.start("N", now + self._timing.timeout)
        return []

    def response(self, status: int, now: float, expires: int | None = None) -> list[Effect]:
        """Take a response to the request; *expires* (seconds) is its Expires header. An error ends all (RFC 6665 §4.1.2.1)."""
        if status >= 300:
            return self._end(EndCause.REFUSED)
        if status >= 200 and expires is not None and self.state is SubscriberState.NOTIFY_WAIT:
            self.expires_at = now + expires
        return []

    def unanswered(self) -> list[Effect]:
        """Note that no final response comes. A NOTIFY that came proves acceptance, so only a subscription without one ends."""
        return self._end(EndCause.UNANSWERED) if self.state is SubscriberState.NOTIFY_WAIT else []

    def drop(self) -> list[Effect]:
        """End it from our side, without a word to the notifier."""
        return self._end(EndCause.DROPPED)

    def shorten(self, now: float, within_s: float | None = None) -> None:
        """Give the notifier no more than *within_s* seconds from now on, 64*T1 when None, whatever it grants later.

        It has said all that it has to say, or nobody listens any more: a NOTIFY now and then must not keep the dialog for ever.
        """
        self._latest_end = min(self._latest_end, now + (self._timing.timeout if within_s is None else within_s))
        deadline = self.timers.deadline("expires")
        if deadline is not None:
            self.timers.start("expires", min(deadline, self._latest_end))

    def notify(self, info: NotifyInfo, now: float) -> list[Effect]:
        """Take a NOTIFY that belongs to this subscription: exactly one :class:`AnswerNotify` comes first."""
        if self.state in (SubscriberState.INIT, SubscriberState.TERMINATED):
            return [AnswerNotify(481)]
        if info.cseq < self._cseq:
            return [AnswerNotify(500)]  # RFC 3261 §12.2.2; a dialog layer refuses it before it comes here
        self._cseq = info.cseq
        reading = self._package.read(info.content_type, info.body)
        return [AnswerNotify(reading.answer, reading.headers), *self._take(info, reading, now)]

    def late(self, info: NotifyInfo, now: float) -> list[Effect]:
        """Take what a NOTIFY says that the dialog has answered already (500: overtaken by a later request)."""
        if self.state in (SubscriberState.INIT, SubscriberState.TERMINATED):
            return []
        return self._take(info, self._package.read(info.content_type, info.body), now)

    def _take(self, info: NotifyInfo, reading: Reading[T], now: float) -> list[Effect]:
        effects: list[Effect] = [] if reading.payload is None else [Delivered(reading.payload)]
        if info.is_terminated:
            return effects + self._end(EndCause.NOTIFIER, info.reason or "")
        self._extend(info.expires, now)
        # We diverge: RFC 6665 §4.1.3 demands a state; a missing or unknown one counts as active.
        state = SubscriberState.PENDING if info.state == "pending" else SubscriberState.ACTIVE
        if state is not self.state:
            self._enter(state)
            effects.append(Entered(state))
        return effects

    def _extend(self, expires: int | None, now: float) -> None:
        if expires is not None:
            self.expires_at = now + expires
        elif self.expires_at is None:
            self.expires_at = now + self._package.default_expires_s
        self.timers.stop("N")
        # 64*T1 of grace: the last NOTIFY may be sent at the last moment and be retransmitted until then.
        self.timers.start("expires", min(self.expires_at + self._timing.timeout, now + self._max_lifetime_s, self._latest_end))

    def tick(self, now: float) -> list[Effect]:
        """Handle the deadlines that have passed."""
        return [effect for name in self.timers.due(now) for effect in self.fire(name)]

    def fire(self, name: str) -> list[Effect]:
        """Handle the timer *name*; one that is not this machine's, or too late, has no effect."""
        if name == "N" and self.state is SubscriberState.NOTIFY_WAIT:
            return self._end(EndCause.NO_NOTIFY)
        if name == "expires":
            return self._end(EndCause.EXPIRED)
        return []

    def _end(self, cause: EndCause, reason: str = "") -> list[Effect]:
        if self.is_over:
            return []
        self._enter(SubscriberState.TERMINATED)
        return [Ended(cause, reason)]

    def _enter(self, state: SubscriberState) -> None:
        if state is not self.state:
            log.debug("subscription to %s: %s -> %s", self._package.event, self.state, state)
        self.state = state
        if self.is_over:
            self.timers.stop("N")
            self.timers.stop("expires")
