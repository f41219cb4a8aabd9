"""A call that comes in: the INVITE is answered as the machine says (RFC 3261 §13.3)."""

import logging
from collections.abc import Callable

from sipua.dialog.checks import ALLOW
from sipua.dialog.layer import Dialog
from sipua.dialog.state import DialogState
from sipua.driver import Driver
from sipua.effects import Effect
from sipua.errors import CallEndedError, CallError, LimitError, ParseError, TransportError, printable
from sipua.message import Headers, Request, Response, copy_record_route, make_response
from sipua.sdp import Refusal
from sipua.transaction.layer import ServerTransaction
from sipua.transport.route import is_secure_from_peer
from sipua.usage.call.body import SDP, accepts_sdp, is_foreign_body, sdp_of
from sipua.usage.call.core import CallCore
from sipua.usage.call.machine.effects import Confirmed, EndedBy, Over, Respond, SendBye
from sipua.usage.call.machine.reliable_uas import wants_reliable
from sipua.usage.call.machine.uas import IncomingInvite, IncomingState
from sipua.usage.call.media import CallMedia, media_host
from sipua.usage.call.provisional import Provisionals, answer_stray_prack
from sipua.usage.call.refresher import refuse_interval
from sipua.usage.call.reinvite import refused, unsupported_body
from sipua.usage.call.session import CallState, Ending, Session

log = logging.getLogger("sipua.call")

NO_PORT_RETRY_S = 5  # calls end meanwhile and give their media ports back
MAX_EXPIRES_S = 86400  # nobody rings longer; a loop need not keep timers for years
MAX_REASON = 100  # characters of a reason phrase: a start line stays short


class Inbound:
    """The role of the one who was called."""

    __slots__ = (
        "_answering",
        "_cseq",
        "_head",
        "_is_accepted",
        "_machine",
        "_offered",
        "_ok",
        "_provisionals",
        "_refusal",
        "_run",
        "_session",
        "_transaction",
    )

    def __init__(self, session: Session, transaction: ServerTransaction) -> None:
        self._session = session
        self._transaction: ServerTransaction | None = transaction  # while it can be answered
        self._cseq = session.invite.cseq.number
        self._machine = IncomingInvite(session.core.settings.timing)
        self._run: Driver | None = None
        self._ok: Response | None = None  # what answers the INVITE for good, while it may have to be sent again
        self._head: tuple[str, list[tuple[str, str]]] | None = None  # our tag, and what all responses that open a dialog begin with
        self._is_accepted = False
        self._refusal = 0  # the status that refused the INVITE
        self._answering = False
        self._offered = False  # our 200 has the offer, the ACK has the answer
        self._provisionals: Provisionals | None = None
        if wants_reliable(session.invite, session.core.settings.reliable_provisional):
            self._provisionals = Provisionals(session, transaction, self._response, self._refuse, self._unacknowledged)
        transaction.on_cancel = self._cancelled
        expires_s = _expires(session.invite)
        if expires_s is not None:
            self._machine.expire_after(expires_s, self._now)
            self._driver.feed(())

    @property
    def _driver(self) -> Driver:
        if self._run is None:
            self._run = Driver(self._machine, self._perform, self._session.core.loop)
        return self._run

    def rest(self) -> None:
        """The call has been up for a while, and no timer runs: nothing is to be driven before it ends."""
        if not len(self._machine.timers):
            self._run = None

    @property
    def _now(self) -> float:
        return self._session.core.loop.time()

    async def answer(self) -> None:
        """Send 200 and wait for the ACK; a second call waits for the same ACK.

        Raises :class:`CallEndedError` when the call ends first or our side hangs up before the ACK, :class:`CallError` when no media
        can be agreed on (488 is sent then).
        """
        session = self._session
        if self._ok is None and not self._answering and not session.is_ended:
            self._answering = True
            try:
                await self._open_media()
                if await self._may_accept():
                    self._accept()
            finally:
                self._answering = False
        await session.wait_confirmed()
        if session.confirmed_at is None or session.is_ended:
            by = "" if session.ending is None else f", ended by {session.ending.by}"
            raise CallEndedError(f"the 200 was not acknowledged{by}" if self._is_accepted else f"not answered{by}")

    async def _may_accept(self) -> bool:
        """Wait until no reliable response holds the 200 up; False: the INVITE has another final response."""
        is_released = self._provisionals is None or await self._provisionals.wait_released()
        return is_released and not self._session.is_ended

    async def accept_at_once(self, is_wanted: Callable[[], bool]) -> bool:
        """Send 200 in place of another call, if *is_wanted* still says so, else 481; return whether the 200 was sent."""
        try:
            await self._open_media()
            if not await self._may_accept():
                return False
            if not is_wanted():
                self.reject(481, None)
                return False
            self._accept()
        except CallError:
            return False  # it has its refusal
        return True

    async def _open_media(self) -> None:
        """Open the socket. Raises :class:`CallError` without a port; the call has its 503 then."""
        session = self._session
        try:
            await session.media.open()
        except (LimitError, TransportError) as error:
            log.error("no media port for Call-ID %s: %s", printable(session.call_id), error)
            self._ok = self._response(503)  # the next call may find a port
            self._ok.headers.add("Retry-After", str(NO_PORT_RETRY_S))
            self.hangup(503)
            raise CallError(f"no media port: {error}") from error

    def _accept(self) -> None:
        session = self._session
        response = self._response(200)
        body = sdp_of(session.invite)
        if self._provisionals is not None and self._provisionals.is_described:
            pass  # offer and answer went by 1xx and PRACK (RFC 3262 §5)
        elif body is not None:
            answer = session.media.answer(body)
            if isinstance(answer, Refusal):
                self._refuse(answer)
                raise CallError(f"no media in common: {answer.text}")
            response.set_body(answer, SDP)
        else:
            self._offered = True
            response.set_body(session.media.offer(), SDP)
        session.timer.accept(session.invite, response)
        self._ok = response
        self._is_accepted = True
        session.state = CallState.ANSWERED
        self._driver.feed(self._machine.accept(self._now))

    def _refuse(self, refusal: Refusal) -> None:
        session = self._session
        wants = "; we speak PCMU and PCMA over RTP/AVP" if refusal.status == 488 else ""
        call_id = printable(session.call_id)
        log.warning("call from %s refused with %d, Call-ID %s: %s%s", session.remote, refusal.status, call_id, refusal.text, wants)
        response = refused(session.invite, refusal, 0, self._tag)
        self._ok = response  # Respond sends it: it carries Warning
        self._driver.feed(self._machine.reject(response.status))

    async def ring(self, status: int) -> None:
        """Send a provisional response. Raises :class:`CallError` when it needs a media port and there is none."""
        if self._provisionals is not None and self._provisionals.needs_media(status) and not self._session.is_ended:
            await self._open_media()
        if self._session.state is CallState.TRYING:
            self._session.state = CallState.RINGING
        self._driver.feed(self._machine.ring(status, self._now))

    def reject(self, status: int, reason: str | None) -> None:
        """Refuse the call; without effect once it is answered."""
        self._driver.feed(self._machine.reject(status, None if reason is None else printable(reason, MAX_REASON)))

    def bye(self) -> None:
        """BYE came."""
        self._driver.feed(self._machine.bye())

    def hangup(self, status: int) -> None:
        """End the call; an unanswered one gets *status*."""
        self._driver.feed(self._machine.hangup(status))
        if self._machine.state is IncomingState.CLOSING:
            self._session.wake_waiters()

    def lost(self) -> None:
        """The peer has lost the dialog."""
        self._driver.feed(self._machine.lost())

    def expired(self) -> None:
        """Nobody has refreshed the session."""
        self._driver.feed(self._machine.expired())

    def ack(self, ack: Request) -> None:
        """The ACK came; it may have the answer to our offer (RFC 3261 §13.2.2.4)."""
        if ack.cseq.number != self._cseq:
            return
        if self._offered:
            self._offered = False
            body = sdp_of(ack)
            refusal = Refusal(400, "no answer in the ACK") if body is None else self._session.media.take_answer(body)
            if refusal is not None:
                log.warning("answer in the ACK of Call-ID %s can't be used: %s", printable(ack.call_id), refusal.text)
                self._driver.feed([*self._machine.ack(), *self._machine.hangup()])
                return
        self._driver.feed(self._machine.ack())

    def prack(self, transaction: ServerTransaction) -> None:
        """Answer a PRACK. Raises :class:`ParseError` for one that can't be read."""
        if self._provisionals is None:
            answer_stray_prack(transaction)
        else:
            self._provisionals.on_prack(transaction)

    def _unacknowledged(self) -> None:
        self._driver.feed(self._machine.unacknowledged())

    def abandon(self) -> None:
        """The agent closes: a call that waits for its ACK gets its BYE now."""
        self._driver.feed(self._machine.abandon())

    def stop(self) -> None:
        """Shutdown."""
        self._driver.stop()
        if self._provisionals is not None:
            self._provisionals.stop()

    def _cancelled(self, cancel: Request) -> None:
        self._session.note_reason(cancel)
        self._driver.feed(self._machine.cancel())

    def _perform(self, effect: Effect) -> None:
        session = self._session
        match effect:
            case Respond(status, reason):
                self._respond(status, reason)
            case Confirmed():
                self._ok = self._head = None
                self._let_go()
                session.now_confirmed()
            case SendBye():
                session.send_bye()
            case Over(by):
                if by is EndedBy.NO_ACK and self._is_accepted:
                    contact, call_id = session.dialog.contact, printable(session.call_id)
                    log.warning("no ACK from %s, Call-ID %s: can it reach our Contact %s?", session.remote, call_id, contact)
                self._let_go()
                self._driver.release()
                session.now_over(Ending(by, self._refusal, session.peer_reason))
            case _:
                log.error("effect %s is not an incoming call's", effect)

    def _let_go(self) -> None:
        """The INVITE is answered for good: its transaction, which lives longer, must not keep the call in memory."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.on_cancel = None

    def _respond(self, status: int, reason: str | None) -> None:
        """Answer the INVITE: a provisional response, or the final one, which is the same each time."""
        if status >= 300:
            self._refusal = status
            if self._provisionals is not None:
                self._provisionals.stop()
        transaction = self._transaction
        if self._provisionals is not None and status < 200:
            self._provisionals.send(status)
        elif transaction is not None:
            is_made = self._ok is not None and self._ok.status == status
            transaction.respond(self._ok if self._ok is not None and is_made else self._response(status, reason))

    @property
    def _tag(self) -> str:
        # The 200 to a CANCEL may have been the first response with a tag (RFC 3261 §9.2).
        return ("" if self._transaction is None else self._transaction.to_tag) or self._session.dialog.state.local_tag

    def _response(self, status: int, reason: str | None = None) -> Response:
        session = self._session
        tag = self._tag
        if not 100 < status < 300:
            response = make_response(session.invite, status, reason, to_tag=tag)
            if session.core.settings.server_name:
                response.headers.add("Server", session.core.settings.server_name)
            return response
        if self._head is None or self._head[0] != tag:
            response = make_response(session.invite, status, to_tag=tag)
            copy_record_route(session.invite, response)
            response.headers.add("Contact", session.dialog.contact)
            response.headers.add("Allow", ALLOW)
            if session.core.settings.server_name:
                response.headers.add("Server", session.core.settings.server_name)
            self._head = tag, list(response.headers)
        return Response(status, reason, Headers(self._head[1]))


def _expires(invite: Request) -> int | None:
    """Return for how many seconds the caller wants to wait, None: for as long as it takes. A broken Expires says nothing."""
    try:
        expires_s = invite.expires
    except ParseError:
        return None
    return None if expires_s is None or expires_s > MAX_EXPIRES_S else expires_s


def _obstacle(core: CallCore, state: DialogState) -> str:
    """Return why no request of ours can ever leave in the dialog, ``""`` when one can: its next hop wants a transport we don't speak."""
    try:
        obstacle = core.dialogs.exchanger.obstacle(state.next_hop())
    except ParseError as error:
        obstacle = error.reason
    return printable(obstacle) if obstacle else ""


def receive_invite(core: CallCore, transaction: ServerTransaction) -> Session | None:
    """Make the call that an INVITE outside a dialog opens; None when it was refused on the spot."""
    request = transaction.request
    tag = core.dialogs.new_tag()
    try:
        if is_foreign_body(request):
            transaction.respond(unsupported_body(request, tag))
            return None
        if not accepts_sdp(request):
            log.info("INVITE from %s refused: its Accept has no session description", transaction.channel.remote)
            transaction.respond(make_response(request, 406, to_tag=tag))
            return None
        state = DialogState.from_uas(request, tag)
        _ = request.supported
    except ParseError as error:
        log.info("INVITE from %s refused: %s", transaction.channel.remote, error)
        transaction.respond(make_response(request, error.status, f"Bad Request: {error.reason}", to_tag=tag))
        return None
    too_brief = refuse_interval(request, core, transaction.channel.remote, tag)
    if too_brief is not None:
        transaction.respond(too_brief)
        return None
    obstacle = _obstacle(core, state)
    if obstacle:
        log.warning("INVITE from %s refused: no way to %s: %s", transaction.channel.remote, printable(state.remote_target), obstacle)
        transaction.respond(make_response(request, 480, to_tag=tag))
        return None
    channel = transaction.channel
    user = request.request_uri.unescaped_user or "cxmld"
    dialog = Dialog(state, core.dialogs, core.contact_for(channel, user, is_secure_from_peer(request)))
    host = media_host(channel.local.host, sdp_of(request), core.source_for)
    media = CallMedia(core.settings.media, host, core.settings.advertised, core.dialogs.first_cseq())
    session = Session(core, request, media, is_owner=False)
    session.remote = channel.remote
    session.role = Inbound(session, transaction)
    session.use(dialog)
    return session
