"""A call that goes out: one INVITE, its challenges and forks (RFC 3261 §13.2)."""

import logging

from sipua.auth import Attempt, Authenticator
from sipua.dialog.checks import ALLOW
from sipua.dialog.layer import Dialog
from sipua.dialog.state import DialogState
from sipua.driver import Driver
from sipua.effects import Effect
from sipua.errors import ParseError, TransportError, printable
from sipua.message import CSeq, Request, Response
from sipua.message.build import MAX_FORWARDS
from sipua.message.headers import Headers
from sipua.sdp import Refusal
from sipua.transaction.layer import ClientTransaction, Failure
from sipua.transport.base import Channel
from sipua.usage.call.core import CallCore
from sipua.usage.call.machine.effects import Ack, Bye, Cancel, EndedBy, Established, Failed, Over, Progress, SendBye
from sipua.usage.call.machine.uac import OutgoingInvite
from sipua.usage.call.media import SDP, CallMedia, has_sdp
from sipua.usage.call.reinvite import credentials_of
from sipua.usage.call.session import CallState, Ending, Session

log = logging.getLogger("sipua.call")

MAX_FORKS = 32  # early dialogs of one INVITE; a callee has some devices, not hundreds


class Outbound:
    """The role of the caller."""

    def __init__(self, session: Session, invite: Request, authenticator: Authenticator | None) -> None:
        self.session = session
        self._attempt = Attempt(authenticator, invite)
        self._authenticator = authenticator
        self._machine = OutgoingInvite(session.core.settings.ring_limit_s)
        self._driver = Driver(self._machine, self._perform, session.core.loop)
        self._transaction: ClientTransaction | None = None
        self._channel: Channel | None = None
        self._forks: dict[str, Dialog] = {}
        self._answers: dict[str, bytes] = {}
        self._fault = ""  # why a 2xx can't be used
        self._cancelled = False

    @property
    def _key(self) -> tuple[str, str]:
        invite = self._attempt.request
        return invite.call_id, invite.from_.tag

    async def start(self) -> None:
        """Find the way and send the INVITE; its end comes by the session. Never raises for the network's reasons."""
        request = self._attempt.request
        dialogs = self.session.core.dialogs
        dialogs.expect_2xx(self._key, self._on_response)
        try:
            channel = await dialogs.channel_for(request)
        except TransportError as error:
            self._driver.feed(self._machine.failure(503, printable(str(error))))
            return
        if self._cancelled or self.session.is_ended:
            self._driver.feed(self._machine.failure(487))
            return
        self._channel = channel
        self.session.remote = channel.remote
        request.headers.set("Contact", self.session.core.contact_for(channel, request.from_.uri.unescaped_user or "cxmld"))
        self._transaction = dialogs.transactions.start(request, channel, on_response=self._on_response, on_failure=self._on_failure)

    def cancel(self) -> None:
        """Give the unanswered call up."""
        self._driver.feed(self._machine.cancel())

    def bye(self) -> None:
        """BYE came."""
        self._driver.feed(self._machine.bye())

    def hangup(self, status: int) -> None:
        """End the call in whatever state it is; *status* is of no use to a caller."""
        del status
        self._driver.feed([*self._machine.cancel(), *self._machine.hangup()])

    def lost(self) -> None:
        """The peer has lost the dialog."""
        self._driver.feed(self._machine.lost())

    def ack(self, ack: Request) -> None:
        """An ACK is nothing for a caller."""

    def abandon(self) -> None:
        """The agent closes: CANCEL or BYE has left already."""

    def stop(self) -> None:
        """Shutdown."""
        self._driver.stop()

    def _on_failure(self, failure: Failure) -> None:
        self._driver.feed(self._machine.failure(408 if failure is Failure.TIMEOUT else 503))

    def _on_response(self, response: Response) -> None:
        try:
            if response.is_provisional:
                effects = self._machine.provisional(response.status, self._fork(response), self.session.core.loop.time())
            elif response.is_success and self._machine.ignores(response.to.tag):
                log.warning("200 of one more fork of Call-ID %s ignored", printable(response.call_id))
                return
            elif response.is_success:
                effects = self._machine.success(self._fork(response))
            else:
                effects = self._refused(response)
        except ParseError as error:
            log.warning("response %d from %s can't be used: %s", response.status, self.session.remote, error)
            if response.is_success:
                self._unusable(response, error.reason)
            return
        self._driver.feed(effects)

    def _unusable(self, response: Response, fault: str) -> None:
        """Acknowledge a 2xx without a sound Contact or Record-Route as well as can be, and hang up: the peer would repeat it for ever."""
        if self.session.confirmed_at is None:  # a surplus fork's fault is nothing to the call
            self._fault = fault
        response.headers.set("Contact", f"<{self._attempt.request.uri}>")
        response.headers.remove("Record-Route")
        self._driver.feed(self._machine.success(self._fork(response)))

    def _refused(self, response: Response) -> list[Effect]:
        if not self._cancelled and self._attempt.retry(response):
            number = self._attempt.request.cseq.number + 1
            # RFC 3261 §12.3: the early dialogs of the refused INVITE are over
            self.session.leave()
            self._forks.clear()
            self._answers.clear()
            self._attempt.renew(CSeq(number, "INVITE"))
            self.session.core.tasks.spawn(self.start(), name="INVITE with credentials")
            return []
        return self._machine.failure(response.status, printable(response.reason))

    def _fork(self, response: Response) -> str:
        """Make or confirm the dialog of the fork that *response* comes from; return its tag."""
        tag = response.to.tag
        dialog = self._forks.get(tag)
        if dialog is None:
            if response.is_provisional and (response.status == 100 or not tag or len(self._forks) >= MAX_FORKS):
                return tag  # RFC 3261 §12.1, §13.2.2.1: no dialog
            state = DialogState.from_uac(self._attempt.request, response)
            contact = self._attempt.request.headers.get("Contact") or ""
            dialog = self._forks[tag] = Dialog(state, self.session.core.dialogs, contact, self._authenticator)
        elif response.is_success and not dialog.state.is_confirmed:
            dialog.state.confirm(response)
        if has_sdp(response):
            # The one in the 2xx counts; that of a 1xx serves when the 2xx leaves it out (RFC 3261 §13.2.1).
            self._answers[tag] = response.body
        return tag

    def _perform(self, effect: Effect) -> None:
        session = self.session
        match effect:
            case Progress(status, tag):
                session.state = CallState.RINGING
                self._preview(tag)
                if session.on_progress is not None:
                    session.on_progress(status)
            case Ack(tag):
                self._send_ack(tag)
            case Established(tag):
                self._established(tag)
            case Bye(tag):
                dialog = self._forks[tag]
                session.core.tasks.spawn(dialog.request(dialog.new_request("BYE")), name="BYE to a fork")
            case Cancel():
                self._cancelled = True
                if self._transaction is not None:
                    self._transaction.cancel()
            case SendBye():
                session.send_bye()
            case Failed(status, reason):
                by = EndedBy.LOCAL if self._cancelled else EndedBy.PEER
                self._close(Ending(by, status, reason or ""))
            case Over(by):
                self._close(Ending(by, 488, self._fault) if self._fault else Ending(by, 0, session.peer_reason))
            case _:
                log.error("effect %s is not an outgoing call's", effect)

    def _preview(self, tag: str) -> None:
        """An early dialog serves requests of the peer from its first response on (RFC 3261 §12.1)."""
        if tag in self._forks and not self.session.has_dialog:
            self.session.use(self._forks[tag])

    def _send_ack(self, tag: str) -> None:
        session = self.session
        dialog = self._forks[tag]
        number = self._attempt.request.cseq.number
        send = session.core.dialogs.send_ack(dialog, number, b"", credentials_of(self._attempt.request))
        session.core.tasks.spawn(send, name="ACK")

    def _established(self, tag: str) -> None:
        session = self.session
        dialog = self._forks[tag]
        if session.has_dialog and session.dialog is not dialog:
            session.dialog.detach(session)
        session.use(dialog)
        answer = self._answers.get(tag)
        if not self._fault:
            refusal = Refusal(400, "no answer in the 2xx") if answer is None else session.media.take_answer(answer)
            self._fault = "" if refusal is None else refusal.text
        if not self._fault:
            session.now_confirmed()
            return
        # RFC 3261 §13.2.2.4: a 2xx that can't be used is acknowledged, and the call ended
        log.warning("the answer of %s can't be used: %s", session.remote, self._fault)
        session.bye_reason = 'SIP;cause=488;text="Not Acceptable Here"'
        self._driver.feed(self._machine.hangup())

    def _close(self, ending: Ending) -> None:
        self.session.core.dialogs.forget_2xx_later(self._key)
        self.session.now_over(ending)


def make_invite(core: CallCore, target: str, caller: str, headers: list[tuple[str, str]], route: tuple[str, ...] = ()) -> Request:
    """Make the INVITE of a new call from *caller* (a From value without tag) to *target* (a URI), without Contact and body."""
    fields = Headers()
    for value in route:
        fields.add("Route", value)
    fields.add("Max-Forwards", MAX_FORWARDS)
    fields.add("From", f"{caller};tag={core.dialogs.new_tag()}")
    fields.add("To", f"<{target}>")
    fields.add("Call-ID", core.dialogs.new_call_id())
    fields.add("CSeq", str(CSeq(core.dialogs.first_cseq(), "INVITE")))
    fields.add("Contact", caller)
    fields.add("Allow", ALLOW)
    if core.dialogs.user_agent:
        fields.add("User-Agent", core.dialogs.user_agent)
    for name, value in headers:
        fields.add(name, value)
    return Request("INVITE", target, fields)


async def place_call(core: CallCore, invite: Request, local_host: str, authenticator: Authenticator | None) -> tuple[Session, Outbound]:
    """Open the media of a call and send its INVITE. Raises :class:`sipua.errors.LimitError` or :class:`TransportError` without a port."""
    media = CallMedia(core.settings.media, local_host, core.settings.advertised_host, core.dialogs.first_cseq())
    await media.open()
    invite.set_body(media.offer(), SDP)
    session = Session(core, invite, media)
    role = Outbound(session, invite, authenticator)
    session.role = role
    try:
        await role.start()
    except BaseException:
        # cancelled while the way was looked for: nothing was sent
        core.dialogs.forget_2xx((invite.call_id, invite.from_.tag))
        session.close()
        raise
    return session, role
