"""One call from inside: the INVITE usage of a dialog (RFC 3261 §12 to §15). The facade that users hold is :mod:`sipua.usage.call.call`."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from sipua.dialog.checks import Destroys, destroys
from sipua.dialog.layer import Dialog
from sipua.errors import CallError, ParseError, printable
from sipua.latch import Latch
from sipua.message import Message, Request, Response, make_response
from sipua.message.reason import Reason, cause_of, read_reasons
from sipua.sdp import OfferAnswerState
from sipua.transaction.layer import LocalResponse, ServerTransaction
from sipua.transport.base import Endpoint
from sipua.usage.call import inquiries
from sipua.usage.call.core import CallCore
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.media import CallMedia
from sipua.usage.call.packed import PackedRequest
from sipua.usage.call.refresher import Refresher
from sipua.usage.call.reinvite import Reinvites
from sipua.usage.call.roles import Owner, Role, Watcher

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
    """Why a call is over: who ended it, the status of the INVITE if it was refused (else 0), and the peer's Reason header.

    *reasons* are the values of Reason in the peer's BYE, CANCEL or refusal (RFC 3326, RFC 6432).
    """

    by: EndedBy
    status: int = 0
    reason: str = ""
    reasons: tuple[Reason, ...] = ()

    @property
    def q850_cause(self) -> int | None:
        """The cause of the telephone network (ITU-T Q.850), None when the peer named none."""
        return cause_of(self.reasons, "Q.850")

    @property
    def is_answered_elsewhere(self) -> bool:
        """True when the peer gave the call up because another phone answered it (RFC 3326 §3.1): not a missed call."""
        return self.by is EndedBy.PEER and cause_of(self.reasons, "SIP") == 200


class Session:
    """The INVITE usage: what both directions have in common."""

    __slots__ = (
        "__weakref__",
        "_dialog",
        "_invite",
        "_is_settled",
        "_over",
        "_peer_reasons",
        "_reinvites",
        "_settled",
        "bye_reason",
        "call_id",
        "confirmed_at",
        "core",
        "ending",
        "is_owner",
        "media",
        "on_end",
        "on_info",
        "on_progress",
        "on_refer",
        "owner",
        "peer_reason",
        "remote",
        "role",
        "state",
        "timer",
        "watchers",
    )

    def __init__(self, core: CallCore, invite: Request, media: CallMedia, *, is_owner: bool) -> None:
        """*is_owner*: we placed the call, and the Call-ID is ours (RFC 3261 §14.1)."""
        self.core = core
        self._invite: Request | PackedRequest = invite
        self.call_id = invite.call_id
        self.is_owner = is_owner
        self.media = media
        self.state = CallState.TRYING
        self.remote: Endpoint | None = None
        self.role: Role | None = None
        self.ending: Ending | None = None
        self.confirmed_at: float | None = None
        self.bye_reason = ""
        self.peer_reason = ""
        """The Reason header of the peer's BYE or CANCEL, fit for a log line."""
        self._peer_reasons: tuple[Reason, ...] = ()
        self.watchers: tuple[Watcher, ...] = ()
        self.on_refer: Callable[[ServerTransaction], None] | None = None
        self.on_info: Callable[[Request], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.owner: Owner | None = None
        """The call that users hold: told of the end before ``on_end``, which is the user's."""
        self.on_progress: Callable[[int], None] | None = None
        self._reinvites: Reinvites | None = None
        self.timer = Refresher(self)
        self._dialog: Dialog | None = None
        self._is_settled = False  # confirmed, over, or given up by us
        self._settled: Latch | None = None  # of those who wait for that
        self._over: Latch | None = None  # of those who wait for the end

    @property
    def invite(self) -> Request:
        """The INVITE that made the call."""
        return self._invite.unpack() if isinstance(self._invite, PackedRequest) else self._invite

    def rest(self) -> None:
        """The opening of the call is over: its INVITE is kept for those who still ask for it."""
        invite = self._invite
        if self.role is not None:
            self.role.rest()
        if isinstance(invite, Request) and not self.is_ended:
            self._invite = PackedRequest(invite)

    @property
    def reinvites(self) -> Reinvites:
        """What changes the running session; most calls have nothing of it."""
        if self._reinvites is None:
            self._reinvites = Reinvites(self)
            if self.is_ended:
                self._reinvites.close()
        return self._reinvites

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
    def is_offer_untouched(self) -> bool:
        """True while the first INVITE, the peer's, waits for its description: an offer of its own or nothing was in it."""
        machine = self.media.machine
        is_idle = machine.current is None and machine.state is OfferAnswerState.STABLE
        return is_idle and not self.is_answered and not self.is_owner

    async def wait_confirmed(self) -> None:
        """Return when the call is confirmed or over, or our side has hung up before the ACK."""
        if not self._is_settled:
            self._settled = self._settled or Latch()
            await self._settled.wait()

    async def wait_over(self) -> None:
        """Return when the call is over."""
        if not self.is_ended:
            self._over = self._over or Latch()
            await self._over.wait()

    def _settle(self) -> None:
        self._is_settled = True
        settled, self._settled = self._settled, None
        if settled is not None:
            settled.open()

    # -- what the roles report ------------------------------------------------------------------------------------------------------

    def now_confirmed(self) -> None:
        """2xx and ACK are exchanged."""
        if not self.is_ended:
            self.state = CallState.CONFIRMED
        self.confirmed_at = self.core.loop.time()
        self._settle()
        if not self.is_ended:
            self.timer.begin()
            self.core.resting.add(self)

    def wake_waiters(self) -> None:
        """Our side has hung up before the ACK: the call won't be of use to anybody who waits for it."""
        self._settle()

    def now_over(self, ending: Ending) -> None:
        """The session is over: release everything but what still runs in the dialog beside it."""
        if self.is_ended:
            return
        self.state = CallState.ENDED
        reasons = self._peer_reasons
        self.ending = replace(ending, reasons=reasons) if reasons and not ending.reasons else ending
        self.timer.close()
        if self._reinvites is not None:
            self._reinvites.close()
        self.media.close()
        if self._dialog is not None:
            self._dialog.detach(self)
        for watcher in self.watchers:
            watcher.call_ended(ending.by)
        self._settle()
        if self._over is not None:
            self._over.open()
        self.role = None  # it holds this session
        owner, on_end = self.owner, self.on_end
        self.owner = self.on_end = None
        if owner is not None:
            owner.released()
        if on_end is not None:
            on_end()

    def inherit(self, other: "Session") -> None:
        """Take the handlers of *other*, whose place this one takes: it ends without telling anybody."""
        for name in ("on_refer", "on_info", "on_end", "owner", "on_progress"):
            setattr(self, name, getattr(other, name))
            setattr(other, name, None)

    def close(self) -> None:
        """Shutdown: end at once, without a word."""
        if self.role is not None:
            self.role.stop()
        self.now_over(Ending(EndedBy.LOCAL))

    def send_bye(self) -> None:
        """Send BYE in the background; its answer changes nothing any more (RFC 3261 §15.1.1)."""
        headers = [("Reason", self.bye_reason)] if self.bye_reason else []
        self.dialog.send(self.dialog.new_request("BYE", headers), self.core.tasks, _note_bye)

    # -- requests of ours in the dialog ---------------------------------------------------------------------------------------------

    async def request(self, method: str, headers: list[tuple[str, str]], body: bytes = b"", content_type: str = "") -> Response:
        """Send a request other than INVITE in the dialog; an answer that ends the usage ends the call. Raises :class:`CallError`."""
        if method == "UPDATE":
            response = await self.timer.update(headers, body, content_type)
        else:
            response = await self.dialog.request(self.dialog.new_request(method, headers, body, content_type))
        self.judge(response, method)
        return response

    def judge(self, response: Response, method: str) -> None:
        """End the call when *response* says that the peer has lost it (RFC 5057 §5.1, RFC 3261 §12.2.1.2)."""
        if response.is_success or self.is_ended or self.role is None:
            return
        if method == "UPDATE" and response.status in (405, 501):
            return  # a call can do without UPDATE (RFC 5057 §5.1, note 3)
        if destroys(response.status, method) is not Destroys.TRANSACTION:
            log.warning("%s answered %d: the peer has lost Call-ID %s", method, response.status, printable(self.call_id))
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
            case "PRACK" if self.role is not None:
                self.role.prack(transaction)
            case "REFER" if self.on_refer is not None and self.is_confirmed:
                self.on_refer(transaction)
            case "REFER":
                transaction.respond(make_response(request, 603))
            case "INFO":
                response = inquiries.answer_info(request)
                transaction.respond(response)
                if response.is_success and self.on_info is not None:
                    self.on_info(request)
            case _:
                transaction.respond(
                    inquiries.answer_options(request, self.core.settings.server_name, extensions=self.core.dialogs.extensions)
                )

    def _on_bye(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        transaction.respond(make_response(request, 200))
        self.bye_reason = ""
        if self.role is not None and not self.is_ended:
            self.note_reason(request)
            self.role.bye()

    def note_reason(self, message: Message) -> None:
        """Keep the Reason of what ends the call: the peer's BYE or CANCEL, or its refusal (RFC 3326 §2, RFC 6432)."""
        self.peer_reason = printable(", ".join(message.headers.lines("Reason")))
        self._peer_reasons = read_reasons(message.headers)

    def on_overtaken(self, transaction: ServerTransaction) -> None:
        """A request that was overtaken is of no use to a call; BYE never counts as one."""

    def on_ack(self, ack: Request) -> None:
        """An ACK belongs to the first INVITE or to a re-INVITE, as its number says (RFC 3261 §13.3.1.4)."""
        if self._reinvites is not None and self._reinvites.on_ack(ack):
            return
        if self.role is not None:
            self.role.ack(ack)


def _note_bye(response: Response) -> None:
    if isinstance(response, LocalResponse):
        log.info("BYE of Call-ID %s got no answer: %s", printable(response.call_id), response.reason)
    elif not response.is_success:
        log.info("BYE of Call-ID %s answered %d", printable(response.call_id), response.status)
