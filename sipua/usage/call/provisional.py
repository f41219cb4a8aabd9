"""The provisional responses to an INVITE, plain or reliable, and the PRACKs for them (RFC 3262 §3, §5)."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from sipua.driver import Driver
from sipua.effects import Effect
from sipua.errors import printable
from sipua.message import RAck, Response, make_response
from sipua.sdp import Refusal
from sipua.transaction.layer import ServerTransaction
from sipua.usage.call.body import SDP, is_foreign_body, sdp_of
from sipua.usage.call.machine.reliable_uas import (
    OPTION,
    AnswerPrack,
    Release,
    ReliableResponses,
    SendReliable,
    Unacknowledged,
)
from sipua.usage.call.reinvite import unsupported_body

if TYPE_CHECKING:
    from sipua.usage.call.session import Session

log = logging.getLogger("sipua.call")


def answer_stray_prack(transaction: ServerTransaction) -> None:
    """Answer a PRACK in a call whose provisional responses need none. Raises :class:`sipua.errors.ParseError` as for those that do."""
    if _read_prack(transaction) is not None:
        transaction.respond(make_response(transaction.request, 481))


def _read_prack(transaction: ServerTransaction) -> RAck | None:
    """Return what a PRACK acknowledges; None: it says nothing, or has a body that is not understood, and is refused."""
    request = transaction.request
    rack = request.rack
    if rack is None:
        transaction.respond(make_response(request, 400, "Bad Request: no RAck"))
        return None
    if is_foreign_body(request):
        transaction.respond(unsupported_body(request))
        return None
    return rack


class Provisionals:
    """The reliable responses that leave before the final response to one INVITE.

    *make* makes a response of a status, *refuse* refuses the INVITE, *unacknowledged* is called when a PRACK stays out.
    """

    def __init__(
        self,
        session: "Session",
        transaction: ServerTransaction,
        make: Callable[[int], Response],
        refuse: Callable[[Refusal], None],
        unacknowledged: Callable[[], None],
    ) -> None:
        core = session.core
        invite = session.invite
        self._session = session
        self._transaction = transaction
        self._make = make
        self._refuse = refuse
        self._unacknowledged = unacknowledged
        self._machine = ReliableResponses(core.settings.timing, invite.cseq.number, core.dialogs.first_rseq())
        self._driver = Driver(self._machine, self._perform, core.loop)
        self._released: asyncio.Future[bool] = core.loop.create_future()
        self._sent: Response | None = None  # the reliable one that waits for its PRACK
        self._has_offer = sdp_of(invite) is not None
        self._is_answer_due = False  # our 1xx had the offer, the PRACK has the answer
        self._prack: ServerTransaction | None = None
        self.is_described = False
        """True once offer and answer are exchanged, or under way, in 1xx and PRACK: the 2xx carries none then."""

    def needs_media(self, status: int) -> bool:
        """Tell whether the response *status* will carry a description: the first one without an offer, else 183 (RFC 3262 §5)."""
        return not self.is_described and (not self._has_offer or status == 183)

    def send(self, status: int) -> None:
        """Send 101 to 199."""
        self._driver.feed(self._machine.send(status, self._session.core.loop.time(), has_session=self.needs_media(status)))

    async def wait_released(self) -> bool:
        """Return when a 2xx may leave; False: the INVITE has another final response."""
        if not self._released.done():
            self._driver.feed(self._machine.accept())
        return await asyncio.shield(self._released)

    def stop(self) -> None:
        """A final response has left, or the agent closes."""
        self._machine.stop()
        self._driver.feed(())
        self._release(may_answer=False)

    def on_prack(self, transaction: ServerTransaction) -> None:
        """Answer a PRACK. Raises :class:`sipua.errors.ParseError` for one that can't be read."""
        rack = _read_prack(transaction)
        if rack is None:
            return
        self._prack = transaction
        self._driver.feed(self._machine.prack(rack, self._session.core.loop.time()))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case SendReliable(status, rseq, has_session):
                self._send_reliable(status, rseq, has_session)
            case AnswerPrack(200):
                self._acknowledged()
            case AnswerPrack(status) if self._prack is not None:
                self._prack.respond(make_response(self._prack.request, status))
            case Release():
                self._release(may_answer=True)
            case Unacknowledged():
                log.warning("no PRACK from %s, Call-ID %s", self._session.remote, printable(self._session.call_id))
                self._unacknowledged()
            case _:
                log.error("effect %s is not a provisional response's", effect)

    def _send_reliable(self, status: int, rseq: int, has_session: bool) -> None:
        if self._sent is None or self._sent.rseq != rseq:
            response = self._make(status)
            response.headers.add("Require", OPTION)
            response.headers.add("RSeq", str(rseq))
            if has_session:
                described = self._describe()
                if isinstance(described, Refusal):
                    self._refuse(described)
                    return
                response.set_body(described, SDP)
            self._sent = response
        self._transaction.respond(self._sent)

    def _describe(self) -> bytes | Refusal:
        media = self._session.media
        body = sdp_of(self._session.invite)
        self.is_described = True
        if body is None:
            self._is_answer_due = True
            return media.offer()
        return media.answer(body)

    def _acknowledged(self) -> None:
        transaction = self._prack
        if transaction is None:
            return
        body = sdp_of(transaction.request)
        media = self._session.media
        response = make_response(transaction.request, 200)
        refusal: Refusal | None = None
        if self._is_answer_due:
            self._is_answer_due = False
            refusal = Refusal(400, "no answer in the PRACK") if body is None else media.take_answer(body)
        elif body is not None and self.is_described and not self._released.done():
            answer = media.answer(body)
            refusal = answer if isinstance(answer, Refusal) else None
            response.set_body(media.decline(body) if isinstance(answer, Refusal) else answer, SDP)
        elif body is not None:
            log.info("a description in a PRACK of Call-ID %s is out of turn", printable(transaction.request.call_id))
        transaction.respond(response)
        if refusal is not None:
            self._refuse(refusal)

    def _release(self, *, may_answer: bool) -> None:
        if not self._released.done():
            self._released.set_result(may_answer)
