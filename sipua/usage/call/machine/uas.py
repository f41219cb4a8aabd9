"""Pure. The first INVITE of a call that comes in (docs/spec/invite.md, "Incoming INVITE")."""

from enum import StrEnum

from sipua.effects import Effect
from sipua.timers import TimerSet, Timing
from sipua.usage.call.machine.ackwait import AckWait
from sipua.usage.call.machine.effects import Confirmed, EndedBy, Over, Respond, SendBye

PROGRESS_INTERVAL_S = 60.0
"""A 1xx is repeated every minute so that proxies keep the transaction (RFC 3261 §13.3.1.1)."""


class IncomingState(StrEnum):
    """States of the table."""

    RECEIVED = "received"
    RINGING = "ringing"
    ACCEPTED = "accepted"
    CLOSING = "closing"
    CONFIRMED = "confirmed"
    ENDED = "ended"


_UNANSWERED = (IncomingState.RECEIVED, IncomingState.RINGING)
_WAITING = (IncomingState.ACCEPTED, IncomingState.CLOSING)


class IncomingInvite:
    """Answers one INVITE; every input returns its effects."""

    __slots__ = ("_progress", "_timing", "_wait", "state", "timers")

    def __init__(self, timing: Timing) -> None:
        self.state = IncomingState.RECEIVED
        self.timers = TimerSet()
        self._timing = timing
        self._wait: AckWait | None = None
        self._progress = 180

    def ring(self, status: int, now: float) -> list[Effect]:
        """Send a provisional answer (101 to 199)."""
        if self.state not in _UNANSWERED:
            return []
        self._enter(IncomingState.RINGING)
        self._progress = status
        self.timers.start("progress", now + PROGRESS_INTERVAL_S)
        return [Respond(status)]

    def accept(self, now: float) -> list[Effect]:
        """Send 200 and wait for the ACK."""
        if self.state not in _UNANSWERED:
            return []
        self._enter(IncomingState.ACCEPTED)
        self.timers.clear()
        self._wait = AckWait(self._timing, self.timers)
        return self._wait.start(now)

    def reject(self, status: int, reason: str | None = None) -> list[Effect]:
        """Refuse with 300 to 699."""
        if self.state not in _UNANSWERED:
            return []
        self._enter(IncomingState.ENDED)
        return [Respond(status, reason), Over(EndedBy.LOCAL)]

    def unacknowledged(self) -> list[Effect]:
        """No PRACK came for a reliable provisional response (RFC 3262 §3)."""
        if self.state not in _UNANSWERED:
            return []
        self._enter(IncomingState.ENDED)
        return [Respond(504), Over(EndedBy.NO_ACK)]

    def expire_after(self, seconds: float, now: float) -> None:
        """The caller waits no longer than *seconds* for a final answer (RFC 3261 §13.3.1)."""
        if self.state in _UNANSWERED:
            self.timers.start("expires", now + seconds)

    def cancel(self) -> list[Effect]:
        """CANCEL came; after a final answer it has no effect (RFC 3261 §9.2)."""
        return self._given_up_by_peer() if self.state in _UNANSWERED else []

    def bye(self) -> list[Effect]:
        """BYE came; in the early dialog the INVITE gets 487 (RFC 3261 §15.1.2)."""
        if self.state in _UNANSWERED:
            return self._given_up_by_peer()
        if self.state is IncomingState.ENDED:
            return []
        self._enter(IncomingState.ENDED)
        return [Over(EndedBy.PEER)]

    def ack(self) -> list[Effect]:
        """The ACK for the 200 came."""
        if self.state is IncomingState.ACCEPTED and self._wait is not None:
            self._enter(IncomingState.CONFIRMED)
            wait, self._wait = self._wait, None
            return wait.acked()
        if self.state is IncomingState.CLOSING:
            self._enter(IncomingState.ENDED)
            return [Confirmed(), SendBye(), Over(EndedBy.LOCAL)]
        return []

    def hangup(self, status: int = 480) -> list[Effect]:
        """Our side wants the end; an unanswered INVITE gets *status*."""
        if self.state in _UNANSWERED:
            return self.reject(status)
        if self.state is IncomingState.ACCEPTED:
            # RFC 3261 §15: a callee sends no BYE before the ACK
            self._enter(IncomingState.CLOSING)
            return []
        if self.state is IncomingState.CONFIRMED:
            self._enter(IncomingState.ENDED)
            return [SendBye(), Over(EndedBy.LOCAL)]
        return []

    def lost(self) -> list[Effect]:
        """The peer has lost the dialog, or the transport is gone for good."""
        if self.state is IncomingState.CONFIRMED or self.state in _WAITING:
            self._enter(IncomingState.ENDED)
            return [SendBye(), Over(EndedBy.LOST)]
        return []

    def expired(self) -> list[Effect]:
        """The session timer has run out (RFC 4028 §10); it runs from the ACK on."""
        if self.state is not IncomingState.CONFIRMED:
            return []
        self._enter(IncomingState.ENDED)
        return [SendBye(), Over(EndedBy.EXPIRED)]

    def abandon(self) -> list[Effect]:
        """The agent closes: an ACK that is missing can't be waited for, so BYE leaves without it (docs/spec/invite.md)."""
        if self.state not in _WAITING:
            return []
        self._enter(IncomingState.ENDED)
        return [Confirmed(), SendBye(), Over(EndedBy.LOCAL)]

    def tick(self, now: float) -> list[Effect]:
        """Handle what is due."""
        effects: list[Effect] = []
        for name in self.timers.due(now):
            if name == "expires":
                return [*effects, *self._given_up_by_peer()]
            if name == "progress":
                effects += self.ring(self._progress, now)
            elif name == "ack":
                by = EndedBy.LOCAL if self.state is IncomingState.CLOSING else EndedBy.NO_ACK
                self._enter(IncomingState.ENDED)
                return [*effects, Confirmed(), SendBye(), Over(by)]
            elif name == "retransmit" and self._wait is not None:
                effects += self._wait.repeat(now)
        return effects

    def _given_up_by_peer(self) -> list[Effect]:
        self._enter(IncomingState.ENDED)
        return [Respond(487), Over(EndedBy.PEER)]

    def _enter(self, state: IncomingState) -> None:
        self.state = state
        if state is IncomingState.ENDED:
            self.timers.clear()
