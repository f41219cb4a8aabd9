"""Pure. Provisional responses that the caller acknowledges (RFC 3262 §3; docs/spec/reliable-provisional.md, "As callee")."""

from dataclasses import dataclass
from enum import StrEnum

from sipua.effects import Effect
from sipua.message import RAck, Request
from sipua.timers import TimerSet, Timing

MAX_FIRST_RSEQ = 2**31 - 1
"""The first number is random from 1 to this (RFC 3262 §3): counting on never gets near the end of the 32 bits."""


OPTION = "100rel"


class ReliableUse(StrEnum):
    """When provisional responses are reliable: when the caller requires it, when it supports it, or never (then 420)."""

    REQUIRED = "required"
    SUPPORTED = "supported"
    NEVER = "never"


def wants_reliable(invite: Request, use: ReliableUse) -> bool:
    """Tell whether the 101 to 199 responses to *invite* are reliable (docs/spec/reliable-provisional.md, "When")."""
    if use is ReliableUse.NEVER:
        return False
    return OPTION in invite.require or (use is ReliableUse.SUPPORTED and OPTION in invite.supported)


class ReliableState(StrEnum):
    """States of the table."""

    IDLE = "idle"
    WAITING = "waiting"
    HOLDING = "holding"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class SendReliable(Effect):
    """Send the response *status* with the number *rseq*; *has_session*: it carries a session description. The same again: repeat it."""

    status: int
    rseq: int
    has_session: bool = False


@dataclass(frozen=True, slots=True)
class AnswerPrack(Effect):
    """Answer the PRACK with *status*."""

    status: int


@dataclass(frozen=True, slots=True)
class Release(Effect):
    """The 2xx may leave now."""


@dataclass(frozen=True, slots=True)
class Unacknowledged(Effect):
    """No PRACK came within 64*T1: the INVITE is to be refused with 5xx."""


class ReliableResponses:
    """The reliable provisional responses to the INVITE with the number *cseq*; the first of them has the number *first_rseq*."""

    def __init__(self, timing: Timing, cseq: int, first_rseq: int) -> None:
        self.state = ReliableState.IDLE
        self.timers = TimerSet()
        self._timing = timing
        self._cseq = cseq
        self._rseq = first_rseq - 1
        self._interval = timing.t1
        self._current: SendReliable | None = None  # without PRACK so far, after a final response, too
        self._next: tuple[int, bool] | None = None

    def send(self, status: int, now: float, *, has_session: bool = False) -> list[Effect]:
        """Send 101 to 199, at once or when the one before is acknowledged; of several that wait the newest is sent."""
        if self.state is ReliableState.WAITING:
            # a description that waits goes with whatever is sent in its place
            self._next = (status, has_session or (self._next is not None and self._next[1]))
            return []
        if self.state is not ReliableState.IDLE:
            return []
        self._rseq += 1
        self._interval = self._timing.t1
        self._current = SendReliable(status, self._rseq, has_session)
        self.state = ReliableState.WAITING
        self.timers.start("retransmit", now + self._interval)
        self.timers.start("prack", now + self._timing.timeout)
        return [self._current]

    def prack(self, rack: RAck, now: float) -> list[Effect]:
        """A PRACK came: 481 unless it acknowledges the response that waits for it."""
        current = self._current
        if current is None or rack != RAck(current.rseq, self._cseq, "INVITE"):
            return [AnswerPrack(481)]
        self._current = None
        self.timers.clear()
        answer = AnswerPrack(200)
        if self.state is ReliableState.HOLDING:
            self.state = ReliableState.DONE
            return [answer, Release()]
        if self.state is ReliableState.DONE:
            return [answer]
        self.state = ReliableState.IDLE
        if self._next is None:
            return [answer]
        (status, has_session), self._next = self._next, None
        return [answer, *self.send(status, now, has_session=has_session)]

    def accept(self) -> list[Effect]:
        """Our side wants to send the 2xx: it waits for the PRACK of a response that had a session description."""
        if self.state is ReliableState.WAITING and self._current is not None and self._current.has_session:
            self.state = ReliableState.HOLDING
            self._next = None
            return []
        if self.state is ReliableState.HOLDING:
            return []
        self.stop()
        return [Release()]

    def stop(self) -> None:
        """A final response leaves: nothing is repeated any more, a late PRACK is still answered."""
        self.state = ReliableState.DONE
        self._next = None
        self.timers.clear()

    def tick(self, now: float) -> list[Effect]:
        """Handle what is due."""
        due = self.timers.due(now)
        if "prack" in due:
            self.stop()
            return [Unacknowledged()]
        if "retransmit" not in due or self._current is None:
            return []
        self._interval *= 2  # without the limit T2 (RFC 3262 §3)
        self.timers.start("retransmit", now + self._interval)
        return [self._current]
