"""Pure. A 2xx to an INVITE is repeated by the user agent until its ACK comes, on every transport (RFC 3261 §13.3.1.4, §14.2)."""

from sipua.effects import Effect
from sipua.timers import TimerSet, Timing
from sipua.usage.call.machine.effects import Confirmed, EndedBy, Over, Respond, SendBye


class AckWait:
    """Runs the timers ``retransmit`` (T1, doubling to T2) and ``ack`` (64*T1) in the timer set of its owner."""

    __slots__ = ("_interval", "_status", "_timing", "timers")

    def __init__(self, timing: Timing, timers: TimerSet, status: int = 200) -> None:
        self._timing = timing
        self._status = status
        self._interval = timing.t1
        self.timers = timers

    def start(self, now: float) -> list[Effect]:
        """The 2xx leaves now."""
        self._interval = self._timing.t1
        self.timers.start("retransmit", now + self._interval)
        self.timers.start("ack", now + self._timing.timeout)
        return [Respond(self._status)]

    def acked(self) -> list[Effect]:
        """The ACK is here."""
        self.stop()
        return [Confirmed()]

    def repeat(self, now: float) -> list[Effect]:
        """Timer ``retransmit`` fired."""
        self._interval = min(2 * self._interval, self._timing.t2)
        self.timers.start("retransmit", now + self._interval)
        return [Respond(self._status)]

    def given_up(self) -> list[Effect]:
        """Timer ``ack`` fired: the dialog counts as confirmed, the session has to end with BYE."""
        self.stop()
        return [Confirmed(), SendBye(), Over(EndedBy.NO_ACK)]

    def stop(self) -> None:
        """Stop both timers."""
        self.timers.stop("retransmit")
        self.timers.stop("ack")


class ReinviteAck:
    """A machine around one :class:`AckWait`: the 2xx to a re-INVITE of the peer."""

    def __init__(self, timing: Timing) -> None:
        self.timers = TimerSet()
        self._wait = AckWait(timing, self.timers)

    @property
    def is_waiting(self) -> bool:
        """True until the ACK came or was given up."""
        return bool(len(self.timers))

    def start(self, now: float) -> list[Effect]:
        """The 2xx leaves now."""
        return self._wait.start(now)

    def ack(self) -> list[Effect]:
        """An ACK came; a repeated one has no effect."""
        return self._wait.acked() if self.is_waiting else []

    def stop(self) -> None:
        """The call is over."""
        self.timers.clear()

    def tick(self, now: float) -> list[Effect]:
        """Handle what is due."""
        due = self.timers.due(now)
        if "ack" in due:
            return self._wait.given_up()
        return self._wait.repeat(now) if "retransmit" in due else []
