"""Pure. The INVITE of a call that goes out (docs/spec/invite.md, "Outgoing INVITE")."""

from enum import StrEnum

from sipua.effects import Effect
from sipua.timers import TimerSet
from sipua.usage.call.machine.effects import Ack, Bye, Cancel, EndedBy, Established, Failed, Over, Progress, SendBye

MAX_SURPLUS = 32
"""Forks that are acknowledged and ended beside the call's: a callee has some devices, not hundreds."""


class OutgoingState(StrEnum):
    """States of the table."""

    CALLING = "calling"
    PROCEEDING = "proceeding"
    CANCELING = "canceling"
    CONFIRMED = "confirmed"
    ENDED = "ended"


class OutgoingInvite:
    """Follows one INVITE through forks, cancellation and its race; *ring_limit_s* is how long it may ring."""

    def __init__(self, ring_limit_s: float) -> None:
        self.state = OutgoingState.CALLING
        self.timers = TimerSet()
        self._ring_limit_s = ring_limit_s
        self._tag: str | None = None  # of the fork whose dialog is the call's
        self._surplus: set[str] = set()  # tags of the forks that have their BYE

    def provisional(self, status: int, tag: str, now: float) -> list[Effect]:
        """A 1xx came; the limit on ringing starts with the first one, 100 included, which stops timer B (RFC 3261 §17.1.1.2)."""
        if self.state is OutgoingState.CALLING:
            self._enter(OutgoingState.PROCEEDING)
            self.timers.start("ring", now + self._ring_limit_s)
        return [Progress(status, tag)] if self.state is OutgoingState.PROCEEDING and status > 100 else []

    def ignores(self, tag: str) -> bool:
        """Tell whether a 2xx of the fork *tag* is one too many: it gets no ACK, so that fork ends itself (RFC 3261 §13.3.1.4)."""
        is_known = tag == self._tag or tag in self._surplus
        return not is_known and len(self._surplus) >= MAX_SURPLUS

    def success(self, tag: str) -> list[Effect]:
        """A 2xx came, the first, a repeated one, or that of another fork (RFC 3261 §13.2.2.4)."""
        if self.state in (OutgoingState.CALLING, OutgoingState.PROCEEDING):
            self._tag = tag
            self._enter(OutgoingState.CONFIRMED)
            return [Ack(tag), Established(tag)]
        if tag == self._tag or tag in self._surplus:
            return [Ack(tag)]
        if self.ignores(tag):
            return []
        self._surplus.add(tag)
        if self.state is OutgoingState.CANCELING:
            # the 2xx won the race against CANCEL (RFC 3261 §9.1)
            self._enter(OutgoingState.ENDED)
            return [Ack(tag), Bye(tag), Failed(487)]
        return [Ack(tag), Bye(tag)]

    def failure(self, status: int, reason: str | None = None) -> list[Effect]:
        """A final response other than 2xx, a time-out (408) or a transport error (503)."""
        if self.state in (OutgoingState.CONFIRMED, OutgoingState.ENDED):
            return []
        self._enter(OutgoingState.ENDED)
        return [Failed(status, reason)]

    def cancel(self) -> list[Effect]:
        """Our side has lost interest."""
        if self.state not in (OutgoingState.CALLING, OutgoingState.PROCEEDING):
            return []
        self._enter(OutgoingState.CANCELING)
        return [Cancel()]

    def bye(self) -> list[Effect]:
        """BYE came."""
        return self._over(EndedBy.PEER)

    def hangup(self) -> list[Effect]:
        """Our side wants the end of the established call."""
        over = self._over(EndedBy.LOCAL)
        return [SendBye(), *over] if over else []

    def lost(self) -> list[Effect]:
        """The peer has lost the dialog."""
        over = self._over(EndedBy.LOST)
        return [SendBye(), *over] if over else []

    def expired(self) -> list[Effect]:
        """The session timer has run out (RFC 4028 §10)."""
        over = self._over(EndedBy.EXPIRED)
        return [SendBye(), *over] if over else []

    def tick(self, now: float) -> list[Effect]:
        """Handle what is due."""
        return self.cancel() if "ring" in self.timers.due(now) else []

    def _over(self, by: EndedBy) -> list[Effect]:
        if self.state is not OutgoingState.CONFIRMED:
            return []
        self._enter(OutgoingState.ENDED)
        return [Over(by)]

    def _enter(self, state: OutgoingState) -> None:
        self.state = state
        if state is not OutgoingState.PROCEEDING:
            self.timers.clear()
