"""The call that users of the library hold: a few verbs over :class:`sipua.usage.call.session.Session`."""

from collections.abc import Callable, Mapping

from sipua.errors import CallEndedError, CallError, CallFailedError, printable
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


class Call:
    """A call, incoming or outgoing.

    A handler gets an incoming call unanswered: :meth:`ring`, :meth:`answer` or :meth:`reject` it. Every call can be put on
    :meth:`hold`, transferred by :meth:`transfer` and ended by :meth:`hangup`; :meth:`wait_ended` returns when it is over.
    """

    def __init__(self, session: Session, role: Inbound | Outbound) -> None:
        """Calls are made by :class:`sipua.agent.UserAgent`."""
        self._session = session
        self._role = role
        self._transferor = Transferor(session)

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
        return self.invite.call_id

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
        return self._session.confirmed_at is not None

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
        """Send a provisional response (101 to 199). Raises :class:`CallError` for an outgoing call."""
        _check_status(status, 101, 199)
        self._inbound.ring(status)

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
        await self._session.wait_confirmed()
        if self._session.confirmed_at is None:
            ending = self._session.ending or Ending(EndedBy.LOST)
            status = ending.status or 487
            raise CallFailedError(status, ending.reason or reason_phrase(status))

    async def wait_ended(self) -> Ending:
        """Return when the call is over, with the reason."""
        await self._session.wait_over()
        return self._session.ending or Ending(EndedBy.LOST)

    async def hangup(self, status: int = 480, reason: str = "") -> None:
        """End the call: BYE, CANCEL, or *status* for an unanswered incoming one; a no-op when it is over.

        *reason* is the value of a Reason header for the BYE (RFC 3326), such as ``SIP;cause=200;text="transferred"``.
        Returns when the end is on its way; :meth:`wait_ended` waits for it.
        """
        _check_status(status, 300, 699)
        if not self.is_ended:
            self._session.bye_reason = printable(reason)
            self._role.hangup(status)

    async def transfer(
        self,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        settings: ReferSettings | None = None,
        settle_s: float | None = None,
    ) -> TransferOutcome:
        """Refer the peer to *target*, a SIP URI sent byte for byte, and return what became of it (RFC 3515).

        Never raises for a transfer that fails: the outcome says so. One transfer runs at a time; a second call waits.
        The call is not ended by this; the transferor does that when it has nothing else to do (RFC 5589 §6.1).
        *headers* add to the REFER or replace Referred-By (an empty value leaves it out); *settings* and *settle_s* (seconds between
        ACK and REFER) stand in for the agent's.
        """
        return await self._transferor.transfer(target, dict(headers or {}), settings, settle_s)

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
