"""Pure. The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2) and the wait after its CANCEL (§9.1)."""

from sipua.effects import Effect
from sipua.message import Request, Response, make_ack
from sipua.timers import Timing
from sipua.transaction.machine.base import Deliver, Failed, Failure, SendCancel, State, TransactionMachine, Transmit

CANCEL = "CANCEL"
"""The timer without a letter: 64*T1 between CANCEL and the final response of the INVITE (RFC 3261 §9.1)."""


class InviteClient(TransactionMachine):
    """Sends one INVITE, acknowledges a 300 to 699 response, and hands every 2xx to its user."""

    __slots__ = ("_ack", "_cancel_sent", "_cancel_wanted", "_interval", "_request")

    def __init__(self, request: Request, timing: Timing, *, reliable: bool) -> None:
        """*request* is complete: its top Via has the branch."""
        super().__init__(timing, reliable=reliable)
        self._request: Request | None = request
        self._ack: Request | None = None
        self._interval = timing.t1
        self._cancel_wanted = False
        self._cancel_sent = False

    def start(self, now: float) -> list[Effect]:
        """Send the INVITE. Raises RuntimeError when called twice."""
        if self.state is not State.INITIAL or self._request is None:
            raise RuntimeError("started twice")
        self._enter(State.CALLING)
        if not self._reliable:
            self.timers.start("A", now + self._interval)
        self.timers.start("B", now + self._timing.timeout)
        return [Transmit(self._request)]

    def receive(self, response: Response, now: float) -> list[Effect]:
        """Handle a response that matches this transaction."""
        if self.state in (State.CALLING, State.PROCEEDING):
            if response.is_provisional:
                return self._provisional(response, now)
            return self._final(response, now)
        if self.state is State.ACCEPTED and response.is_success:
            return [Deliver(response)]  # maybe of another fork: each needs its ACK (RFC 6026 §7.2)
        if self.state is State.COMPLETED and response.is_final and not response.is_success and self._ack is not None:
            return [Transmit(self._ack, repeat=True)]
        return []

    def _provisional(self, response: Response, now: float) -> list[Effect]:
        effects: list[Effect] = [Deliver(response)]
        if self.state is State.CALLING:
            self.timers.stop("A")
            self.timers.stop("B")
            self._enter(State.PROCEEDING)
            if self._cancel_wanted:
                effects += self._send_cancel(now)
        return effects

    def _final(self, response: Response, now: float) -> list[Effect]:
        request = self._request
        self.timers.clear()
        self._request = None
        if response.is_success or request is None:
            self._enter(State.ACCEPTED)
            self.timers.start("M", now + self._timing.timeout)
            return [Deliver(response)]
        ack = make_ack(request, response)
        if self._reliable:  # timer D is zero
            return self._end(Transmit(ack), Deliver(response))
        self._ack = ack
        self._enter(State.COMPLETED)
        self.timers.start("D", now + self._timing.timeout)
        return [Transmit(ack), Deliver(response)]

    def cancel(self, now: float) -> list[Effect]:
        """Ask for a CANCEL: it leaves now or after the first provisional response, never after a final one (RFC 3261 §9.1)."""
        if self.state is State.CALLING:
            self._cancel_wanted = True
        elif self.state is State.PROCEEDING and not self._cancel_sent:
            return self._send_cancel(now)
        return []

    def _send_cancel(self, now: float) -> list[Effect]:
        self._cancel_sent = True
        self.timers.start(CANCEL, now + self._timing.timeout)
        return [SendCancel()]

    def transport_failed(self, now: float) -> list[Effect]:  # noqa: ARG002  # all inputs take the time
        """Handle a send that failed, or the loss of the connection.

        We diverge from RFC 3261 §17.1.1.2 in Completed: the user has a final response already and isn't told of a second outcome.
        """
        if self.state in (State.INITIAL, State.CALLING, State.PROCEEDING):
            return self._end(Failed(Failure.TRANSPORT))
        if self.state is State.COMPLETED:
            return self._end()
        return []

    def tick(self, now: float) -> list[Effect]:
        """Handle the timers that are due at *now*."""
        due = self.timers.due(now)
        if "B" in due or CANCEL in due:
            return self._end(Failed(Failure.TIMEOUT))
        if "D" in due or "M" in due:
            return self._end()
        if "A" in due and self._request is not None:
            self._interval *= 2
            self.timers.start("A", now + self._interval)
            return [Transmit(self._request, repeat=True)]
        return []
