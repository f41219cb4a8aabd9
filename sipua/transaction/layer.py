"""The transaction layer: finds the transaction of each message, makes new ones, and answers CANCEL (RFC 3261 §17, §9.2).

It knows nothing of dialogs. Routing and connections belong to :mod:`sipua.transport`.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Protocol

from sipua.errors import TransportError, printable
from sipua.message import MAGIC_COOKIE, Request, Response, make_cancel, make_response
from sipua.timers import Timing
from sipua.transaction.callback import call_user
from sipua.transaction.client import ClientTransaction
from sipua.transaction.key import CANCELABLE, ClientKey, MergeKey, ServerKey, client_key, is_legacy, merge_key, server_key
from sipua.transaction.machine import Failure, State
from sipua.transaction.server import ServerRun, ServerTransaction
from sipua.transaction.statistics import Statistics
from sipua.transport.base import Channel, Endpoint, Transports

log = logging.getLogger("sipua.transaction")

MAX_UNANSWERED = 20_000  # a full second of work at ten times the load that one core carries
LINGER_FACTOR = 10  # answered transactions stay up to 64*T1 and are small
RETRY_AFTER_S = 5  # overload passes within seconds or not at all
VIA_OCTETS = 120  # what our Via adds to a request when its size decides between UDP and TCP


class TransactionUser(Protocol):
    """The layer above. Its methods must not block; exceptions are logged, and a request whose handler raises is answered 500."""

    def on_request(self, transaction: ServerTransaction) -> None:
        """A new request came: never ACK, CANCEL, a retransmission or a merged request."""

    def on_ack(self, request: Request, channel: Channel) -> None:
        """An ACK came that belongs to no 300 to 699 response: one for a 2xx, or a stray."""

    def on_stray_response(self, response: Response, channel: Channel) -> None:
        """A 2xx to INVITE came after the end of its client transaction (RFC 6026 §6)."""


class LocalResponse(Response):
    """A final response that nobody sent: 408 for silence, 503 for a transport error (RFC 3261 §8.1.3.1)."""

    __slots__ = ()

    @classmethod
    def for_request(cls, request: Request, status: int, reason: str | None = None) -> "LocalResponse":
        """Make the response *status* to *request*; *reason* is one line."""
        made = make_response(request, status, reason)
        return cls(made.status, made.reason, made.headers)

    @classmethod
    def for_failure(cls, request: Request, failure: Failure) -> "LocalResponse":
        """Make the response that stands for *failure*."""
        return cls.for_request(request, 408 if failure is Failure.TIMEOUT else 503)


def random_branch() -> str:
    """Return a branch that nobody can guess (RFC 3261 §8.1.1.7)."""
    return MAGIC_COOKIE + secrets.token_hex(10)


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
    ) -> None:
        """Become the user of *transports*. *max_unanswered*: server transactions without a final response; above it, 503."""
        self.user: TransactionUser | None = None
        self.timing = timing
        self.statistics = Statistics()
        self.transports = transports
        self._loop = loop
        self._new_branch = new_branch
        self._max_unanswered = max_unanswered
        self._clients: dict[ClientKey, ClientTransaction] = {}
        self._servers: dict[ServerKey, ServerRun] = {}
        self._merges: dict[MergeKey, ServerKey] = {}
        self._unanswered: set[ServerKey] = set()
        self._closed = False
        transports.user = self

    @property
    def client_count(self) -> int:
        """How many client transactions there are, those that only absorb repetitions included."""
        return len(self._clients)

    @property
    def server_count(self) -> int:
        """How many server transactions there are, those that only absorb repetitions included."""
        return len(self._servers)

    @property
    def unanswered_count(self) -> int:
        """How many server transactions have no final response yet."""
        return len(self._unanswered)

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
        request.headers.prepend("Via", self.transports.via_for(channel, self._new_branch()))
        return self._start(request, channel, on_response, on_failure, on_terminated)

    def _start(
        self,
        request: Request,
        channel: Channel,
        on_response: Callable[[Response], None],
        on_failure: Callable[[Failure], None],
        on_terminated: Callable[[], None] | None = None,
    ) -> ClientTransaction:
        transaction = ClientTransaction(
            request,
            channel,
            client_key(request),
            transports=self.transports,
            loop=self._loop,
            timing=self.timing,
            statistics=self.statistics,
            on_response=on_response,
            on_failure=on_failure,
            on_terminated=on_terminated,
            forget=self._forget_client,
            send_cancel=self._send_cancel,
        )
        if self._closed:
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
            size = 0 if target.is_reliable else len(request.encode()) + VIA_OCTETS
            channel = await self.transports.channel_to(target, size)
        except TransportError as error:
            log.info("no way to %s for %s: %s", target, printable(request.method), error)
            return LocalResponse.for_failure(request, Failure.TRANSPORT)
        return await self.request_by(request, channel)

    async def request_by(self, request: Request, channel: Channel) -> Response:
        """Send *request* by *channel* and return its final response, a :class:`LocalResponse` when none came.

        Cancelling the task cancels an INVITE and lets other requests run out unheard.
        """
        outcome: asyncio.Future[Response] = self._loop.create_future()

        def responded(response: Response) -> None:
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
        self._start(cancel, transaction.channel, lambda _response: None, lambda _failure: None)

    def _forget_client(self, transaction: ClientTransaction) -> None:
        self._clients.pop(transaction.key, None)

    # --- what comes from the network

    def on_response(self, response: Response, channel: Channel) -> None:
        """Hand *response* to its transaction; without one a 2xx to INVITE goes to the user, all else is dropped."""
        key = client_key(response)
        transaction = self._clients.get(key)
        if transaction is not None:
            transaction.receive(response)
            return
        self.statistics.responses_stray += 1
        if response.is_success and key[1] == "INVITE" and self.user is not None:
            call_user(self.user.on_stray_response, response, channel)

    def on_request(self, request: Request, channel: Channel) -> None:
        """Hand *request* to its transaction, or make one and tell the user."""
        if self._closed:
            return
        key = server_key(request)
        run = self._servers.get(key)
        if request.method == "ACK":
            if run is not None and not (is_legacy(key) and request.to.tag != run.to_tag):
                run.receive(request, channel)
            else:
                self._deliver_ack(request, channel)
        elif run is not None:
            run.receive(request, channel)
        elif request.method == "CANCEL":
            self._cancel(request, channel, key)
        elif len(self._unanswered) >= self._max_unanswered or len(self._servers) >= self._max_unanswered * LINGER_FACTOR:
            self._refuse(request, channel, key)
        else:
            self._serve(request, channel, key)

    def _serve(self, request: Request, channel: Channel, key: ServerKey) -> None:
        run = self._run(request, channel, key)
        merge = merge_key(request)
        if merge is not None:
            if merge in self._merges:
                self.statistics.requests_merged += 1
                self._respond(run, request, 482)
                return
            self._merges[merge] = key
            run.merge = merge
        self._unanswered.add(key)
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
            forget=self._forget_server,
        )
        self._servers[key] = run
        self.statistics.server_started += 1
        run.start()
        return run

    def _respond(self, run: ServerRun, request: Request, status: int) -> None:
        run.respond(make_response(request, status, to_tag=run.to_tag or self._new_tag()))

    def _refuse(self, request: Request, channel: Channel, key: ServerKey) -> None:
        """Answer 503 without a transaction: its ACK will match none and be dropped above (RFC 3261 §8.2.7, §21.5.4)."""
        self.statistics.requests_refused += 1
        # no state, so the tag must follow from the request: a retransmission gets the same one
        response = make_response(request, 503, to_tag=f"{hash(key) & 0xFFFFFFFFFFFF:012x}")
        response.headers.add("Retry-After", str(RETRY_AFTER_S))
        self.transports.send_response(response, channel)

    def _cancel(self, request: Request, channel: Channel, key: ServerKey) -> None:
        """Answer a CANCEL and pass it on (RFC 3261 §9.2)."""
        target = next((run for method in CANCELABLE if (run := self._servers.get(server_key(request, method)))), None)
        run = self._run(request, channel, key)
        if target is None:
            self.statistics.cancels_unmatched += 1
            self._respond(run, request, 481)
            return
        if not target.to_tag:
            target.to_tag = self._new_tag()  # both responses have the same (§9.2)
        run.respond(make_response(request, 200, to_tag=target.to_tag))
        if target.is_invite and not target.is_answered:
            target.cancel(request)

    def _deliver_ack(self, request: Request, channel: Channel) -> None:
        if self.user is not None:
            call_user(self.user.on_ack, request, channel)

    def _answered(self, run: ServerRun, status: int) -> None:
        self._unanswered.discard(run.key)
        if status == 503:
            self._forget_merge(run)  # RFC 3263 §4.3: after 503 the same request comes another way on purpose

    def _forget_server(self, run: ServerRun) -> None:
        self._servers.pop(run.key, None)
        self._unanswered.discard(run.key)
        self._forget_merge(run)

    def _forget_merge(self, run: ServerRun) -> None:
        if run.merge is not None:
            self._merges.pop(run.merge, None)
            run.merge = None

    def _new_tag(self) -> str:
        return self._new_branch().removeprefix(MAGIC_COOKIE)

    async def aclose(self) -> None:
        """Stop all timers and forget all transactions; what is pending fails with ``Failure.TRANSPORT``. Nothing is sent."""
        self._closed = True
        clients, servers = list(self._clients.values()), list(self._servers.values())
        self._clients.clear()
        self._servers.clear()
        self._merges.clear()
        self._unanswered.clear()
        for run in servers:
            run.close()
        for transaction in clients:
            transaction.close()


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
