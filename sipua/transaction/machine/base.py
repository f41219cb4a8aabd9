"""Pure. What the four transaction machines share: states, effects, and the one door through which states change.

The tables that they follow are in ``docs/spec/transactions.md``.
"""

from dataclasses import dataclass
from enum import StrEnum

from sipua.effects import Effect, Terminated
from sipua.message import Headers, Request, Response
from sipua.timers import TimerSet, Timing


class State(StrEnum):
    """States of RFC 3261 §17 and RFC 6026 §7; no machine has all of them."""

    INITIAL = "Initial"
    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    ACCEPTED = "Accepted"
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    TERMINATED = "Terminated"


class Failure(StrEnum):
    """Why a client transaction ended without a final response (RFC 3261 §8.1.3.1: they count as 408 and 503)."""

    TIMEOUT = "timeout"
    TRANSPORT = "transport"


@dataclass(frozen=True, slots=True)
class Transmit(Effect):
    """Send *message*; *repeat* tells a retransmission from a first copy."""

    message: Request | Response
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Deliver(Effect):
    """Hand *response* to the user of a client transaction."""

    response: Response


@dataclass(frozen=True, slots=True)
class DeliverAck(Effect):
    """Hand *request*, an ACK that belongs to a 2xx, to the user."""

    request: Request


@dataclass(frozen=True, slots=True)
class SendCancel(Effect):
    """Send the CANCEL of this INVITE in a transaction of its own (RFC 3261 §9.1)."""


@dataclass(frozen=True, slots=True)
class Failed(Effect):
    """Tell the user of a client transaction that no final response will come."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class NoAck(Effect):
    """Tell the user of an INVITE server transaction that its 300 to 699 response was never acknowledged (timer H)."""


def pack(response: Response) -> bytes:
    """Return what must be kept of *response* to send it again: as it went on the wire."""
    return response.encode()


def unpack(data: bytes) -> Response:
    """Return the response that was packed."""
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    _, status, reason = start.split(" ", 2)
    pairs = [line.partition(": ") for line in lines[:-1]]  # the last one is Content-Length
    return Response(int(status), reason, Headers([(name, value) for name, _, value in pairs]), body)


class TransactionMachine:
    """Base of the machines: ``state`` and ``timers``, both for reading only."""

    __slots__ = ("_reliable", "_timing", "state", "timers")

    def __init__(self, timing: Timing, *, reliable: bool) -> None:
        """*reliable*: the transport delivers or fails (TCP, TLS), so nothing is sent twice."""
        self._timing = timing
        self._reliable = reliable
        self.state = State.INITIAL
        self.timers = TimerSet()

    @property
    def is_terminated(self) -> bool:
        """True once nothing more will happen."""
        return self.state is State.TERMINATED

    def _enter(self, state: State) -> None:
        """Change the state; the end state stops all timers."""
        self.state = state
        if state is State.TERMINATED:
            self.timers.clear()

    def _rest(self, name: str) -> float | None:
        """Stop timer *name*, which somebody else looks after from now on, and return its deadline."""
        deadline = self.timers.deadline(name)
        self.timers.stop(name)
        return deadline

    def _end(self, *effects: Effect) -> list[Effect]:
        self._enter(State.TERMINATED)
        return [*effects, Terminated()]
