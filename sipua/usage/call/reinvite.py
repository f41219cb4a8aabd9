"""Changes of a running session: re-INVITE and UPDATE of the peer, hold, resume and refresh of ours (RFC 3261 §14, RFC 3311)."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from sipua.auth import Attempt
from sipua.dialog.checks import ALLOW
from sipua.driver import Driver
from sipua.effects import Effect
from sipua.errors import CallEndedError, CallError, TransportError, printable
from sipua.message import Request, Response, make_response
from sipua.message.via import CSeq
from sipua.sdp import Direction, OfferAnswerState, Refusal
from sipua.transaction.layer import ClientTransaction, Failure, LocalResponse, ServerTransaction
from sipua.usage.call.body import SDP, is_foreign_body, sdp_of
from sipua.usage.call.machine.ackwait import ReinviteAck
from sipua.usage.call.machine.effects import Respond, SendBye
from sipua.usage.call.machine.glare import RETRY_AFTER_S, Pending, answer_invite, may_send_invite, wait_range

if TYPE_CHECKING:
    from sipua.usage.call.session import Session

log = logging.getLogger("sipua.call")

MAX_GLARE_RETRIES = 3  # two sides that collide more often have another problem


class Reinvites:
    """INVITE and UPDATE inside the dialog of one call."""

    __slots__ = (
        "_answer_due",
        "_driver",
        "_final",
        "_free",
        "_is_given_up",
        "_ok",
        "_ours",
        "_session",
        "_transaction",
        "_wait",
    )

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._ours = False
        self._final: asyncio.Future[Response] | None = None  # of the INVITE of ours that is under way
        self._transaction: ClientTransaction | None = None
        self._is_given_up = False
        self._wait: ReinviteAck | None = None
        self._driver: Driver | None = None
        self._ok: tuple[ServerTransaction, Response] | None = None
        self._answer_due = False  # our 2xx had the offer; the ACK has the answer (RFC 3261 §14.2)
        self._free = asyncio.Event()
        self._free.set()

    @property
    def pending(self) -> Pending:
        """What is under way (docs/spec/invite.md)."""
        if self._ours:
            return Pending.OURS
        if self._wait is not None and self._wait.is_waiting:
            return Pending.UNACKED
        return Pending.NOTHING

    def close(self) -> None:
        """The call is over."""
        if self._driver is not None:
            self._driver.stop()
        self._give_up()
        if self._final is not None and not self._final.done():
            self._final.set_result(LocalResponse(487))
        self._free.set()

    def _give_up(self) -> None:
        self._is_given_up = True
        if self._transaction is not None:
            self._transaction.cancel()

    # -- the peer's -----------------------------------------------------------------------------------------------------------------

    def on_invite(self, transaction: ServerTransaction) -> None:
        """Answer a re-INVITE at once: no user is asked."""
        request = transaction.request
        session = self._session
        # The first INVITE counts, too: ours without a final response, theirs without an ACK (RFC 3261 §14.2).
        status = answer_invite(self.pending) if session.is_confirmed else 491 if session.is_owner else 500
        if status:
            transaction.respond(self._not_now(request, status))
            return
        if is_foreign_body(request):
            transaction.respond(unsupported_body(request))
            return
        too_brief = session.timer.refusal(request)
        if too_brief is not None:
            transaction.respond(too_brief)
            return
        response = make_response(request, 200)
        body = sdp_of(request)
        if body is not None:
            answer = session.media.answer(body)
            if isinstance(answer, Refusal):
                transaction.respond(refused(request, answer, self._retry_after()))
                return
            response.set_body(answer, SDP)
        else:
            response.set_body(session.media.offer(full=True), SDP)
            self._answer_due = True
        session.dialog.state.refresh_target(request)
        self._dress(request, response)
        self._ok = (transaction, response)
        wait = self._wait = ReinviteAck(session.core.settings.timing)
        self._driver = Driver(wait, self._perform, session.core.loop)
        self._free.clear()
        self._driver.feed(wait.start(session.core.loop.time()))

    def on_update(self, transaction: ServerTransaction) -> None:
        """Answer an UPDATE at once (RFC 3311 §5.2)."""
        request = transaction.request
        session = self._session
        if is_foreign_body(request):
            transaction.respond(unsupported_body(request))
            return
        too_brief = session.timer.refusal(request)
        if too_brief is not None:
            transaction.respond(too_brief)
            return
        response = make_response(request, 200)
        body = sdp_of(request)
        if body is not None:
            if session.is_offer_untouched:
                transaction.respond(self._not_now(request, 500))  # the INVITE's offer is still open (RFC 3311 §5.2)
                return
            answer = session.media.answer(body)
            if isinstance(answer, Refusal):
                transaction.respond(refused(request, answer, self._retry_after()))
                return
            response.set_body(answer, SDP)
        session.dialog.state.refresh_target(request)
        self._dress(request, response)
        transaction.respond(response)

    def on_ack(self, ack: Request) -> bool:
        """Take the ACK of a re-INVITE; False: it is another's."""
        if self._ok is None or ack.cseq.number != self._ok[0].request.cseq.number:
            return False
        if self._wait is not None and self._driver is not None:
            self._driver.feed(self._wait.ack())
        if self._answer_due:
            self._answer_due = False
            body = sdp_of(ack)
            refusal = Refusal(400, "no answer in the ACK") if body is None else self._session.media.take_answer(body)
            if refusal is not None:
                log.warning("answer in the ACK of Call-ID %s can't be used: %s", printable(ack.call_id), refusal.text)
                self._session.media.rollback()
        self._free.set()
        return True

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Respond) and self._ok is not None:
            transaction, response = self._ok
            transaction.respond(response)
        elif isinstance(effect, SendBye) and self._session.role is not None:
            log.warning("no ACK for a re-INVITE of Call-ID %s", printable(self._session.call_id))
            self._session.role.lost()

    def _dress(self, request: Request, response: Response) -> None:
        response.headers.add("Contact", self._session.dialog.contact)
        response.headers.add("Allow", ALLOW)
        self._session.timer.accept(request, response)

    def _retry_after(self) -> int:
        return round(self._session.core.dialogs.uniform(*RETRY_AFTER_S))

    def _not_now(self, request: Request, status: int) -> Response:
        response = make_response(request, status)
        if status == 500:
            response.headers.add("Retry-After", str(self._retry_after()))
        return response

    # -- ours -----------------------------------------------------------------------------------------------------------------------

    async def reinvite(self, wish: Direction | None = None) -> None:
        """Send a re-INVITE with an offer (None: a refresh) and wait for its end; 491 is tried again as RFC 3261 §14.1 says.

        Raises :class:`CallError` when the peer refuses; the session is unchanged then. Raises :class:`CallEndedError` when the call ends.
        """
        session = self._session
        for _ in range(MAX_GLARE_RETRIES):
            response = await self.attempt(wish)
            if response.is_success:
                return
            session.judge(response, "INVITE")
            if response.status != 491:
                raise CallError(f"re-INVITE refused: {response.status} {printable(response.reason)}")
            low, high = wait_range(is_owner=session.is_owner)
            await asyncio.sleep(round(session.core.dialogs.uniform(low, high), 2))
        raise CallError("re-INVITE refused: 491 again and again")

    async def attempt(self, wish: Direction | None = None) -> Response:
        """Send one re-INVITE when its turn comes and return the final response. Raises :class:`CallEndedError` when the call ends."""
        await self.turn()
        response = await self._outlive(self._invite(self._session.media.offer(wish=wish)))
        if self._session.is_ended:
            raise CallEndedError("the call is over")
        return response

    async def turn(self) -> None:
        """Wait until no INVITE and no offer is under way. Raises :class:`CallEndedError`."""
        session = self._session
        while session.is_confirmed and not (may_send_invite(self.pending) and session.media.machine.state is OfferAnswerState.STABLE):
            self._free.clear()
            await self._free.wait()
        if not session.is_confirmed:
            raise CallEndedError("the call is not up")

    async def _outlive(self, invite: Coroutine[None, None, Response]) -> Response:
        """Run *invite*; when the caller is cancelled it goes on alone, is cancelled too (RFC 3261 §9.1) and settled however it ends."""
        self._ours, self._is_given_up = True, False
        task = self._session.core.tasks.spawn(invite, name="re-INVITE")
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._give_up()
            me = asyncio.current_task()
            if task.cancelled() and me is not None and not me.cancelling():
                raise CallEndedError("the user agent is closed") from None
            raise

    async def _invite(self, offer: bytes) -> Response:
        session = self._session
        try:
            attempt = Attempt(session.dialog.authenticator, session.dialog.new_request("INVITE", [("Allow", ALLOW)], offer, SDP))
            session.timer.ask(attempt.request)
            while True:
                response = await self._transact(attempt.request)
                if self._is_given_up or not (attempt.retry(response) or session.timer.renews(attempt.request, response)):
                    return response
                session.timer.ask(attempt.renew(CSeq(session.dialog.next_cseq(), "INVITE")))
        finally:
            if session.media.machine.state is OfferAnswerState.HAVE_LOCAL_OFFER:
                session.media.rollback()
            self._ours = False
            self._transaction = None
            self._free.set()

    async def _transact(self, request: Request) -> Response:
        session = self._session
        dialogs = session.core.dialogs
        try:
            channel = await dialogs.channel_for(request)
        except TransportError as error:
            return LocalResponse.for_request(request, 503, str(error))
        if self._is_given_up:
            return LocalResponse.for_request(request, 487)
        final: asyncio.Future[Response] = session.core.loop.create_future()
        self._final = final

        def on_response(response: Response) -> None:
            if response.is_final and not final.done():
                self._settle(response)
                final.set_result(response)
            if response.is_success:  # to the Contact that it has
                dialogs.acknowledge(session.dialog, request.cseq.number, session.core.tasks, credentials_of(request))

        def on_failure(failure: Failure) -> None:
            if not final.done():
                final.set_result(LocalResponse.for_failure(request, failure))

        self._transaction = dialogs.transactions.start(request, channel, on_response=on_response, on_failure=on_failure)
        # A 1xx stops timer B; the limit on ringing stands in for it, so that nobody waits for ever.
        limit = session.core.loop.call_later(session.core.settings.ring_limit_s, self._transaction.cancel)
        try:
            return await final
        finally:
            limit.cancel()

    def _settle(self, response: Response) -> None:
        if not response.is_success:
            return
        session = self._session
        session.dialog.state.refresh_target(response)
        session.timer.take(response)
        body = sdp_of(response)
        refusal = Refusal(400, "no answer in the 2xx") if body is None else session.media.take_answer(body)
        if refusal is not None:
            session.media.rollback()
            log.warning("answer to a re-INVITE of Call-ID %s can't be used: %s", printable(response.call_id), refusal.text)


def credentials_of(request: Request) -> list[tuple[str, str]]:
    """Return the credential lines of *request*: its ACK carries the same (RFC 3261 §22.1)."""
    return [(name, value) for name, value in request.headers if name in ("Authorization", "Proxy-Authorization")]


def refused(request: Request, refusal: Refusal, retry_after_s: int, to_tag: str = "") -> Response:
    """Answer an offer that can't be taken: 488 with Warning, 491, 500 with Retry-After, 400."""
    status = refusal.status if refusal.status in (400, 488, 491, 500) else 488
    response = make_response(request, status, to_tag=to_tag)
    if refusal.warning is not None:
        response.headers.add("Warning", f'{int(refusal.warning)} sip "{refusal.text}"')
    if refusal.retry_after:
        response.headers.add("Retry-After", str(retry_after_s))
    return response


def unsupported_body(request: Request, to_tag: str = "") -> Response:
    """Answer a body that is no SDP and has no part that is (RFC 3261 §8.2.3, RFC 5621 §3)."""
    response = make_response(request, 415, to_tag=to_tag)
    response.headers.add("Accept", f"{SDP}, multipart/mixed")
    response.headers.add("Accept-Encoding", "identity")
    return response
