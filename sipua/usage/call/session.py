"""One call from inside: the INVITE usage of a dialog (RFC 3261 §12 to §15). The facade that users hold is :mod:`sipua.usage.call.call`."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sipua.dialog.checks import Destroys, destroys
from sipua.dialog.layer import Dialog
from sipua.errors import CallError, ParseError, printable
from sipua.message import Request, Response, make_response
from sipua.transaction.layer import LocalResponse, ServerTransaction
from sipua.transport.base import Endpoint
from sipua.usage.call import inquiries
from sipua.usage.call.core import CallCore
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.media import CallMedia
from sipua.usage.call.reinvite import Reinvites

log = logging.getLogger("sipua.call")


class CallState(StrEnum):
    """How far a call is."""

    TRYING = "trying"
    RINGING = "ringing"
    ANSWERED = "answered"
    CONFIRMED = "confirmed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a call is over: who ended it, the status of the INVITE if it was refused (else 0), and the peer's Reason header."""

    by: EndedBy
    status: int = 0
    reason: str = ""


class Role(Protocol):
    """The side of the INVITE that a call is on."""

    def bye(self) -> None:
        """BYE came and is answered."""

    def hangup(self, status: int) -> None:
        """Our side wants the end."""

    def lost(self) -> None:
        """The peer has lost the dialog."""

    def ack(self, ack: Request) -> None:
        """An ACK for a 2xx of ours came."""

    def abandon(self) -> None:
        """The agent closes: end now what waits for the peer."""

    def stop(self) -> None:
        """Shutdown: never wake again."""


class Watcher(Protocol):
    """Something that must know when the call ends: a transfer."""

    def call_ended(self, by: EndedBy) -> None:
        """The call is over."""


class Session:
    """The INVITE usage: what both directions have in common."""

    def __init__(self, core: CallCore, invite: Request, media: CallMedia) -> None:
        self.core = core
        self.invite = invite
        self.media = media
        self.state = CallState.TRYING
        self.remote: Endpoint | None = None
        self.role: Role | None = None
        self.ending: Ending | None = None
        self.confirmed_at: float | None = None
        self.bye_reason = ""
        self.watchers: list[Watcher] = []
        self.on_refer: Callable[[ServerTransaction], None] | None = None
        self.on_info: Callable[[Request], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.on_released: Callable[[], None] | None = None
        """The agent's: called before ``on_end``, which is the user's."""
        self.on_progress: Callable[[int], None] | None = None
        self.reinvites = Reinvites(self)
        self._dialog: Dialog | None = None
        self._confirmed = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def dialog(self) -> Dialog:
        """The call's dialog. Raises :class:`CallError` before there is one."""
        if self._dialog is None:
            raise CallError("the call has no dialog yet")
        return self._dialog

    @property
    def has_dialog(self) -> bool:
        """True once there is a dialog."""
        return self._dialog is not None

    @property
    def is_ended(self) -> bool:
        """True once the call is over."""
        return self.state is CallState.ENDED

    @property
    def is_confirmed(self) -> bool:
        """True while requests in the dialog may be sent."""
        return self.state is CallState.CONFIRMED

    @property
    def is_answered(self) -> bool:
        """True once the INVITE has its 2xx."""
        return self.state in (CallState.ANSWERED, CallState.CONFIRMED)

    def use(self, dialog: Dialog) -> None:
        """Make *dialog* the call's."""
        self._dialog = dialog
        dialog.attach(self)

    def leave(self) -> None:
        """Give up the early dialog: the INVITE that made it is sent again (RFC 3261 §12.3)."""
        if self._dialog is not None:
            self._dialog.detach(self)
            self._dialog = None

    @property
    def is_owner(self) -> bool:
        """True when we placed the call: the Call-ID is ours (RFC 3261 §14.1)."""
        return self._dialog is None or self.invite.from_.tag == self._dialog.state.local_tag

    async def wait_confirmed(self) -> None:
        """Return when the call is confirmed or over, or our side has hung up before the ACK."""
        await self._confirmed.wait()

    async def wait_over(self) -> None:
        """Return when the call is over."""
        await self._over.wait()

    # -- what the roles report ------------------------------------------------------------------------------------------------------

    def now_confirmed(self) -> None:
        """2xx and ACK are exchanged."""
        if not self.is_ended:
            self.state = CallState.CONFIRMED
        self.confirmed_at = self.core.loop.time()
        self._confirmed.set()

    def wake_waiters(self) -> None:
        """Our side has hung up before the ACK: the call won't be of use to anybody who waits for it."""
        self._confirmed.set()

    def now_over(self, ending: Ending) -> None:
        """The session is over: release everything but what still runs in the dialog beside it."""
        if self.is_ended:
            return
        self.state = CallState.ENDED
        self.ending = ending
        self.reinvites.close()
        self.media.close()
        if self._dialog is not None:
            self._dialog.detach(self)
        for watcher in tuple(self.watchers):
            watcher.call_ended(ending.by)
        self._confirmed.set()
        self._over.set()
        for handler in (self.on_released, self.on_end):
            if handler is not None:
                handler()

    def close(self) -> None:
        """Shutdown: end at once, without a word."""
        if self.role is not None:
            self.role.stop()
        self.now_over(Ending(EndedBy.LOCAL))

    def send_bye(self) -> None:
        """Send BYE in the background; its answer changes nothing any more (RFC 3261 §15.1.1)."""
        headers = [("Reason", self.bye_reason)] if self.bye_reason else []
        self.core.tasks.spawn(self._bye(self.dialog, headers), name="BYE")

    @staticmethod
    async def _bye(dialog: Dialog, headers: list[tuple[str, str]]) -> None:
        response = await dialog.request(dialog.new_request("BYE", headers))
        if isinstance(response, LocalResponse):
            log.info("BYE of Call-ID %s got no answer: %s", printable(dialog.state.call_id), response.reason)
        elif not response.is_success:
            log.info("BYE of Call-ID %s answered %d", printable(dialog.state.call_id), response.status)

    # -- requests of ours in the dialog ---------------------------------------------------------------------------------------------

    async def request(self, method: str, headers: list[tuple[str, str]], body: bytes = b"", content_type: str = "") -> Response:
        """Send a request other than INVITE in the dialog; an answer that ends the usage ends the call. Raises :class:`CallError`."""
        response = await self.dialog.request(self.dialog.new_request(method, headers, body, content_type))
        self.judge(response, method)
        return response

    def judge(self, response: Response, method: str) -> None:
        """End the call when *response* says that the peer has lost it (RFC 5057 §5.1, RFC 3261 §12.2.1.2)."""
        if not response.is_success and destroys(response.status, method) is not Destroys.TRANSACTION and self.role is not None:
            log.warning("%s answered %d: the peer has lost Call-ID %s", method, response.status, printable(self.invite.call_id))
            self.role.lost()

    # -- Usage ----------------------------------------------------------------------------------------------------------------------

    def accepts(self, request: Request) -> bool:
        """The call takes all that is not an event (RFC 5057 §5.3)."""
        return request.method not in ("NOTIFY", "SUBSCRIBE")

    def on_request(self, transaction: ServerTransaction) -> None:
        """Serve a request in the dialog."""
        request = transaction.request
        try:
            self._serve(transaction)
        except ParseError as error:
            transaction.respond(make_response(request, error.status, error.reason))

    def _serve(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        match request.method:
            case "BYE":
                self._on_bye(transaction)
            case "INVITE":
                self.reinvites.on_invite(transaction)
            case "UPDATE":
                self.reinvites.on_update(transaction)
            case "REFER" if self.on_refer is not None and self.is_confirmed:
                self.dialog.state.refresh_target(request)
                self.on_refer(transaction)
            case "REFER":
                transaction.respond(make_response(request, 603))
            case "INFO":
                response = inquiries.answer_info(request)
                transaction.respond(response)
                if response.is_success and self.on_info is not None:
                    self.on_info(request)
            case _:
                transaction.respond(inquiries.answer_options(request, self.core.settings.server_name))

    def _on_bye(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        transaction.respond(make_response(request, 200))
        self.bye_reason = ""
        reason = request.headers.get("Reason") or ""
        if self.role is not None and not self.is_ended:
            self._peer_reason = printable(reason)
            self.role.bye()

    _peer_reason = ""

    @property
    def peer_reason(self) -> str:
        """The Reason header of the peer's BYE, fit for a log line."""
        return self._peer_reason

    def on_overtaken(self, transaction: ServerTransaction) -> None:
        """A request that was overtaken is of no use to a call; BYE never counts as one."""

    def on_ack(self, ack: Request) -> None:
        """An ACK belongs to the first INVITE or to a re-INVITE, as its number says (RFC 3261 §13.3.1.4)."""
        if self.reinvites.on_ack(ack):
            return
        if self.role is not None:
            self.role.ack(ack)
