"""The transaction layer: finds the transaction of each message, makes new ones, and answers CANCEL (RFC 3261 §17, §9.2).

It knows nothing of dialogs. Routing and connections belong to :mod:`sipua.transport`.
"""

import asyncio
import logging
from collections.abc import Callable

from sipua.errors import TransportError, printable
from sipua.message import MAGIC_COOKIE, Request, Response, make_cancel, make_response
from sipua.timers import Timing
from sipua.transaction.admission import SILENCE, Admit, OnRefused, Refusal
from sipua.transaction.bounds import MAX_SERVERS, RefusedInvites, overloaded
from sipua.transaction.branch import random_branch
from sipua.transaction.callback import call_user
from sipua.transaction.client import ClientTransaction
from sipua.transaction.key import CANCELABLE, ClientKey, ServerKey, client_key, is_legacy, merge_key, server_key
from sipua.transaction.local import LocalResponse
from sipua.transaction.machine import Failure, State
from sipua.transaction.machine.base import unpack
from sipua.transaction.rest import Rest, Resting
from sipua.transaction.server import ServerRun, ServerTransaction
from sipua.transaction.statistics import Statistics
from sipua.transaction.table import ServerTable
from sipua.transaction.user import TransactionUser
from sipua.transport.base import Channel, Endpoint, Transports

log = logging.getLogger("sipua.transaction")

MAX_UNANSWERED = 20_000  # a full second of work at ten times the load that one core carries
VIA_OCTETS = 120  # what our Via adds to a request when its size decides between UDP and TCP


class TransactionLayer:
    """All transactions over one set of transports. Make it inside the running loop, then set ``user``."""

    def __init__(
        self,
        transports: Transports,
        loop: asyncio.AbstractEventLoop,
        timing: Timing = Timing(),  # noqa: B008  # frozen
        new_branch: Callable[[], str] = random_branch,
        *,
        max_unanswered: int = MAX_UNANSWERED,
        max_servers: int = MAX_SERVERS,
    ) -> None:
        """Become the user of *transports*.

        *max_unanswered*: server transactions without a final response; above it new requests get 503. *max_servers*: all of them;
        above it those that only absorb repetitions end early, the oldest first.
        """
        self.user: TransactionUser | None = None
        self.admit: Admit | None = None
        """Asked for every new request outside a dialog, and for a CANCEL of nothing; what belongs to something is never held up."""
        self.on_refused: OnRefused | None = None
        self.is_in_dialog: Callable[[Request], bool] = lambda request: bool(request.to.tag)
        """Tells whether a request belongs to a dialog of ours."""
        self.answer: Callable[[Request, Channel, str], Response | None] = lambda _request, _channel, _tag: None
        """Returns the answer to a request that needs no transaction since it gets the same one whenever it comes (RFC 3261 §8.2.7)."""
        self.timing = timing
        self.statistics = Statistics()
        self.transports = transports
        self._loop = loop
        self._new_branch = new_branch
        self._max_unanswered = max_unanswered
        self._max_servers = max_servers
        self._clients: dict[ClientKey, ClientTransaction] = {}
        self._answered_clients: Resting[ClientKey] = Resting(loop)
        self._servers = ServerTable(loop)
        self._refused = RefusedInvites(timing.timeout)
        self.is_closed = False
        transports.user = self

    @property
    def client_count(self) -> int:
        """How many client transactions there are, those that only absorb repetitions included."""
        return len(self._clients) + len(self._answered_clients)

    @property
    def server_count(self) -> int:
        """How many server transactions there are, those that only absorb repetitions included."""
        return len(self._servers)

    @property
    def unanswered_count(self) -> int:
        """How many server transactions have no final response yet."""
        return len(self._servers.unanswered)

    # --- requests of ours

    def start(
        self,
        request: Request,
        channel: Channel,
        *,
        on_response: Callable[[Response], None],
        on_failure: Callable[[Failure], None],
        on_terminated: Callable[[], None] | None = None,
    ) -> ClientTransaction:
        """Send *request* by *channel* in a new transaction; a Via with a new branch is put on top of its headers.

        *on_response* gets every provisional response and the final one, of an INVITE every 2xx. *on_failure* comes instead of
        a final response. No callback runs before this method returns.
        """
        branch = self._new_branch()
        request.headers.prepend("Via", self.transports.via_for(channel, branch))
        return self._start(request, channel, (branch, request.method), on_response, on_failure, on_terminated)

    def _start(
        self,
        request: Request,
        channel: Channel,
        key: ClientKey,
        on_response: Callable[[Response], None],
        on_failure: Callable[[Failure], None],
        on_terminated: Callable[[], None] | None = None,
    ) -> ClientTransaction:
        transaction = ClientTransaction(
            request,
            channel,
            key,
            transports=self.transports,
            loop=self._loop,
            timing=self.timing,
            statistics=self.statistics,
            on_response=on_response,
            on_failure=on_failure,
            on_terminated=on_terminated,
            forget=self._forget_client,
            rested=self._rest_client,
            send_cancel=self._send_cancel,
        )
        if self.is_closed:
            self._loop.call_soon(transaction.close)
            return transaction
        self._clients[transaction.key] = transaction
        self.statistics.client_started += 1
        transaction.start()
        return transaction

    async def request(self, request: Request, target: Endpoint) -> Response:
        """Send *request* to *target* and return its final response, a :class:`LocalResponse` when none came.

        See :meth:`request_by`.
        """
        try:
            size = 0 if target.is_reliable else request.size + VIA_OCTETS
            channel = await self.transports.channel_to(target, size)
        except TransportError as error:
            log.info("no way to %s for %s: %s", target, printable(request.method), error)
            return LocalResponse.for_failure(request, Failure.TRANSPORT)
        return await self.request_by(request, channel)

    async def request_by(self, request: Request, channel: Channel, on_provisional: Callable[[Response], None] | None = None) -> Response:
        """Send *request* by *channel* and return its final response, a :class:`LocalResponse` when none came.

        *on_provisional* gets the responses before it.
        Cancelling the task cancels an INVITE and lets other requests run out unheard.
        """
        outcome: asyncio.Future[Response] = self._loop.create_future()

        def responded(response: Response) -> None:
            if response.is_provisional and on_provisional is not None:
                on_provisional(response)
            if response.is_final and not outcome.done():
                outcome.set_result(response)

        def failed(failure: Failure) -> None:
            if not outcome.done():
                outcome.set_result(LocalResponse.for_failure(request, failure))

        transaction = self.start(request, channel, on_response=responded, on_failure=failed)
        try:
            return await outcome
        finally:
            if transaction.is_pending:
                transaction.cancel()

    def send_ack(self, ack: Request, channel: Channel) -> None:
        """Send the ACK of a 2xx (RFC 3261 §13.2.2.4): the first time with a new branch, the same ACK again as it is.

        A transport error is logged: the peer repeats its 2xx and so asks for the ACK again.
        """
        if "Via" not in ack.headers:
            ack.headers.prepend("Via", self.transports.via_for(channel, self._new_branch()))
        try:
            self.transports.send_request(ack, channel)
        except TransportError as error:
            log.info("ACK to %s failed: %s", channel.remote, error)

    def _send_cancel(self, transaction: ClientTransaction) -> None:
        cancel = make_cancel(transaction.request)
        if transaction.cancel_reason is not None:
            cancel.headers.add("Reason", transaction.cancel_reason)
        # its outcome says nothing about the INVITE (§9.1)
        key = (transaction.key[0], cancel.method)
        self._start(cancel, transaction.channel, key, lambda _response: None, lambda _failure: None)

    def _forget_client(self, transaction: ClientTransaction) -> None:
        self._clients.pop(transaction.key, None)

    def _rest_client(self, transaction: ClientTransaction, rest: Rest[ClientKey]) -> None:
        if self._clients.pop(transaction.key, None) is not None:
            self._answered_clients.add(rest)

    # --- what comes from the network

    def on_response(self, response: Response, channel: Channel) -> None:
        """Hand *response* to its transaction; without one a 2xx to INVITE goes to the user, all else is dropped."""
        key = client_key(response)
        transaction = self._clients.get(key)
        if transaction is not None:
            transaction.receive(response)
            return
        if self._answered_clients.find(key) is not None:
            return
        self.statistics.responses_stray += 1
        if response.is_success and key[1] == "INVITE" and self.user is not None:
            call_user(self.user.on_stray_response, response, channel)

    def on_request(self, request: Request, channel: Channel) -> None:
        """Hand *request* to its transaction, or make one and tell the user."""
        if self.is_closed:
            return
        key = server_key(request)
        run = self._servers.running.get(key)
        if request.method == "ACK":
            if run is not None and not (is_legacy(key) and request.to.tag != run.to_tag):
                run.receive(request, channel)
            else:
                self._deliver_ack(request, channel)
        elif run is not None:
            run.receive(request, channel)
        elif (rest := self._servers.at_rest(key)) is not None:
            self._repeat(rest)
        elif request.method == "CANCEL":
            self._cancel(request, channel, key)
        else:
            self._consider(request, channel, key)

    def _repeat(self, rest: Rest[ServerKey]) -> None:
        self.statistics.requests_repeated += 1
        if rest.data is not None:
            self.statistics.server_retransmissions += 1
            self.transports.send_response(unpack(rest.data), rest.channel)

    def _consider(self, request: Request, channel: Channel, key: ServerKey) -> None:
        """Decide whether a request that has no transaction gets one (docs/spec/overload.md, "Transactions")."""
        repeated = self._refused.find(key, self._loop.time())
        if repeated is not None:
            self.statistics.requests_repeated += 1
            self._refuse(request, channel, key, repeated)
            return
        refusal = self._refusal(request, channel) or self._no_room(request, key)
        if refusal is not None:
            self.statistics.requests_refused += 1
            if refusal.status == 503 and request.method == "INVITE":
                self._refused.add(key, refusal, self._loop.time())
            self._refuse(request, channel, key, refusal)
        elif (response := self._stateless(request, channel, key)) is not None:
            self.statistics.requests_stateless += 1
            self._tell(request, response, channel)
            self.transports.send_response(response, channel)
        else:
            self._serve(request, channel, key)

    def _no_room(self, request: Request, key: ServerKey) -> Refusal | None:
        """Make room by ending what only absorbs repetitions; new requests leave the rest to those in a dialog."""
        if len(self._servers.unanswered) >= self._max_unanswered and not request.to.tag:
            return overloaded(hash(key))
        while not self._servers.has_room(self._max_servers):
            if not self._servers.cut():
                return overloaded(hash(key))
            self.statistics.server_cut += 1
        return None

    def _stateless(self, request: Request, channel: Channel, key: ServerKey) -> Response | None:
        try:
            return self.answer(request, channel, _tag_of(key))
        except Exception:  # the transaction that it gets then answers 500
            log.exception("answering %s from %s failed", printable(request.method, 20), channel.remote)
            return None

    def _refusal(self, request: Request, channel: Channel) -> Refusal | None:
        """Ask the door; a fault of it lets nobody in (RFC 3261 §21.5.1)."""
        if self.admit is None or (request.to.tag and self.is_in_dialog(request)):
            return None
        try:
            return self.admit(request, channel)
        except Exception:  # a fault of one callback must not cost the layer its socket
            log.exception("admission of %s from %s failed", printable(request.method, 20), channel.remote)
            self.statistics.user_faults += 1
            return Refusal(500)

    def _serve(self, request: Request, channel: Channel, key: ServerKey) -> None:
        run = self._run(request, channel, key)
        merge = merge_key(request)
        if merge is not None:
            if merge in self._servers.merges:
                self.statistics.requests_merged += 1
                self._respond(run, request, 482)
                return
            self._servers.merges[merge] = key
            run.merge = merge
        self._servers.unanswered.add(key)
        transaction = ServerTransaction(request, channel, run)
        if self.user is None:
            self._respond(run, request, 503)
        elif not call_user(self.user.on_request, transaction):
            self.statistics.user_faults += 1
            self._respond(run, request, 500)
        run.arm()

    def _run(self, request: Request, channel: Channel, key: ServerKey) -> ServerRun:
        run = ServerRun(
            request,
            channel,
            key,
            transports=self.transports,
            loop=self._loop,
            timing=self.timing,
            statistics=self.statistics,
            on_ack=self._deliver_ack,
            on_answered=self._answered,
            forget=self._servers.forget,
        )
        self._servers.add(run)
        self.statistics.server_started += 1
        run.start()
        return run

    def _respond(self, run: ServerRun, request: Request, status: int) -> None:
        run.respond(make_response(request, status, to_tag=run.to_tag or self._new_tag()))

    def _refuse(self, request: Request, channel: Channel, key: ServerKey, refusal: Refusal) -> None:
        """Answer without a transaction: the ACK will match none and be dropped above (RFC 3261 §8.2.7)."""
        if refusal.status == SILENCE:
            return
        self.transports.send_response(refusal.response_to(request, _tag_of(key)), channel)

    def _cancel(self, request: Request, channel: Channel, key: ServerKey) -> None:
        """Answer a CANCEL and pass it on (RFC 3261 §9.2)."""
        target = next((run for method in CANCELABLE if (run := self._servers.find(server_key(request, method)))), None)
        if target is None:  # without a transaction, or a flood of them would leave one each
            self.statistics.cancels_unmatched += 1
            self._refuse(request, channel, key, self._refusal(request, channel) or Refusal(481))
            return
        run = self._run(request, channel, key)
        if not target.to_tag:
            target.to_tag = self._new_tag()  # both responses have the same (§9.2)
        run.respond(make_response(request, 200, to_tag=target.to_tag))
        if isinstance(target, ServerRun) and target.is_invite and not target.is_answered:
            target.cancel(request)

    def _deliver_ack(self, request: Request, channel: Channel) -> None:
        if self.user is not None:
            call_user(self.user.on_ack, request, channel)

    def _tell(self, request: Request, response: Response, channel: Channel) -> None:
        if response.status >= 400 and self.on_refused is not None:
            call_user(self.on_refused, request, response, channel)

    def _answered(self, run: ServerRun, request: Request, response: Response) -> None:
        self._tell(request, response, run.channel)
        self._servers.answered(run, response.status)

    def _new_tag(self) -> str:
        return self._new_branch().removeprefix(MAGIC_COOKIE)

    async def aclose(self) -> None:
        """Stop all timers and forget all transactions; what is pending fails with ``Failure.TRANSPORT``. Nothing is sent."""
        self.is_closed = True
        clients = list(self._clients.values())
        self._clients.clear()
        self._answered_clients.clear()
        for run in self._servers.clear():
            run.close()
        for transaction in clients:
            transaction.close()


def _tag_of(key: ServerKey) -> str:
    """Return the To tag of an answer that is given without state: a copy of the request gets the same one."""
    return f"{hash(key) & 0xFFFFFFFFFFFF:012x}"


__all__ = [
    "ClientTransaction",
    "Failure",
    "LocalResponse",
    "ServerTransaction",
    "State",
    "Statistics",
    "TransactionLayer",
    "TransactionUser",
    "random_branch",
]
