"""Pure. The INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1).

It repeats 300 to 699 responses; repeating a 2xx until its ACK comes is the user's task (RFC 3261 §13.3.1.4).
"""

from sipua.effects import Effect
from sipua.message import Request, Response, make_response
from sipua.timers import Timing
from sipua.transaction.machine.base import DeliverAck, NoAck, State, TransactionMachine, Transmit, pack, unpack

TRYING = "100"
"""The timer without a letter: a 100 goes out when the user is silent for 200 ms (RFC 3261 §17.2.1)."""
TRYING_DELAY = 0.4
"""200 ms in units of T1."""


class InviteServer(TransactionMachine):
    """Answers one INVITE and absorbs its retransmissions. A response that can't be sent does not end it (RFC 6026 §7.1)."""

    __slots__ = ("_final", "_interval", "_provisional", "_request")

    def __init__(self, request: Request, timing: Timing, *, reliable: bool) -> None:
        super().__init__(timing, reliable=reliable)
        self._request: Request | None = request
        self._provisional: Response | None = None
        self._final: bytes | None = None
        self._interval = timing.t1

    def start(self, now: float) -> list[Effect]:
        """Begin with the first copy of the INVITE. Raises RuntimeError when called twice."""
        if self.state is not State.INITIAL:
            raise RuntimeError("started twice")
        self._enter(State.PROCEEDING)
        self.timers.start(TRYING, now + TRYING_DELAY * self._timing.t1)
        return []

    @property
    def is_answered(self) -> bool:
        """True once a final response was given."""
        return self.state not in (State.INITIAL, State.PROCEEDING)

    def receive(self, request: Request, now: float) -> list[Effect]:
        """Handle a retransmitted INVITE or an ACK that matches this transaction."""
        if request.method == "ACK":
            return self._acknowledged(request, now)
        if self.state is State.PROCEEDING and self._provisional is not None:
            return [Transmit(self._provisional, repeat=True)]
        if self.state is State.COMPLETED:
            return self._repeat_final()
        return []

    def _acknowledged(self, ack: Request, now: float) -> list[Effect]:
        if self.state is State.ACCEPTED:
            return [DeliverAck(ack)]
        if self.state is not State.COMPLETED:
            return []
        self._final = None
        self.timers.clear()
        if self._reliable:  # timer I is zero
            return self._end()
        self._enter(State.CONFIRMED)
        self.timers.start("I", now + self._timing.linger)
        return []

    def respond(self, response: Response, now: float) -> list[Effect]:
        """Send a response of the user; what the state forbids is discarded (no effects)."""
        if self.state is State.ACCEPTED and response.is_success:
            return [Transmit(response, repeat=True)]
        if self.state is not State.PROCEEDING:
            return []
        self._request = None
        self.timers.stop(TRYING)
        if response.is_provisional:
            self._provisional = response
            return [Transmit(response)]
        self._provisional = None
        if response.is_success:
            self._enter(State.ACCEPTED)
            self.timers.start("L", now + self._timing.timeout)
            return [Transmit(response)]
        self._final = pack(response)
        self._enter(State.COMPLETED)
        if not self._reliable:
            self.timers.start("G", now + self._interval)
        self.timers.start("H", now + self._timing.timeout)
        return [Transmit(response)]

    def rest(self) -> tuple[float, bytes | None] | None:
        """Give up timer L in Accepted: return its deadline; repetitions get nothing. None in any other state."""
        deadline = self._rest("L") if self.state is State.ACCEPTED else None
        return None if deadline is None else (deadline, None)

    def tick(self, now: float) -> list[Effect]:
        """Handle the timers that are due at *now*."""
        due = self.timers.due(now)
        if "H" in due:
            return self._end(NoAck())
        if "I" in due or "L" in due:
            return self._end()
        if "G" in due:
            self._interval = min(2 * self._interval, self._timing.t2)
            self.timers.start("G", now + self._interval)
            return self._repeat_final()
        if TRYING in due and self._request is not None:
            return self.respond(make_response(self._request, 100), now)
        return []

    def _repeat_final(self) -> list[Effect]:
        return [] if self._final is None else [Transmit(unpack(self._final), repeat=True)]
