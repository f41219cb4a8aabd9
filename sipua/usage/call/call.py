"""The call that users of the library hold: a few verbs over :class:`sipua.usage.call.session.Session`."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any

from sipua.dialog.layer import Dialog
from sipua.errors import CallEndedError, CallError, CallFailedError, SipError, printable
from sipua.message import Address, Request, Response, reason_phrase
from sipua.sdp import Direction
from sipua.transaction.layer import ServerTransaction
from sipua.transport.base import Endpoint
from sipua.usage.call.inbound import Inbound
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.media import CallMedia
from sipua.usage.call.outbound import Outbound
from sipua.usage.call.referred import IncomingTransfer, receive_refer
from sipua.usage.call.session import CallState, Ending, Session
from sipua.usage.call.transfer import Transferor
from sipua.usage.subscription.outcome import TransferOutcome
from sipua.usage.subscription.refer import ReferSettings

log = logging.getLogger("sipua.agent")

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
REPLACED = 'SIP;cause=200;text="Replaced"'
"""Reason of the BYE to a party whose place another one has taken."""


class Call:
    """A call, incoming or outgoing.

    A handler gets an incoming call unanswered: :meth:`ring`, :meth:`answer` or :meth:`reject` it. Every call can be put on
    :meth:`hold`, transferred by :meth:`transfer` and ended by :meth:`hangup`; :meth:`wait_ended` returns when it is over.
    """

    __slots__ = ("__weakref__", "_on_replaced", "_role", "_session", "_transferor", "_was_confirmed", "on_released")

    def __init__(self, session: Session, role: Inbound | Outbound) -> None:
        """Calls are made by :class:`sipua.agent.UserAgent`."""
        self._session = session
        self._role = role
        self._transferor = Transferor(session)
        self._was_confirmed = False  # in a dialog that was replaced
        self._on_replaced: Callable[[str], None] | None = None
        self.on_released: Callable[[Call], None] | None = None
        """The agent's: called when the call is over."""

    def released(self) -> None:
        """Tell the agent that the call is over."""
        if self.on_released is not None:
            self.on_released(self)

    # -- facts ----------------------------------------------------------------------------------------------------------------------

    @property
    def is_inbound(self) -> bool:
        """True when the peer called us."""
        return isinstance(self._role, Inbound)

    @property
    def invite(self) -> Request:
        """The INVITE that opened the call; its headers are for reading."""
        return self._session.invite

    @property
    def id(self) -> str:
        """The Call-ID."""
        return self._session.call_id

    @property
    def from_(self) -> Address:
        """The caller."""
        return self.invite.from_

    @property
    def to(self) -> Address:
        """The called party."""
        return self.invite.to

    @property
    def remote(self) -> Endpoint | None:
        """Where the INVITE came from or went to, None until there was a way."""
        return self._session.remote

    @property
    def state(self) -> CallState:
        """How far the call is."""
        return self._session.state

    @property
    def is_confirmed(self) -> bool:
        """True while the call is up."""
        return self._session.is_confirmed

    @property
    def is_answered(self) -> bool:
        """True once a 2xx was exchanged, also before its ACK."""
        return self._session.is_answered

    @property
    def was_confirmed(self) -> bool:
        """True once the call has been up, even if it is over now."""
        return self._was_confirmed or self._session.confirmed_at is not None

    @property
    def is_ended(self) -> bool:
        """True once the call is over."""
        return self._session.is_ended

    @property
    def ending(self) -> Ending | None:
        """Why the call is over, None before."""
        return self._session.ending

    @property
    def media(self) -> CallMedia:
        """The media."""
        return self._session.media

    def dialog_as_plain(self) -> dict[str, object]:
        """Return the call's dialog as plain data, empty before there is one: what a journal keeps."""
        return self._session.dialog.state.to_plain() if self._session.has_dialog else {}

    # -- an incoming call -------------------------------------------------------------------------------------------------------------

    async def ring(self, status: int = 180) -> None:
        """Send a provisional response (101 to 199), reliably where that was agreed on (RFC 3262); returns without waiting for its PRACK.

        Raises :class:`CallError` for an outgoing call, and when the response needs a media port and there is none.
        """
        _check_status(status, 101, 199)
        await self._inbound.ring(status)

    async def answer(self) -> None:
        """Answer with 200 and return when the call is confirmed by ACK.

        Raises :class:`CallEndedError` when the caller gives up first or :meth:`hangup` comes before the ACK, :class:`CallError` when
        no media can be agreed on.
        """
        if self.is_ended:
            raise CallEndedError("the call is over")
        await self._inbound.answer()

    async def reject(self, status: int = 603, reason: str | None = None) -> None:
        """Refuse with 300 to 699; without effect once the call is answered."""
        _check_status(status, 300, 699)
        self._inbound.reject(status, reason)

    @property
    def _inbound(self) -> Inbound:
        if not isinstance(self._role, Inbound):
            raise CallError("an outgoing call can't be answered")
        return self._role

    # -- every call -------------------------------------------------------------------------------------------------------------------

    async def wait_answered(self) -> None:
        """Return when an outgoing call is confirmed. Raises :class:`CallFailedError` with the status when it is not."""
        while True:
            session = self._session
            await session.wait_confirmed()
            if session is self._session:
                break
        if session.confirmed_at is None:
            ending = session.ending or Ending(EndedBy.LOST)
            status = ending.status or 487
            raise CallFailedError(status, ending.reason or reason_phrase(status))

    async def wait_ended(self) -> Ending:
        """Return when the call is over, with the reason."""
        while True:
            session = self._session
            await session.wait_over()
            if session is self._session:
                return session.ending or Ending(EndedBy.LOST)

    async def hangup(self, status: int = 480, reason: str = "") -> None:
        """End the call: BYE, CANCEL, or *status* for an unanswered incoming one; a no-op when it is over.

        *reason* is the value of a Reason header for the BYE or CANCEL (RFC 3326), such as ``SIP;cause=200;text="transferred"``.
        Returns when the end is on its way; :meth:`wait_ended` waits for it.
        """
        _check_status(status, 300, 699)
        self._end(status, reason)

    def _end(self, status: int, reason: str = "") -> None:
        if not self.is_ended:
            self._session.bye_reason = printable(reason)
            self._role.hangup(status)

    def task_ended(self, error: BaseException | None) -> bool:
        """End what the handler of the call has left, which raised *error*; tell whether that was to be expected: called by the agent."""
        self._end(500)
        if not isinstance(error, SipError):
            return False
        log.info("call %s: %s", printable(self.id), error)
        return True

    def transfer(
        self,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        settings: ReferSettings | None = None,
        settle_s: float | None = None,
        any_scheme: bool = False,
    ) -> Coroutine[Any, Any, TransferOutcome]:
        """Refer the peer to *target*, a SIP URI sent byte for byte, and return what became of it (RFC 3515).

        Never raises for a transfer that fails: the outcome says so. One transfer runs at a time; a second call waits. When another party
        takes over, what is sent already ends as ``local_hangup``; what is not is sent to the new party.
        The call is not ended by this; the transferor does that when it has nothing else to do (RFC 5589 §6.1).
        *headers* add to the REFER or replace Referred-By (an empty value leaves it out); *settings* and *settle_s* (seconds between
        ACK and REFER) stand in for the agent's; *any_scheme* lets other URIs through than SIP ones: a check of what a peer does with them.
        """
        return self._transferor.transfer(target, headers or _NO_HEADERS, settings, settle_s, any_scheme=any_scheme)

    async def hold(self) -> None:
        """Ask the peer to send no media (re-INVITE). Raises :class:`CallError` when it refuses."""
        await self._session.reinvites.reinvite(self._session.media.machine.local.direction.without_receive)

    async def resume(self) -> None:
        """End the hold. Raises :class:`CallError` when the peer refuses."""
        await self._session.reinvites.reinvite(self._session.media.machine.local.direction)

    async def refresh(self, direction: Direction | None = None) -> None:
        """Send a re-INVITE with an unchanged offer, or with another direction. Raises :class:`CallError`."""
        await self._session.reinvites.reinvite(direction)

    async def request(self, method: str, body: bytes = b"", content_type: str = "", headers: Mapping[str, str] | None = None) -> Response:
        """Send INFO, OPTIONS, MESSAGE or UPDATE in the call and return the answer. Raises :class:`CallError` for other methods."""
        if method in ("INVITE", "ACK", "BYE", "CANCEL", "REFER", "NOTIFY", "SUBSCRIBE", "PRACK"):
            raise CallError(f"{method} has a verb of its own")
        if not self.is_confirmed:
            raise CallEndedError("the call is not up")
        return await self._session.request(method, list((headers or {}).items()), body, content_type)

    # -- what the peer asks for -------------------------------------------------------------------------------------------------------

    def on_transfer_request(self, handler: Callable[[IncomingTransfer], None] | None) -> None:
        """Let *handler* decide about REFERs of the peer; without one they are declined (603)."""
        if handler is None:
            self._session.on_refer = None
            return

        def received(transaction: ServerTransaction) -> None:
            transfer = receive_refer(self._session, transaction)
            if transfer is not None:
                handler(transfer)

        self._session.on_refer = received

    def on_progress(self, handler: Callable[[int], None] | None) -> None:
        """Call *handler* with each provisional status (101 to 199) of an outgoing call."""
        self._session.on_progress = handler

    def on_end(self, handler: Callable[[], None] | None) -> None:
        """Call *handler* once when the call is over: at once if it is."""
        self._session.on_end = handler
        if handler is not None and self.is_ended:
            handler()

    def on_replaced(self, handler: Callable[[str], None] | None) -> None:
        """Call *handler* with the former Call-ID when another party takes the place of the peer: the call goes on (RFC 3891)."""
        self._on_replaced = handler

    def has_dialog(self, dialog: Dialog) -> bool:
        """Tell whether *dialog* is the one of this call, which is not over."""
        return not self.is_ended and self._session.has_dialog and self._session.dialog is dialog

    def go_on_as(self, session: Session, role: Inbound) -> None:
        """Let *session*, whose 200 has left, take the place of the dialog so far, which is ended (RFC 3891 §3)."""
        old, old_role = self._session, self._role
        self._was_confirmed = self.was_confirmed
        session.inherit(old)
        heir = self._transferor.heir = Transferor(session, is_heir=self._was_confirmed)
        self._session, self._role, self._transferor = session, role, heir
        old.bye_reason = REPLACED
        old_role.hangup(480)
        if self._on_replaced is not None:
            self._on_replaced(old.call_id)

    def abandon(self) -> None:
        """Send the BYE of a call that was hung up and still waits for its ACK: what an agent does before it closes."""
        self._role.abandon()

    def close(self) -> None:
        """Forget the call at once, without a word to the peer: what an agent does with the calls that are left when it closes."""
        self._session.close()

    def on_info(self, handler: Callable[[Request], None] | None) -> None:
        """Let *handler* see INFO requests; they are answered already."""
        self._session.on_info = handler


def _check_status(status: int, low: int, high: int) -> None:
    if not low <= status <= high:
        raise ValueError(f"status {status} is not {low} to {high}")
