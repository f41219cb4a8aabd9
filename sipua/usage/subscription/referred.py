"""The transferee's side on the wire: answers a REFER and sends the NOTIFYs of its subscription (RFC 3515 §2.4)."""

import asyncio
import logging

from sipua.dialog.layer import Dialog
from sipua.driver import Driver, TaskSet
from sipua.effects import Effect, Terminated
from sipua.errors import ParseError
from sipua.message import Request, make_response
from sipua.transaction.layer import LocalResponse, ServerTransaction
from sipua.usage.subscription.notifier import NotifierState, ReferNotifier, ReferRequest, Respond, SendNotify

log = logging.getLogger("sipua.refer")

DECISION_LIMIT_S = 25.0  # a REFER needs its answer before the sender's 64*T1 are over (RFC 4320 §4.2)


class NotifierSession:
    """One REFER that came in, and its subscription."""

    def __init__(
        self,
        dialog: Dialog,
        transaction: ServerTransaction,
        refer: ReferRequest,
        loop: asyncio.AbstractEventLoop,
        tasks: TaskSet,
    ) -> None:
        self._dialog = dialog
        self._transaction = transaction
        self._refer = refer
        self._tasks = tasks
        self._machine = ReferNotifier(transaction.request.cseq.number)
        self._driver = Driver(self._machine, self._perform, loop)
        self._loop = loop
        self._limit: asyncio.TimerHandle | None = loop.call_later(DECISION_LIMIT_S, self.reject, 603)
        dialog.attach(self)

    @property
    def is_decided(self) -> bool:
        """True once the REFER is answered."""
        return self._limit is None

    def _decide(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def accept(self, status: int) -> None:
        """Accept the REFER; the first NOTIFY leaves at once."""
        self._decide()
        self._dialog.state.refresh_target(self._transaction.request)
        self._driver.feed(self._machine.accept(self._loop.time(), status, subscribe=not self._refer.wants_no_subscription))

    def reject(self, status: int) -> None:
        """Refuse the REFER."""
        self._decide()
        self._dialog.detach(self)
        self._transaction.respond(make_response(self._transaction.request, status))

    def progress(self, status: int) -> None:
        """Report a provisional status of the target."""
        self._driver.feed(self._machine.progress(status, self._loop.time()))

    def finish(self, status: int) -> None:
        """Report the final status of the target."""
        self._driver.feed(self._machine.finish(status, self._loop.time()))

    def accepts(self, request: Request) -> bool:
        """Take SUBSCRIBEs that refresh or end the subscription."""
        package, _, _ = (request.headers.get("Event") or "").partition(";")
        return request.method == "SUBSCRIBE" and package.strip().lower() == "refer"

    def on_request(self, transaction: ServerTransaction) -> None:
        """Answer a SUBSCRIBE."""
        if not self.is_decided:
            transaction.respond(make_response(transaction.request, 481))
            return
        self._transaction = transaction
        try:
            expires = transaction.request.expires
        except ParseError as error:
            transaction.respond(make_response(transaction.request, error.status))
            return
        if self._machine.state is NotifierState.ACTIVE:
            self._dialog.state.refresh_target(transaction.request)
        self._driver.feed(self._machine.subscribe(0 if expires is None else expires, self._loop.time()))

    def on_overtaken(self, transaction: ServerTransaction) -> None:
        """A SUBSCRIBE that is out of order is of no use."""

    def on_ack(self, ack: Request) -> None:
        """An ACK is nothing for a subscription."""

    def close(self) -> None:
        """Forget the subscription: shutdown."""
        self._decide()
        self._machine.drop()
        self._driver.stop()
        self._dialog.detach(self)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Respond(status, headers):
                response = make_response(self._transaction.request, status)
                response.headers.add("Contact", self._dialog.contact)
                for name, value in headers:
                    response.headers.add(name, value)
                self._transaction.respond(response)
            case SendNotify():
                self._tasks.spawn(self._notify(effect), name="NOTIFY")
            case Terminated():
                self._dialog.detach(self)
            case _:
                log.error("effect %s is not a notifier's", effect)

    async def _notify(self, notify: SendNotify) -> None:
        headers = [("Event", notify.event), ("Subscription-State", notify.subscription_state)]
        request = self._dialog.new_request("NOTIFY", headers, notify.body, notify.content_type)
        response = await self._dialog.request(request)
        if isinstance(response, LocalResponse):
            self._driver.feed(self._machine.notify_failed())
        else:
            if response.is_success:
                self._dialog.state.refresh_target(response)
            self._driver.feed(self._machine.notify_response(response.status, self._loop.time()))
