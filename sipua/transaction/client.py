"""A client transaction with its driver: performs what the machine asks for and calls the user back (RFC 3261 §17.1)."""

import asyncio
import logging
from collections.abc import Callable

from sipua.driver import Driver
from sipua.effects import Effect, Terminated
from sipua.errors import TransportError, printable
from sipua.message import Request, Response
from sipua.timers import Timing
from sipua.transaction.callback import call_user
from sipua.transaction.key import ClientKey
from sipua.transaction.machine import Deliver, Failed, Failure, InviteClient, OtherClient, SendCancel, State, Transmit
from sipua.transaction.rest import Rest
from sipua.transaction.statistics import Statistics
from sipua.transport.base import Channel, Transports
from sipua.transport.udp import UdpChannel

log = logging.getLogger("sipua.transaction")


class ClientTransaction:
    """One request of ours on its way. ``request`` and ``channel`` are for reading; the layer makes these objects."""

    __slots__ = (
        "_driver",
        "_forget",
        "_ignore_close",
        "_loop",
        "_machine",
        "_on_failure",
        "_on_response",
        "_on_terminated",
        "_rest",
        "_rested",
        "_send_cancel",
        "_statistics",
        "_transports",
        "cancel_reason",
        "channel",
        "key",
        "request",
    )

    def __init__(
        self,
        request: Request,
        channel: Channel,
        key: ClientKey,
        *,
        transports: Transports,
        loop: asyncio.AbstractEventLoop,
        timing: Timing,
        statistics: Statistics,
        on_response: Callable[[Response], None],
        on_failure: Callable[[Failure], None],
        on_terminated: Callable[[], None] | None,
        forget: Callable[["ClientTransaction"], None],
        rested: Callable[["ClientTransaction", Rest[ClientKey]], None],
        send_cancel: Callable[["ClientTransaction"], None],
    ) -> None:
        """*forget* is called at the end, *rested* in its place when only repetitions are left to absorb, *send_cancel* when the CANCEL of

        this INVITE is due; the others are the user's.
        """
        self.request = request
        self.channel = channel
        self.key = key
        self.cancel_reason: str | None = None
        reliable = channel.remote.is_reliable
        machine = InviteClient if request.method == "INVITE" else OtherClient
        self._machine: InviteClient | OtherClient = machine(request, timing, reliable=reliable)
        self._driver = Driver(self._machine, self._perform, loop)
        self._loop = loop
        self._transports = transports
        self._statistics = statistics
        self._on_response = on_response
        self._on_failure = on_failure
        self._on_terminated = on_terminated
        self._forget = forget
        self._rested = rested
        self._rest: Rest[ClientKey] | None = None
        self._send_cancel = send_cancel
        self._ignore_close: Callable[[], None] | None = None
        if reliable:
            self._ignore_close = channel.on_close(self._lost)
        elif isinstance(channel, UdpChannel):
            self._ignore_close = channel.on_refusal(key, self._lost)

    @property
    def state(self) -> State:
        """The state of the machine."""
        return State.TERMINATED if self._rest is not None and self._rest.ends_at <= self._driver.now else self._machine.state

    @property
    def is_pending(self) -> bool:
        """True until a final response or a failure."""
        return self._machine.state in (State.INITIAL, State.CALLING, State.TRYING, State.PROCEEDING)

    def cancel(self, reason: str | None = None) -> None:
        """Cancel a pending INVITE (RFC 3261 §9.1); *reason* is the value of the CANCEL's Reason header (RFC 3326).

        The CANCEL waits for a provisional response. The INVITE's outcome comes as always: 487, or a 2xx that was faster, or
        after 64*T1 ``Failure.TIMEOUT``. Without effect for other methods and after a final response.
        """
        if isinstance(self._machine, InviteClient):
            if self.cancel_reason is None:
                self.cancel_reason = reason
            self._driver.feed(self._machine.cancel(self._driver.now))

    def start(self) -> None:
        """Send the request: called once, by the layer."""
        self._driver.feed(self._machine.start(self._driver.now))

    def receive(self, response: Response) -> None:
        """Take a response: called by the layer."""
        machine = self._machine
        effects = machine.receive(response, self._driver.now)
        if isinstance(machine, OtherClient) and (ends_at := machine.rest()) is not None:
            self._release()
            self._rest = Rest(self.key, ends_at, self.channel)
            self._rest.on_terminated = self._on_terminated
            self._rested(self, self._rest)
        self._driver.feed(effects)
        if self._rest is not None:
            self._driver.release()

    def close(self) -> None:
        """End at once; a pending one fails with ``Failure.TRANSPORT``: called by the layer when it closes."""
        pending = self.is_pending
        self._driver.release()
        self._release()
        if pending:
            self._machine.transport_failed(self._driver.now)
            call_user(self._on_failure, Failure.TRANSPORT)

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Transmit) and isinstance(effect.message, Request):
            self._transmit(effect.message, repeat=effect.repeat)
        elif isinstance(effect, Deliver):
            call_user(self._on_response, effect.response)
        elif isinstance(effect, SendCancel):
            self._send_cancel(self)
        elif isinstance(effect, Failed):
            if effect.failure is Failure.TIMEOUT:
                self._statistics.client_timeouts += 1
            else:
                self._statistics.client_transport_failures += 1
            call_user(self._on_failure, effect.failure)
        elif isinstance(effect, Terminated):
            self._driver.release()
            self._release()
            self._forget(self)
            if self._on_terminated is not None:
                call_user(self._on_terminated)

    def _transmit(self, message: Request, *, repeat: bool) -> None:
        if repeat:
            self._statistics.client_retransmissions += 1
        try:
            self._transports.send_request(message, self.channel)
        except TransportError as error:
            log.info("%s to %s failed: %s", printable(message.method), self.channel.remote, error)
            self._loop.call_soon(self._lost)  # later: the user's callback must not run inside start()

    def _lost(self) -> None:
        self._driver.feed(self._machine.transport_failed(self._driver.now))

    def _release(self) -> None:
        if self._ignore_close is not None:
            self._ignore_close()
            self._ignore_close = None
