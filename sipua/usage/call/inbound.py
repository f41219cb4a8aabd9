"""A call that comes in: the INVITE is answered as the machine says (RFC 3261 §13.3)."""

import logging

from sipua.dialog.checks import ALLOW
from sipua.dialog.layer import Dialog
from sipua.dialog.state import DialogState
from sipua.driver import Driver
from sipua.effects import Effect
from sipua.errors import CallEndedError, CallError, LimitError, ParseError, TransportError, printable
from sipua.message import Request, Response, copy_record_route, make_response
from sipua.sdp import Refusal
from sipua.transaction.layer import ServerTransaction
from sipua.transport.route import next_hop, target_of
from sipua.usage.call.core import CallCore
from sipua.usage.call.machine.effects import Confirmed, EndedBy, Over, Respond, SendBye
from sipua.usage.call.machine.uas import IncomingInvite, IncomingState
from sipua.usage.call.media import SDP, CallMedia, has_sdp, is_foreign_body
from sipua.usage.call.reinvite import refused, unsupported_body
from sipua.usage.call.session import CallState, Ending, Session

log = logging.getLogger("sipua.call")

MAX_REASON = 100  # characters of a reason phrase: a start line stays short


class Inbound:
    """The role of the one who was called."""

    def __init__(self, session: Session, transaction: ServerTransaction) -> None:
        self._session = session
        self._transaction = transaction
        self._machine = IncomingInvite(session.core.settings.timing)
        self._driver = Driver(self._machine, self._perform, session.core.loop)
        self._ok: Response | None = None
        self._refusal = 0  # the status that refused the INVITE
        self._answering = False
        self._offered = False  # our 200 has the offer, the ACK has the answer
        transaction.on_cancel = self._cancelled

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
                await session.media.open()
                if not session.is_ended:
                    self._accept()
            except (LimitError, TransportError) as error:
                log.error("no media port for Call-ID %s: %s", printable(session.invite.call_id), error)
                self.hangup(500)
                raise CallError(f"no media port: {error}") from error
            finally:
                self._answering = False
        await session.wait_confirmed()
        if session.confirmed_at is None or session.is_ended:
            by = "" if session.ending is None else f", ended by {session.ending.by}"
            raise CallEndedError(f"the 200 was not acknowledged{by}" if self._ok is not None else f"not answered{by}")

    def _accept(self) -> None:
        session = self._session
        invite = session.invite
        response = self._response(200)
        if has_sdp(invite):
            refusal = session.media.take_offer(invite.body)
            if refusal is not None:
                self._refuse(refusal)
                raise CallError(f"no media in common: {refusal.text}")
            response.set_body(session.media.answer(), SDP)
        else:
            self._offered = True
            response.set_body(session.media.offer(), SDP)
        self._ok = response
        session.state = CallState.ANSWERED
        self._driver.feed(self._machine.accept(self._now))

    def _refuse(self, refusal: Refusal) -> None:
        session = self._session
        wants = "; we speak PCMU and PCMA over RTP/AVP" if refusal.status == 488 else ""
        call_id = printable(session.invite.call_id)
        log.warning("call from %s refused with %d, Call-ID %s: %s%s", session.remote, refusal.status, call_id, refusal.text, wants)
        response = refused(session.invite, refusal, 0, self._tag)
        self._ok = response  # Respond sends it: it carries Warning
        self._driver.feed(self._machine.reject(response.status))

    def ring(self, status: int) -> None:
        """Send a provisional response."""
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

    def ack(self, ack: Request) -> None:
        """The ACK came; it may have the answer to our offer (RFC 3261 §13.2.2.4)."""
        if ack.cseq.number != self._session.invite.cseq.number:
            return
        if self._offered:
            self._offered = False
            refusal = self._session.media.take_answer(ack.body) if has_sdp(ack) else Refusal(400, "no answer in the ACK")
            if refusal is not None:
                log.warning("answer in the ACK of Call-ID %s can't be used: %s", printable(ack.call_id), refusal.text)
                self._driver.feed([*self._machine.ack(), *self._machine.hangup()])
                return
        self._driver.feed(self._machine.ack())

    def abandon(self) -> None:
        """The agent closes: a call that waits for its ACK gets its BYE now."""
        self._driver.feed(self._machine.abandon())

    def stop(self) -> None:
        """Shutdown."""
        self._driver.stop()

    def _cancelled(self, _cancel: Request) -> None:
        self._driver.feed(self._machine.cancel())

    def _perform(self, effect: Effect) -> None:
        session = self._session
        if isinstance(effect, Respond) and effect.status >= 300:
            self._refusal = effect.status
        match effect:
            case Respond(200) if self._ok is not None:
                self._transaction.respond(self._ok)
            case Respond(status) if self._ok is not None and self._ok.status == status:
                self._transaction.respond(self._ok)
            case Respond(status, reason):
                self._transaction.respond(self._response(status, reason))
            case Confirmed():
                session.now_confirmed()
            case SendBye():
                session.send_bye()
            case Over(by):
                if by is EndedBy.NO_ACK:
                    contact, call_id = session.dialog.contact, printable(session.invite.call_id)
                    log.warning("no ACK from %s, Call-ID %s: can it reach our Contact %s?", session.remote, call_id, contact)
                session.now_over(Ending(by, self._refusal, session.peer_reason))
            case _:
                log.error("effect %s is not an incoming call's", effect)

    @property
    def _tag(self) -> str:
        # The 200 to a CANCEL may have been the first response with a tag (RFC 3261 §9.2).
        return self._transaction.to_tag or self._session.dialog.state.local_tag

    def _response(self, status: int, reason: str | None = None) -> Response:
        session = self._session
        response = make_response(session.invite, status, reason, to_tag=self._tag)
        if 100 < status < 300:
            copy_record_route(session.invite, response)
            response.headers.add("Contact", session.dialog.contact)
            response.headers.add("Allow", ALLOW)
        if session.core.settings.server_name:
            response.headers.add("Server", session.core.settings.server_name)
        return response


def _obstacle(state: DialogState) -> str:
    """Return why no request of ours can ever leave in the dialog, ``""`` when one can: its next hop wants a transport we don't speak."""
    try:
        target_of(next_hop(state.new_request("BYE", 1)))
    except (ParseError, TransportError) as error:
        return printable(str(error))
    return ""


def receive_invite(core: CallCore, transaction: ServerTransaction) -> Session | None:
    """Make the call that an INVITE outside a dialog opens; None when it was refused on the spot."""
    request = transaction.request
    tag = core.dialogs.new_tag()
    try:
        if is_foreign_body(request):
            transaction.respond(unsupported_body(request, tag))
            return None
        state = DialogState.from_uas(request, tag)
        _ = request.record_route, request.supported
    except ParseError as error:
        log.info("INVITE from %s refused: %s", transaction.channel.remote, error)
        transaction.respond(make_response(request, error.status, f"Bad Request: {error.reason}", to_tag=tag))
        return None
    obstacle = _obstacle(state)
    if obstacle:
        log.warning("INVITE from %s refused: no way to %s: %s", transaction.channel.remote, printable(state.remote_target), obstacle)
        transaction.respond(make_response(request, 480, to_tag=tag))
        return None
    channel = transaction.channel
    user = request.request_uri.unescaped_user or "cxmld"
    dialog = Dialog(state, core.dialogs, core.contact_for(channel, user))
    media = CallMedia(core.settings.media, channel.local.host, core.settings.advertised_host, core.dialogs.first_cseq())
    session = Session(core, request, media)
    session.remote = channel.remote
    session.role = Inbound(session, transaction)
    session.use(dialog)
    return session
