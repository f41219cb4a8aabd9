"""A transfer on the wire: sends the REFER in its dialog, answers the NOTIFYs, and waits for the outcome.

It is a usage of the dialog of its own: it goes on when the call in the same dialog has ended (RFC 6665 §4.5.2).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from sipua.dialog.layer import Dialog
from sipua.driver import Driver, TaskSet
from sipua.effects import Effect, Terminated
from sipua.errors import ParseError, printable
from sipua.message import Request, Response, make_response
from sipua.timers import Timing
from sipua.transaction.layer import LocalResponse, ServerTransaction
from sipua.usage.subscription.machine import AnswerNotify
from sipua.usage.subscription.outcome import TransferKind, TransferOutcome
from sipua.usage.subscription.package import NotifyInfo
from sipua.usage.subscription.refer import Concluded, EndedBy, Progress, ReferSettings, ReferTransfer

log = logging.getLogger("sipua.refer")


class TransferSession:
    """One REFER and its subscription. :meth:`run` sends it and returns the outcome; the subscription may live longer."""

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
        self._outcome: asyncio.Future[TransferOutcome] = loop.create_future()
        self._tasks = tasks
        self._on_progress = on_progress
        self._transaction: ServerTransaction | None = None
        self._is_closed = False

    async def run(self, refer_to: str, headers: Sequence[tuple[str, str]]) -> TransferOutcome:
        """Send REFER to *refer_to* (a Refer-To value with brackets) and return the outcome.

        The outcome may come before the response to the REFER, which is then awaited in the background.
        """
        request = self._dialog.new_request("REFER", [("Refer-To", refer_to), *headers])
        self._dialog.attach(self)
        self._tasks.spawn(self._send(request), name="REFER")
        return await self._outcome

    async def _send(self, request: Request) -> None:
        if self._is_closed:
            return
        response = await self._dialog.request(request, self._attempted, self._may_repeat)
        if self._is_closed:
            return
        now = self._loop.time()
        if isinstance(response, LocalResponse):
            failed = self.machine.refer_timeout if response.status == 408 else self.machine.refer_transport_error
            self._driver.feed(failed(now))
        else:
            self._driver.feed(self._responded(response, now))

    def _attempted(self, cseq: int) -> None:
        if not self._is_closed:
            self._driver.feed(self.machine.sent(cseq, self._loop.time()))

    def _may_repeat(self) -> bool:
        """A challenge is not answered for a call that is over or a caller that has given up."""
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

    def call_ended(self, by: EndedBy) -> None:
        """The call in the same dialog is over."""
        if not self._is_closed:
            self._driver.feed(self.machine.call_ended(by, self._loop.time()))

    def call_lost(self) -> None:
        """The peer has lost the call."""
        if not self._is_closed:
            self._driver.feed(self.machine.call_lost(self._loop.time()))

    def close(self) -> None:
        """Forget everything: shutdown. Whoever waits for the outcome hears that we hung up."""
        self._is_closed = True
        self._driver.stop()
        self._dialog.detach(self)
        if not self._outcome.done():
            self._outcome.set_result(TransferOutcome(TransferKind.LOCAL_HANGUP, detail="the user agent is closed"))

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
        self._dialog.state.refresh_target(request)
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
                response = make_response(self._transaction.request, effect.status)
                for name, value in effect.headers:
                    response.headers.add(name, value)
                self._transaction.respond(response)
            case Progress(code):
                if self._on_progress is not None:
                    self._on_progress(code)
            case Concluded(outcome):
                if not self._outcome.done():
                    self._outcome.set_result(outcome)
            case Terminated():
                self._dialog.detach(self)
            case _:
                log.error("effect %s is not a transfer's", effect)
