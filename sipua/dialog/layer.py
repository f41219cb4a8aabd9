"""Dialogs and their usages: matches requests to dialogs, keeps order, sends requests with routes and credentials.

A dialog lives as long as its last usage (RFC 5057 §2): BYE ends the call, not the subscription of a transfer beside it.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Iterable
from typing import Protocol

from sipua.auth.credentials import Authenticator
from sipua.dialog.checks import SUPPORTED_EXTENSIONS, bad_event, is_fine, refuse
from sipua.dialog.state import Admission, DialogId, DialogState, key_of
from sipua.driver import TaskSet
from sipua.entropy import hex_digits
from sipua.errors import ParseError, TransportError, printable
from sipua.message import Request, Response, make_response
from sipua.transaction.exchange import Exchanger
from sipua.transaction.layer import ServerTransaction, TransactionLayer
from sipua.transaction.sending import OnChannel, Sending
from sipua.transport.base import Channel

log = logging.getLogger("sipua.dialog")


class Usage(Protocol):
    """One use of a dialog: a call, a subscription."""

    def accepts(self, request: Request) -> bool:
        """Tell whether *request*, in the dialog, belongs to this usage."""

    def on_request(self, transaction: ServerTransaction) -> None:
        """A request in the dialog came that this usage accepts and whose number is in order, or BYE, whose number never matters."""

    def on_overtaken(self, transaction: ServerTransaction) -> None:
        """A request came that a later one has overtaken; 500 is answered already (RFC 3261 §12.2.2)."""

    def on_ack(self, ack: Request) -> None:
        """An ACK for a 2xx came."""

    def close(self) -> None:
        """Shutdown: stop all timers and leave the dialog, without a word."""


class DialogUser(Protocol):
    """Who takes what belongs to no dialog."""

    def on_initial_request(self, transaction: ServerTransaction) -> None:
        """A request without To tag came; the common checks are passed."""

    def answer_alone(self, request: Request, tag: str) -> Response | None:
        """Return the answer to a request without To tag that is the same whenever it comes, None for INVITE; *tag* is our To tag."""


class Dialog:
    """A dialog with its usages. Requests go out by :meth:`request`."""

    __slots__ = ("_layer", "authenticator", "contact", "state", "usages")

    def __init__(self, state: DialogState, layer: "DialogLayer", contact: str, authenticator: Authenticator | None = None) -> None:
        """*contact* is our Contact value in this dialog, with brackets."""
        self.state = state
        self.contact = contact
        self.authenticator = authenticator
        self.usages: tuple[Usage, ...] = ()
        self._layer = layer

    @property
    def id(self) -> DialogId:
        """Call-ID and tags."""
        return self.state.id

    def attach(self, usage: Usage) -> None:
        """Add a usage, once; the first one makes the dialog known to the layer."""
        if usage not in self.usages:
            self.usages = (*self.usages, usage)
        self._layer.add(self)

    def detach(self, usage: Usage) -> None:
        """End a usage; with the last one the dialog ends."""
        self.usages = tuple([other for other in self.usages if other is not usage])
        if not self.usages:
            self._layer.remove(self)

    def usage_for(self, request: Request) -> Usage | None:
        """Return the first usage that takes *request*."""
        for usage in self.usages:
            if usage.accepts(request):
                return usage
        return None

    def next_cseq(self) -> int:
        """Return the number of our next request."""
        state = self.state
        return state.next_cseq() if state.local_seq is not None else state.next_cseq(self._layer.first_cseq())

    def new_request(self, method: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", content_type: str = "") -> Request:
        """Make the next request of the dialog, Contact and User-Agent included, credentials known so far added."""
        request = self.state.new_request(method, self.next_cseq())
        if method != "BYE":
            request.headers.add("Contact", self.contact)
        for name, value in headers:
            request.headers.add(name, value)
        if self._layer.user_agent:
            request.headers.add("User-Agent", self._layer.user_agent)
        if body:
            request.set_body(body, content_type)
        return request

    async def request(
        self,
        request: Request,
        on_attempt: Callable[[int], None] | None = None,
        may_retry: Callable[[], bool] = lambda: True,
        on_channel: OnChannel | None = None,
    ) -> Response:
        """Send *request* (not INVITE), answer challenges, and return the final response (408 or 503 made up when none came).

        See :meth:`sipua.transaction.exchange.Exchanger.exchange`, where *on_attempt*, *may_retry* and *on_channel* are explained.
        """
        return await self._layer.exchanger.exchange(request, self.authenticator, self.next_cseq, on_attempt, may_retry, on_channel)

    def send(
        self,
        request: Request,
        tasks: TaskSet,
        on_final: Callable[[Response], None],
        on_attempt: Callable[[int], None] | None = None,
        may_retry: Callable[[], bool] = lambda: True,
        on_channel: OnChannel | None = None,
    ) -> Sending:
        """Do what :meth:`request` does, and tell *on_final* the response; *tasks* owns what takes time before the request can leave."""
        return self._layer.exchanger.send(request, self.authenticator, self.next_cseq, tasks, on_final, on_attempt, may_retry, on_channel)


class DialogLayer:
    """All dialogs of a user agent; the transaction layer's user."""

    def __init__(
        self, transactions: TransactionLayer, exchanger: Exchanger, *, user_agent: str = "", rng: random.Random | None = None
    ) -> None:
        self.transactions = transactions
        self.exchanger = exchanger
        self.user_agent = user_agent
        self.user: DialogUser | None = None
        self.extensions = SUPPORTED_EXTENSIONS
        """Option tags that a peer may require; taking one away refuses it with 420."""
        self.stray_2xx: dict[tuple[str, str], Callable[[Response], None]] = {}
        """By Call-ID and our tag: who acknowledges 2xx responses that come after the INVITE transaction's end (RFC 6026 §6)."""
        self.tag_mark = ""
        """What our tags begin with: which process the dialog belongs to, where several share an address."""
        self._rng = rng or random.Random(secrets.randbits(64))
        self._dialogs: dict[str, Dialog] = {}  # by the keys of their ids
        self._forgetting: dict[tuple[str, str], asyncio.TimerHandle] = {}
        transactions.user = self
        transactions.answer = self.answer
        transactions.is_in_dialog = self.is_in_dialog

    def first_cseq(self) -> int:
        """Return a random first sequence number, small enough to count on for ever (RFC 3261 §8.1.1.5)."""
        return self._rng.randrange(1, 2**15)

    @property
    def supported(self) -> str:
        """The value of Supported in what we send (RFC 3261 §20.37)."""
        return ", ".join(sorted(self.extensions))

    def first_rseq(self) -> int:
        """Return a random number for a first reliable response (RFC 3262 §3)."""
        return self._rng.randrange(1, 2**31)

    def new_tag(self) -> str:
        """Return a fresh tag: 64 random bits (RFC 3261 §19.3 asks for 32)."""
        return self.tag_mark + hex_digits(self._rng, 8)

    def new_call_id(self) -> str:
        """Return a fresh Call-ID (RFC 3261 §8.1.1.4)."""
        return hex_digits(self._rng, 16)

    def uniform(self, low: float, high: float) -> float:
        """Return a random number between *low* and *high*."""
        return self._rng.uniform(low, high)

    def add(self, dialog: Dialog) -> None:
        """Make *dialog* known under its id."""
        self._dialogs[dialog.id.key] = dialog

    def remove(self, dialog: Dialog) -> None:
        """Forget *dialog*."""
        key = dialog.id.key
        if self._dialogs.get(key) is dialog:
            del self._dialogs[key]

    def find(self, dialog_id: DialogId) -> Dialog | None:
        """Return the dialog *dialog_id*."""
        return self._dialogs.get(dialog_id.key)

    def is_in_dialog(self, request: Request) -> bool:
        """Tell whether *request* belongs to a dialog: whoever sends it knows the Call-ID and two tags of 64 random bits."""
        return key_of(request) in self._dialogs

    def __len__(self) -> int:
        return len(self._dialogs)

    def answer(self, request: Request, _channel: Channel, tag: str) -> Response | None:
        """Answer what needs no transaction: what fails the common checks, belongs to no dialog, or asks for nothing that lasts."""
        refusal = None if is_fine(request) else refuse(request, tag, self.extensions)
        if refusal is not None:
            return refusal
        key = key_of(request)
        if request.to.tag:
            return None if key in self._dialogs else make_response(request, 481)
        if self.user is None or not request.headers.lacks("Authorization", "Proxy-Authorization"):
            return None  # the answer to credentials may depend on how often they came
        return self.user.answer_alone(request, tag)

    def on_request(self, transaction: ServerTransaction) -> None:
        """Check a request and bring it to its usage, or to the user when it opens something new."""
        request = transaction.request
        refusal = None if is_fine(request) else refuse(request, self.new_tag(), self.extensions)
        if refusal is not None:
            log.debug("%s from %s refused with %d", printable(request.method), transaction.channel.remote, refusal.status)
            transaction.respond(refusal)
            return
        key = key_of(request)
        if not request.to.tag:
            if self.user is None:
                transaction.respond(make_response(request, 480, to_tag=self.new_tag()))
            else:
                self.user.on_initial_request(transaction)
            return
        dialog = self._dialogs.get(key)
        if dialog is None:
            log.debug("%s for an unknown dialog, Call-ID %s", request.method, printable(request.call_id))
            transaction.respond(make_response(request, 481))
            return
        self._to_usage(dialog, transaction)

    def _to_usage(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        request = transaction.request
        usage = dialog.usage_for(request)
        # docs/spec/dialog.md, "Overtaken requests": BYE ends the call in whatever order it comes
        if dialog.state.admit(request) is Admission.OUT_OF_ORDER and request.method != "BYE":
            transaction.respond(make_response(request, 500, "Out Of Order"))
            if usage is not None:
                usage.on_overtaken(transaction)
            return
        if usage is not None:
            usage.on_request(transaction)
        elif request.method in ("NOTIFY", "SUBSCRIBE"):
            transaction.respond(bad_event(request))
        else:
            transaction.respond(make_response(request, 481))

    def on_ack(self, request: Request, channel: Channel) -> None:
        """Bring an ACK for a 2xx to its dialog; one for no dialog is ignored (RFC 3261 §12.2.2)."""
        dialog = self._dialogs.get(key_of(request))
        if dialog is None:
            log.debug("ACK for an unknown dialog from %s", channel.remote)
            return
        for usage in dialog.usages:
            usage.on_ack(request)

    def on_stray_response(self, response: Response, channel: Channel) -> None:
        """Bring a late 2xx to whoever sent the INVITE, so that it is acknowledged again."""
        handler = self.stray_2xx.get((response.call_id, response.from_.tag))
        if handler is None:
            log.debug("response %d without a transaction from %s", response.status, channel.remote)
        else:
            handler(response)

    def expect_2xx(self, key: tuple[str, str], handler: Callable[[Response], None]) -> None:
        """Let *handler* have the late 2xx responses to the INVITE with *key*: Call-ID and our tag."""
        self._cancel_forgetting(key)
        self.stray_2xx[key] = handler

    def forget_2xx_later(self, key: tuple[str, str]) -> None:
        """End that 64*T1 from now: so long a 2xx is repeated (RFC 3261 §13.2.2.4)."""
        if key not in self.stray_2xx:
            return
        self._cancel_forgetting(key)
        self._forgetting[key] = asyncio.get_running_loop().call_later(self.transactions.timing.timeout, self.forget_2xx, key)

    def forget_2xx(self, key: tuple[str, str]) -> None:
        """End that at once."""
        self._cancel_forgetting(key)
        self.stray_2xx.pop(key, None)

    def _cancel_forgetting(self, key: tuple[str, str]) -> None:
        handle = self._forgetting.pop(key, None)
        if handle is not None:
            handle.cancel()

    def close(self) -> None:
        """Shutdown: close every usage and forget every dialog, without a word."""
        for dialog in tuple(self._dialogs.values()):
            for usage in dialog.usages:
                usage.close()
        self._dialogs.clear()
        for key in tuple(self.stray_2xx):
            self.forget_2xx(key)

    async def channel_for(self, request: Request) -> Channel:
        """Return a channel to the next hop of *request*. Raises :class:`TransportError`."""
        return await self.exchanger.channel_for(request)

    async def send_ack(self, dialog: Dialog, cseq: int, body: bytes = b"", credentials: Iterable[tuple[str, str]] = ()) -> None:
        """Send the ACK for a 2xx in *dialog*: the INVITE's number and credentials (RFC 3261 §13.2.2.4). Failure is logged."""
        ack = dialog.state.new_request("ACK", cseq)
        for name, value in credentials:
            ack.headers.add(name, value)
        if body:
            ack.set_body(body, "application/sdp")
        await self._send_ack(ack)

    def acknowledge(self, dialog: Dialog, cseq: int, tasks: TaskSet, credentials: Iterable[tuple[str, str]] = ()) -> None:
        """Do what :meth:`send_ack` does, before this returns if there is a way now: a BYE that is sent next must not overtake it."""
        ack = dialog.state.new_request("ACK", cseq)
        for name, value in credentials:
            ack.headers.add(name, value)
        way = self.exchanger.way_now(ack)
        if way is None:
            tasks.spawn(self._send_ack(ack), name="ACK")
        else:
            self.transactions.send_ack(ack, way[1])

    async def _send_ack(self, ack: Request) -> None:
        try:
            channel = await self.channel_for(ack)
        except (TransportError, ParseError) as error:
            log.warning("no way for the ACK of Call-ID %s: %s", printable(ack.call_id), error)
            return
        self.transactions.send_ack(ack, channel)
