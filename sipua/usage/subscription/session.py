"""A transfer on the wire: sends the REFER in its dialog, answers the NOTIFYs, and waits for the outcome.

It is a usage of the dialog of its own: it goes on when the call in the same dialog has ended (RFC 6665 §4.5.2).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

from sipua.dialog.layer import Dialog
from sipua.driver import Driver, TaskSet
from sipua.effects import Effect, Terminated
from sipua.errors import ParseError, printable
from sipua.message import Request, Response, make_response
from sipua.timers import Timing
from sipua.transaction.layer import LocalResponse, ServerTransaction
from sipua.transaction.sending import Sending
from sipua.transport.base import Channel
from sipua.usage.subscription.machine import AnswerNotify
from sipua.usage.subscription.outcome import TransferKind, TransferOutcome
from sipua.usage.subscription.package import NotifyInfo
from sipua.usage.subscription.refer import Concluded, Progress, ReferSettings, ReferTransfer

log = logging.getLogger("sipua.refer")


TOLD_AS: Final[Mapping[str, Literal["peer", "local", "lost"]]] = MappingProxyType({"peer": "peer", "lost": "lost"})
"""What a transfer makes of who ended the call; by all others it was we."""


class TransferSession:
    """One REFER and its subscription. :meth:`start` sends it, :attr:`outcome` will be its outcome; the subscription may live longer."""

    __slots__ = (
        "_dialog",
        "_driver",
        "_is_closed",
        "_loop",
        "_may_have_arrived",
        "_on_progress",
        "_sending",
        "_tasks",
        "_transaction",
        "machine",
        "outcome",
        "retry_after_s",
    )

    def __init__(
        self,
        dialog: Dialog,
        loop: asyncio.AbstractEventLoop,
        settings: ReferSettings,
        timing: Timing,
        tasks: TaskSet,
        on_progress: Callable[[int], None] | None = None,
        confirmed_at: float | None = None,
    ) -> None:
        """*tasks* owns the request while it runs; *on_progress* is told each provisional status that a NOTIFY reports.

        *confirmed_at* is the time of the ACK of the call in the same dialog.
        """
        self.retry_after_s: int | None = None
        self._dialog = dialog
        self._loop = loop
        self.machine = ReferTransfer(settings, timing, confirmed_at)
        self._driver = Driver(self.machine, self._perform, loop)
        self.outcome: asyncio.Future[TransferOutcome] = loop.create_future()
        """The outcome, once it is fixed."""
        self._tasks = tasks
        self._on_progress = on_progress
        self._transaction: ServerTransaction | None = None
        self._is_closed = False
        self._sending: Sending | None = None
        self._may_have_arrived = False

    def start(self, refer_to: str, headers: Sequence[tuple[str, str]]) -> None:
        """Send REFER to *refer_to* (a Refer-To value with brackets). The outcome may come before the response to the REFER."""
        request = self._dialog.new_request("REFER", [("Refer-To", refer_to), *headers])
        self._dialog.attach(self)
        self._sending = self._dialog.send(request, self._tasks, self._answered, self._attempted, self._may_repeat, self._leaves)

    def _answered(self, response: Response) -> None:
        self._sending = None
        now = self._loop.time()
        if isinstance(response, LocalResponse):
            if response.status == 408:
                self._driver.feed(self.machine.refer_timeout(now))
            else:
                self._driver.feed(self.machine.refer_transport_error(now, may_have_arrived=self._may_have_arrived))
        else:
            self._driver.feed(self._responded(response, now))

    def _attempted(self, cseq: int) -> None:
        if not self._is_closed:
            self._driver.feed(self.machine.sent(cseq, self._loop.time()))

    def _leaves(self, _request: Request, channel: Channel) -> None:
        """What was written to a connection that then breaks may have been read; a datagram that ICMP sends back was not."""
        self._may_have_arrived = self._may_have_arrived or channel.remote.is_reliable

    def _may_repeat(self) -> bool:
        """No challenge is answered and no other server tried for a call that is over or a transfer whose outcome is told."""
        return not self._is_closed and self.machine.may_repeat

    def _responded(self, response: Response, now: float) -> list[Effect]:
        try:
            self.retry_after_s = response.retry_after
            refer_sub, expires = response.refer_sub, response.expires
        except ParseError:
            refer_sub, expires = None, None
        if response.is_success:
            self._dialog.state.refresh_target(response)
        return self.machine.refer_response(
            response.status,
            now,
            refer_sub_false=refer_sub is not None and refer_sub.value.lower() == "false",
            expires=expires,
            reason=printable(response.reason, 60),
        )

    def call_ended(self, by: str) -> None:
        """The call in the same dialog is over; *by* says who ended it: ``peer``, ``lost`` if the peer does not know it any more, or we."""
        told = TOLD_AS.get(by, "local")
        if told == "lost":
            self.call_lost()
        elif not self._is_closed:
            self._driver.feed(self.machine.call_ended(told, self._loop.time()))

    def call_lost(self) -> None:
        """The peer has lost the call."""
        if not self._is_closed:
            self._driver.feed(self.machine.call_lost(self._loop.time()))

    def close(self) -> None:
        """Forget everything: shutdown. Whoever waits for the outcome hears that we hung up."""
        self._is_closed = True
        self._driver.release()
        if self._sending is not None:
            self._sending.forget()
            self._sending = None
        self._dialog.detach(self)
        if not self.outcome.done():
            self.outcome.set_result(TransferOutcome(TransferKind.LOCAL_HANGUP, detail="the user agent is closed"))

    # -- Usage ----------------------------------------------------------------------------------------------------------------------

    def accepts(self, request: Request) -> bool:
        """Take the NOTIFYs of this transfer (RFC 6665 §4.1.3, RFC 3515 §2.4.6)."""
        if request.method != "NOTIFY":
            return False
        package, _, _ = (request.headers.get("Event") or "").partition(";")
        if package.strip().lower() != "refer":  # RFC 6665 §8.2.1 says byte by byte, but peers exist that send "Refer"
            return False
        transfers = [usage.machine for usage in self._dialog.usages if isinstance(usage, TransferSession)]
        info = NotifyInfo.from_request(request)
        return self.machine.matches(info.event_id, transfers, info)

    def on_request(self, transaction: ServerTransaction) -> None:
        """Answer a NOTIFY at once and take what it says (RFC 6665 §4.1.3)."""
        request = transaction.request
        info = NotifyInfo.from_request(request)
        self._transaction = transaction
        try:
            self._driver.feed(self.machine.notify(info, self._loop.time()))
        finally:
            self._transaction = None

    def on_overtaken(self, transaction: ServerTransaction) -> None:
        """A NOTIFY that the peer's BYE overtook: 500 is answered, its result still counts if none is known (RFC 3261 §12.2.2)."""
        info = NotifyInfo.from_request(transaction.request)
        self._driver.feed(self.machine.late_notify(info, self._loop.time()))

    def on_ack(self, ack: Request) -> None:
        """An ACK is nothing for a subscription."""

    def _perform(self, effect: Effect) -> None:
        match effect:
            case AnswerNotify() if self._transaction is not None:
                request = self._transaction.request
                response = make_response(request, effect.status)
                if response.is_success:
                    self._dialog.state.refresh_target(request)
                for name, value in effect.headers:
                    response.headers.add(name, value)
                self._transaction.respond(response)
            case Progress(code):
                if self._on_progress is not None:
                    self._on_progress(code)
            case Concluded(outcome):
                if not self.outcome.done():
                    self.outcome.set_result(outcome)
            case Terminated():
                self._dialog.detach(self)
                self._driver.release()
            case _:
                log.error("effect %s is not a transfer's", effect)
