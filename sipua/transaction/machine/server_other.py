"""Pure. The server transaction of every method but INVITE and ACK (RFC 3261 §17.2.2, RFC 4320)."""

from sipua.effects import Effect
from sipua.message import Request, Response, make_response
from sipua.remembered import remembered
from sipua.timers import Timing
from sipua.transaction.machine.base import State, TransactionMachine, Transmit, pack, unpack

TRYING = "100"
"""The timer without a letter: over UDP a 100 is due, and allowed, when the client's timer E has reached T2 (RFC 4320 §4.1)."""
LATE = "late"
"""The timer without a letter: when the client's timer F has fired no response is sent any more (RFC 4320 §4.2)."""


def trying_delay(timing: Timing) -> float:
    """Return the seconds from a request until its client's timer E has reached T2: 0.5 + 1 + 2 with the default times."""
    return _until_t2(timing.t1, timing.t2)


@remembered(16)
def _until_t2(t1: float, t2: float) -> float:
    delay, interval = 0.0, t1
    while interval < t2:
        delay += interval
        interval *= 2
    return delay


class OtherServer(TransactionMachine):
    """Answers one request and absorbs its retransmissions. A response that can't be sent does not end it."""

    __slots__ = ("_may_try", "_request", "_response")

    def __init__(self, request: Request, timing: Timing, *, reliable: bool) -> None:
        super().__init__(timing, reliable=reliable)
        self._request: Request | None = request
        self._response: bytes | None = None
        self._may_try = reliable

    def start(self, now: float) -> list[Effect]:
        """Begin with the first copy of the request. Raises RuntimeError when called twice."""
        if self.state is not State.INITIAL:
            raise RuntimeError("started twice")
        self._enter(State.TRYING)
        if not self._reliable:
            self.timers.start(TRYING, now + trying_delay(self._timing))
        self.timers.start(LATE, now + self._timing.timeout)
        return []

    @property
    def is_answered(self) -> bool:
        """True once a final response was given, or it is too late for one."""
        return self.state not in (State.INITIAL, State.TRYING, State.PROCEEDING)

    def receive(self, request: Request, now: float) -> list[Effect]:  # noqa: ARG002  # all inputs take the same
        """Handle a retransmitted request: send again what was sent last."""
        if self._response is None or self.is_terminated:
            return []
        return [Transmit(unpack(self._response), repeat=True)]

    def respond(self, response: Response, now: float) -> list[Effect]:
        """Send a response of the user; what the state forbids is discarded (no effects).

        RFC 4320 forbids every provisional response but 100, a 100 before its time over UDP, and 408.
        """
        if self.state not in (State.TRYING, State.PROCEEDING):
            return []
        if response.is_provisional:
            if response.status != 100 or not self._may_try:
                return []
            self._response = pack(response)
            self._enter(State.PROCEEDING)
            return [Transmit(response)]
        silent = response.status == 408
        self._request = None
        self._response = None if silent or self._reliable else pack(response)
        effects: list[Effect] = [] if silent else [Transmit(response)]
        self.timers.clear()
        if self._reliable:  # timer J is zero
            return self._end(*effects)
        self._enter(State.COMPLETED)
        self.timers.start("J", now + self._timing.timeout)
        return effects

    def rest(self) -> tuple[float, bytes | None] | None:
        """Give up timer J in Completed: return its deadline and what a repetition gets until then; None in any other state."""
        deadline = self._rest("J") if self.state is State.COMPLETED else None
        return None if deadline is None else (deadline, self._response)

    def tick(self, now: float) -> list[Effect]:
        """Handle the timers that are due at *now*."""
        due = self.timers.due(now)
        if "J" in due or LATE in due:
            return self._end()
        if TRYING in due and self._request is not None:
            self._may_try = True
            return self.respond(make_response(self._request, 100), now)
        return []
