"""Pure. The client transaction of every method but INVITE and ACK (RFC 3261 §17.1.2)."""

from sipua.effects import Effect
from sipua.message import Request, Response
from sipua.timers import Timing
from sipua.transaction.machine.base import Deliver, Failed, Failure, State, TransactionMachine, Transmit


class OtherClient(TransactionMachine):
    """Sends one request until a final response or timer F; hands each provisional and the first final response to its user."""

    __slots__ = ("_interval", "_request")

    def __init__(self, request: Request, timing: Timing, *, reliable: bool) -> None:
        """*request* is complete: its top Via has the branch."""
        super().__init__(timing, reliable=reliable)
        self._request: Request | None = request
        self._interval = timing.t1

    def start(self, now: float) -> list[Effect]:
        """Send the request. Raises RuntimeError when called twice."""
        if self.state is not State.INITIAL or self._request is None:
            raise RuntimeError("started twice")
        self._enter(State.TRYING)
        if not self._reliable:
            self.timers.start("E", now + self._interval)
        self.timers.start("F", now + self._timing.timeout)
        return [Transmit(self._request)]

    def receive(self, response: Response, now: float) -> list[Effect]:
        """Handle a response that matches this transaction."""
        if self.state not in (State.TRYING, State.PROCEEDING):
            return []
        if response.is_provisional:
            self._enter(State.PROCEEDING)  # E and F run on (§17.1.2.2)
            return [Deliver(response)]
        self._request = None
        self.timers.clear()
        if self._reliable:  # timer K is zero
            return self._end(Deliver(response))
        self._enter(State.COMPLETED)
        self.timers.start("K", now + self._timing.linger)
        return [Deliver(response)]

    def rest(self) -> float | None:
        """Give up timer K in Completed and return its deadline; None in any other state."""
        return self._rest("K") if self.state is State.COMPLETED else None

    def transport_failed(self, now: float) -> list[Effect]:  # noqa: ARG002  # all inputs take the time
        """Handle a send that failed, or the loss of the connection (RFC 3261 §17.1.4)."""
        if self.state in (State.INITIAL, State.TRYING, State.PROCEEDING):
            return self._end(Failed(Failure.TRANSPORT))
        return []

    def tick(self, now: float) -> list[Effect]:
        """Handle the timers that are due at *now*."""
        due = self.timers.due(now)
        if "F" in due:
            return self._end(Failed(Failure.TIMEOUT))
        if "K" in due:
            return self._end()
        if "E" in due and self._request is not None:
            t2 = self._timing.t2
            self._interval = t2 if self.state is State.PROCEEDING else min(2 * self._interval, t2)
            self.timers.start("E", now + self._interval)
            return [Transmit(self._request, repeat=True)]
        return []
