"""A server transaction with its driver, and the handle by which the user answers (RFC 3261 §17.2)."""

import asyncio
from collections.abc import Callable

from sipua.driver import Driver
from sipua.effects import Effect, Terminated
from sipua.message import Request, Response, make_response
from sipua.timers import Timing
from sipua.transaction.callback import call_user
from sipua.transaction.key import MergeKey, ServerKey
from sipua.transaction.machine import DeliverAck, InviteServer, NoAck, OtherServer, State, Transmit
from sipua.transaction.rest import Rest
from sipua.transaction.statistics import Statistics
from sipua.transport.base import Channel, Transports


class ServerRun:
    """What the layer keeps of a server transaction: it outlives the request by up to 64*T1, so it does not hold it."""

    __slots__ = (
        "_driver",
        "_forget",
        "_machine",
        "_on_ack",
        "_on_answered",
        "_request",
        "_rest",
        "_statistics",
        "_timeout",
        "_transports",
        "absorbs_until",
        "channel",
        "is_invite",
        "key",
        "merge",
        "on_cancel",
        "on_no_ack",
        "on_terminated",
        "to_tag",
    )

    def __init__(
        self,
        request: Request,
        channel: Channel,
        key: ServerKey,
        *,
        transports: Transports,
        loop: asyncio.AbstractEventLoop,
        timing: Timing,
        statistics: Statistics,
        on_ack: Callable[[Request, Channel], None],
        on_answered: Callable[["ServerRun", Request, Response], None],
        forget: Callable[["ServerRun"], None],
    ) -> None:
        """*on_ack* takes ACKs of a 2xx, *on_answered* is told the final response, *forget* is called at the end."""
        self.key = key
        self.merge: MergeKey | None = None
        self.channel = channel
        self.is_invite = request.method == "INVITE"
        self.to_tag = request.to.tag
        self.on_cancel: Callable[[Request], None] | None = None
        self.on_no_ack: Callable[[], None] | None = None
        self.on_terminated: Callable[[], None] | None = None
        machine = InviteServer if self.is_invite else OtherServer
        self._machine: InviteServer | OtherServer = machine(request, timing, reliable=channel.remote.is_reliable)
        self._driver = Driver(self._machine, self._perform, loop)
        self._transports = transports
        self._statistics = statistics
        self._on_ack = on_ack
        self._on_answered = on_answered
        self._request: Request | None = request  # until a final response
        self._forget = forget
        self._rest: Rest[ServerKey] | None = None
        self._timeout = timing.timeout
        self.absorbs_until = 0.0  # until a final response

    @property
    def state(self) -> State:
        """The state of the machine."""
        return State.TERMINATED if self._is_over() else self._machine.state

    def _is_over(self) -> bool:
        return self._rest is not None and self._rest.ends_at <= self._driver.now

    @property
    def is_answered(self) -> bool:
        """True once a final response was given, or can't be given any more."""
        return self._machine.is_answered

    def start(self) -> None:
        """Begin. Timers run once :meth:`arm` or :meth:`respond` is called: most requests are answered at once."""
        self._machine.start(self._driver.now)

    def arm(self) -> None:
        """Let the timers run: to be called when the user had its chance to answer."""
        self._driver.feed(())

    def receive(self, request: Request, channel: Channel) -> None:
        """Take a retransmission or an ACK."""
        if request.method != "ACK":
            self._statistics.requests_repeated += 1
        effects = self._machine.receive(request, self._driver.now)
        for effect in effects:
            if isinstance(effect, DeliverAck):  # here, since only here the ACK's own channel is known
                call_user(self._on_ack, effect.request, channel)
        self._driver.feed(effects)

    def respond(self, response: Response) -> bool:
        """Send a response; return False when the state forbids it and nothing was sent."""
        if self._is_over():
            return False
        if not self.to_tag and response.status > 100:
            self.to_tag = response.to.tag
        effects = self._machine.respond(response, self._driver.now)
        if self._request is not None and self._machine.is_answered:
            answered, self._request = self._request, None
            self.absorbs_until = self._driver.now + self._timeout  # timers H, J and L are all of that length
            self._on_answered(self, answered, response)
        if self._rest is None:
            self._driver.feed(effects)
        else:  # the user of an INVITE sends its 2xx again and again, which needs no timer
            for effect in effects:
                self._perform(effect)
        return bool(effects)

    def rest(self) -> Rest[ServerKey] | None:
        """Hand over what is left to do in Accepted or Completed: absorbing repetitions. None when there is more, or nothing."""
        left = self._machine.rest()
        if left is None:
            return None
        ends_at, data = left
        rest = self._rest = Rest(self.key, ends_at, self.channel, data, is_invite=self.is_invite)
        rest.to_tag, rest.merge, rest.on_terminated = self.to_tag, self.merge, self.on_terminated
        self.merge = None
        self._driver.release()
        return rest

    def cancel(self, cancel: Request) -> None:
        """Tell the user of a CANCEL; without ``on_cancel`` answer 487 in its place (RFC 3261 §9.2)."""
        if self.on_cancel is not None:
            call_user(self.on_cancel, cancel)
        elif self._request is not None:
            self.respond(make_response(self._request, 487, to_tag=self.to_tag))

    def cut(self) -> None:
        """End before the time: repetitions are not absorbed any more."""
        self._perform(Terminated())

    def close(self) -> None:
        """End at once, without a word."""
        self._driver.release()

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Transmit) and isinstance(effect.message, Response):
            self._statistics.server_retransmissions += effect.repeat
            self._transports.send_response(effect.message, self.channel)
        elif isinstance(effect, NoAck):
            self._statistics.acks_missing += 1
            if self.on_no_ack is not None:
                call_user(self.on_no_ack)
        elif isinstance(effect, Terminated):
            self._driver.release()
            self._forget(self)
            if self.on_terminated is not None:
                call_user(self.on_terminated)


class ServerTransaction:
    """A request that came in, to be answered with :meth:`respond`.

    ``on_cancel`` (a CANCEL came before a final response: answer 487), ``on_no_ack`` (no ACK for a 300 to 699 response within
    64*T1) and ``on_terminated`` may be assigned, the last one before the final response.
    """

    __slots__ = ("_run", "channel", "request")

    def __init__(self, request: Request, channel: Channel, run: ServerRun) -> None:
        """Made by the layer."""
        self.request = request
        self.channel = channel
        self._run = run

    @property
    def is_invite(self) -> bool:
        """True for INVITE, re-INVITE included."""
        return self._run.is_invite

    @property
    def is_answered(self) -> bool:
        """True once a final response was given, or can't be given any more."""
        return self._run.is_answered

    @property
    def state(self) -> State:
        """The state of the machine."""
        return self._run.state

    @property
    def to_tag(self) -> str:
        """The To tag of the request or else of the responses so far, ``""`` when there is none yet.

        Use it when it is set: the 200 to a CANCEL may have been the first to need one (RFC 3261 §9.2).
        """
        return self._run.to_tag

    def respond(self, response: Response) -> bool:
        """Send *response*; return False when the state of the transaction forbids it and nothing was sent.

        After a 2xx to INVITE the user sends the 2xx again by the same call until the ACK comes (RFC 3261 §13.3.1.4).
        """
        return self._run.respond(response)

    @property
    def on_cancel(self) -> Callable[[Request], None] | None:
        """Called with the CANCEL of this INVITE when no final response was given; without it the layer answers 487."""
        return self._run.on_cancel

    @on_cancel.setter
    def on_cancel(self, callback: Callable[[Request], None] | None) -> None:
        self._run.on_cancel = callback

    @property
    def on_no_ack(self) -> Callable[[], None] | None:
        """Called when no ACK came for a 300 to 699 response (timer H)."""
        return self._run.on_no_ack

    @on_no_ack.setter
    def on_no_ack(self, callback: Callable[[], None] | None) -> None:
        self._run.on_no_ack = callback

    @property
    def on_terminated(self) -> Callable[[], None] | None:
        """Called at the end of the transaction. Assign it before the final response: what rests after that keeps what it was given."""
        return self._run.on_terminated

    @on_terminated.setter
    def on_terminated(self, callback: Callable[[], None] | None) -> None:
        self._run.on_terminated = callback
