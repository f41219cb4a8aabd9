"""Pure. The session timer of a confirmed call: when to refresh, when it has expired (RFC 4028 §10, docs/spec/session-timer.md)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sipua.effects import Effect
from sipua.timers import TimerSet
from sipua.usage.call.machine.interval import Terms

MAX_MARGIN_S: Final = 32.0
"""How long before the end of the interval the call is hung up, or a third of it if that is less (RFC 4028 §10)."""

MAX_RETRIES: Final = 4
"""Refreshes after one that was refused: a peer that refuses more often means it (RFC 4028 §10)."""


class RefreshState(StrEnum):
    """States of the table."""

    OFF = "off"
    OURS = "ours"
    REFRESHING = "refreshing"
    THEIRS = "theirs"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class SendRefresh(Effect):
    """Send UPDATE or re-INVITE, and report its end by :meth:`SessionTimer.finished`."""


@dataclass(frozen=True, slots=True)
class Expired(Effect):
    """Nobody has refreshed the session: end the call."""


class SessionTimer:
    """The timers ``refresh`` and ``expiry`` of one call. At most one refresh of ours is under way."""

    def __init__(self) -> None:
        self.state = RefreshState.OFF
        self.timers = TimerSet()
        self.terms: Terms | None = None
        self.is_wanted = False
        """True while the refresh that is under way has not become needless: any accepted INVITE or UPDATE does that."""
        self._agreed_at = 0.0
        self._retries = 0

    @property
    def expires_at(self) -> float | None:
        """When the call is hung up unless somebody refreshes, None without a timer."""
        return self.timers.deadline("expiry")

    def agreed(self, terms: Terms | None, now: float) -> list[Effect]:
        """A 2xx to an INVITE or UPDATE of either side has set *terms* at *now*; None switches the timer off (RFC 4028 §7.2)."""
        if self.state is RefreshState.ENDED:
            return []
        self.timers.clear()
        self.terms, self._agreed_at, self._retries = terms, now, 0
        self.is_wanted = False
        if terms is not None:
            self.timers.start("expiry", now + terms.expires_s - min(MAX_MARGIN_S, terms.expires_s / 3))
        if self.state is not RefreshState.REFRESHING:
            self._resume()
        return []

    def finished(self, now: float, retry_s: float | None = None) -> list[Effect]:
        """Our refresh is over. If it was not accepted, :meth:`agreed` was not called, and it is tried again before the end of the session:

        after *retry_s* seconds, else at half of the time that is left.
        """
        if self.state is not RefreshState.REFRESHING:
            return []
        if not self.is_wanted:
            self._resume()
            return []
        self.is_wanted = False
        self.state = RefreshState.OURS
        self._retries += 1
        expires_at = self.expires_at
        if expires_at is not None and self._retries <= MAX_RETRIES:
            at = now + ((expires_at - now) / 2 if retry_s is None else retry_s)
            if at < expires_at:
                self.timers.start("refresh", at)
        return []

    def stop(self) -> list[Effect]:
        """The call is over."""
        self.state = RefreshState.ENDED
        self.timers.clear()
        return []

    def tick(self, now: float) -> list[Effect]:
        """Handle what is due."""
        due = self.timers.due(now)
        if "expiry" in due:
            self.stop()
            return [Expired()]
        if "refresh" in due:
            self.state = RefreshState.REFRESHING
            self.is_wanted = True
            return [SendRefresh()]
        return []

    def _resume(self) -> None:
        """Go on by the terms: nothing of ours is under way."""
        if self.terms is None:
            self.state = RefreshState.OFF
        elif self.terms.is_ours:
            self.state = RefreshState.OURS
            self.timers.start("refresh", self._agreed_at + self.terms.expires_s / 2)
        else:
            self.state = RefreshState.THEIRS
