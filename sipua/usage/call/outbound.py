"""A call that goes out: one INVITE, its challenges and forks (RFC 3261 §13.2)."""

import logging

from sipua.auth import Attempt, Authenticator
from sipua.dialog.checks import ALLOW, SUPPORTED_EXTENSIONS
from sipua.dialog.layer import Dialog
from sipua.dialog.state import DialogState
from sipua.driver import Driver
from sipua.effects import Effect
from sipua.errors import LimitError, ParseError, TransportError, printable
from sipua.message import CSeq, RAck, Request, Response, make_response
from sipua.message.build import MAX_FORWARDS
from sipua.message.headers import Headers
from sipua.sdp import Refusal
from sipua.transaction.exchange import anew
from sipua.transaction.failover import Leave, why_leave
from sipua.transaction.layer import ClientTransaction, Failure, ServerTransaction
from sipua.transport.base import Channel, Endpoint
from sipua.transport.route import is_secure
from sipua.usage.call.body import SDP, sdp_of
from sipua.usage.call.core import CallCore
from sipua.usage.call.machine.effects import Ack, Bye, Cancel, EndedBy, Established, Failed, Over, Progress, SendBye
from sipua.usage.call.machine.reliable_uac import ReliableOrder, Verdict, is_reliable
from sipua.usage.call.machine.uac import OutgoingInvite
from sipua.usage.call.media import CallMedia
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
        self._servers: list[Endpoint] = []  # that were not tried yet
        self._server: Endpoint | None = None
        self._highest = 0  # the highest 1xx of the present server
        self._forks: dict[str, Dialog] = {}
        self._answers: dict[str, bytes] = {}
        self._ok: Response | None = None  # the 2xx that the call is established by
        self._reliable: dict[str, ReliableOrder] = {}
        self._settled: set[str] = set()  # forks whose answer came in a reliable 1xx: it counts (RFC 3262 §5)
        self._fault = ""  # why a 2xx can't be used
        self._in_force: str | None = None  # the fork whose answer our offer has
        self._answer_fault = ""
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
            self._servers = await dialogs.exchanger.targets(request)
        except TransportError as error:
            self._driver.feed(self._machine.failure(503, printable(str(error))))
            return
        await self._go_on()

    async def _go_on(self) -> None:
        """Send the INVITE to the first server left that takes it; without one the call fails."""
        dialogs = self.session.core.dialogs
        failure = "no address"
        while self._servers:
            self._server = self._servers.pop(0)
            request = self._attempt.request
            try:
                channel = await dialogs.exchanger.channel_to(self._server, request)
                await self._move_media(channel)
            except (TransportError, LimitError) as error:
                failure = printable(str(error))
                self._note_left(Leave.TRANSPORT)
                continue
            if self._cancelled or self.session.is_ended:
                self._driver.feed(self._machine.failure(487))
                return
            self._send(request, channel)
            return
        self._driver.feed(self._machine.failure(503, failure))

    async def _move_media(self, channel: Channel) -> None:
        """Describe media of the address family that leads to the server: the former server's may have been the other."""
        if await self.session.media.move(channel.local.host):
            self._attempt.request.set_body(self.session.media.offer(), SDP)

    def _send(self, request: Request, channel: Channel) -> None:
        self._channel = channel
        self._highest = 0
        self.session.remote = channel.remote
        user = request.from_.uri.unescaped_user or "cxmld"
        request.headers.set("Contact", self.session.core.contact_for(channel, user, is_secure(request)))
        transactions = self.session.core.dialogs.transactions
        self._transaction = transactions.start(request, channel, on_response=self._on_response, on_failure=self._on_failure)

    def _note_left(self, why: Leave, response: Response | None = None) -> None:
        if self._server is not None:
            following = self._servers[0] if self._servers else None
            self.session.core.dialogs.exchanger.left(self._server, why, self._attempt.request, following, response)

    def _leaves(self, end: Leave | int, response: Response | None = None) -> bool:
        """Tell whether the INVITE goes on to another server after *end*, and let it (RFC 3263 §4.3)."""
        why = why_leave("INVITE", self._highest, end)
        if why is None:
            if response is not None and self._server is not None:
                self.session.core.dialogs.exchanger.answered(self._server)
            return False
        self._note_left(why, response)
        if not self._servers or self._cancelled or self.session.is_ended:
            return False
        self._attempt.request = anew(self._attempt.request)
        self.session.core.tasks.spawn(self._go_on(), name="INVITE to another server")
        return True

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

    def expired(self) -> None:
        """Nobody has refreshed the session."""
        self._driver.feed(self._machine.expired())

    def ack(self, ack: Request) -> None:
        """An ACK is nothing for a caller."""

    def prack(self, transaction: ServerTransaction) -> None:
        """A PRACK is nothing for a caller: it sends no provisional responses."""
        transaction.respond(make_response(transaction.request, 481))

    def abandon(self) -> None:
        """The agent closes: CANCEL or BYE has left already."""

    def rest(self) -> None:
        """The INVITE is kept for forks that answer late."""

    def stop(self) -> None:
        """Shutdown."""
        self._driver.stop()

    def _on_failure(self, failure: Failure) -> None:
        if self._leaves(Leave.TIMEOUT if failure is Failure.TIMEOUT else Leave.TRANSPORT):
            return
        self._driver.feed(self._machine.failure(408 if failure is Failure.TIMEOUT else 503))

    def _on_response(self, response: Response) -> None:
        try:
            if response.is_provisional:
                self._highest = max(self._highest, response.status)
                if not self._in_order(response):
                    return
                effects = self._machine.provisional(response.status, self._fork(response), self.session.core.loop.time())
            elif response.is_success and self._machine.ignores(response.to.tag):
                log.warning("200 of one more fork of Call-ID %s ignored", printable(response.call_id))
                return
            elif response.is_success:
                if self.session.confirmed_at is None:
                    self._ok = response
                self._check_required(response)
                effects = self._machine.success(self._fork(response))
            else:
                effects = self._refused(response)
        except ParseError as error:
            log.warning("response %d from %s can't be used: %s", response.status, self.session.remote, error)
            if response.is_success:
                self._unusable(response, error.reason)
            return
        self._driver.feed(effects)

    def _check_required(self, response: Response) -> None:
        """A 2xx that requires what we don't have can't be used: the call is acknowledged and ended (RFC 3261 §8.1.3.5, §13.2.2.4)."""
        unknown = [option for option in response.require if option not in SUPPORTED_EXTENSIONS]
        if unknown and self.session.confirmed_at is None:
            self._fault = f"it requires {printable(unknown[0], 40)}"

    def _unusable(self, response: Response, fault: str) -> None:
        """Acknowledge a 2xx without a sound Contact or Record-Route as well as can be, and hang up: the peer would repeat it for ever."""
        if self.session.confirmed_at is None:  # a surplus fork's fault is nothing to the call
            self._fault = fault
        response.headers.set("Contact", f"<{self._attempt.request.uri}>")
        response.headers.remove("Record-Route")
        self._driver.feed(self._machine.success(self._fork(response)))

    def _refused(self, response: Response) -> list[Effect]:
        if self._leaves(response.status, response):
            return []
        if not self._cancelled and (self._attempt.retry(response) or self.session.timer.renews(self._attempt.request, response)):
            number = self._attempt.request.cseq.number + 1
            # RFC 3261 §12.3: the early dialogs of the refused INVITE are over
            self.session.leave()
            for known in (self._forks, self._answers, self._reliable, self._settled):
                known.clear()
            self.session.timer.ask(self._attempt.renew(CSeq(number, "INVITE")))
            self.session.core.tasks.spawn(self.start(), name="INVITE again")
            return []
        self.session.note_reason(response)
        return self._machine.failure(response.status, printable(response.reason))

    def _fork(self, response: Response) -> str:
        """Make or confirm the dialog of the fork that *response* comes from; return its tag. Raises :class:`ParseError`."""
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
        body = sdp_of(response)
        if body is not None and tag not in self._settled:
            # The one in the 2xx counts; that of a plain 1xx serves when the 2xx leaves it out (RFC 3261 §13.2.1).
            self._answers[tag] = body
            if is_reliable(response):
                self._settled.add(tag)
        return tag

    def _in_order(self, response: Response) -> bool:
        """Acknowledge a reliable 1xx; False: nothing else may come of this one (RFC 3262 §4)."""
        tag = response.to.tag
        if not is_reliable(response) or not tag or (tag not in self._forks and len(self._forks) >= MAX_FORKS):
            return True  # plain, or without a dialog that a PRACK could go to
        order = self._reliable.setdefault(tag, ReliableOrder())
        verdict = order.receive(response.rseq, is_reliable=True)
        if verdict is Verdict.PRACK:
            self._fork(response)
            dialog, number = self._forks[tag], self._attempt.request.cseq.number
            prack = dialog.new_request("PRACK", [("RAck", str(RAck(response.rseq or 0, number, "INVITE")))])
            dialog.send(prack, self.session.core.tasks, _note_prack)
        return verdict is not Verdict.DROP

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
                dialog.send(dialog.new_request("BYE"), session.core.tasks, lambda _response: None)
            case Cancel():
                self._cancelled = True
                if self._transaction is not None:
                    self._transaction.cancel(session.bye_reason or None)
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
        if tag in self._settled and self._in_force is None and self.session.dialog is self._forks[tag]:
            self._take_answer(tag)

    def _take_answer(self, tag: str) -> str:
        """Put the answer of the fork *tag* in force; return what is wrong with it."""
        media = self.session.media
        if self._in_force == tag:
            return self._answer_fault
        if self._in_force is not None:
            media.fork()  # another fork's answer came early, in a reliable 1xx
        answer = self._answers.get(tag)
        refusal = Refusal(400, "no answer in the 2xx") if answer is None else media.take_answer(answer)
        self._in_force = tag
        self._answer_fault = "" if refusal is None else refusal.text
        return self._answer_fault

    def _send_ack(self, tag: str) -> None:
        session = self.session
        dialog = self._forks[tag]
        number = self._attempt.request.cseq.number
        session.core.dialogs.acknowledge(dialog, number, session.core.tasks, credentials_of(self._attempt.request))

    def _established(self, tag: str) -> None:
        session = self.session
        dialog = self._forks[tag]
        if session.has_dialog and session.dialog is not dialog:
            session.dialog.detach(session)
        session.use(dialog)
        if self._ok is not None:
            session.timer.take(self._ok)
        self._fault = self._fault or self._take_answer(tag)
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


def _note_prack(response: Response) -> None:
    """The answer changes nothing: a peer that misses the PRACK refuses the INVITE."""
    if not response.is_success:
        log.warning("PRACK of Call-ID %s answered %d", printable(response.call_id), response.status)


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
    media = CallMedia(core.settings.media, local_host, core.settings.advertised, core.dialogs.first_cseq())
    await media.open()
    invite.set_body(media.offer(), SDP)
    session = Session(core, invite, media, is_owner=True)
    session.timer.ask(invite)
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
