"""Requests with their target and credentials: next hop, the next server after a failure, answers to challenges (RFC 3261 §8.1, §22)."""

import asyncio
from collections import Counter
from collections.abc import Callable

from sipua.auth.credentials import Attempt, Authenticator
from sipua.driver import TaskSet
from sipua.errors import ParseError, TransportError, printable
from sipua.latch import Latch
from sipua.message import Request, Response, Uri
from sipua.message.via import CSeq
from sipua.transaction.failover import MAX_TARGETS, DeadServers, Leave, why_leave
from sipua.transaction.layer import LocalResponse, TransactionLayer
from sipua.transaction.sending import OnChannel, Sending
from sipua.transport.base import Channel, Endpoint
from sipua.transport.resolver import Resolver
from sipua.transport.route import next_hop, target_of
from sipua.transport.trace import LogLimiter

VIA_ROOM = 100
"""Octets that the Via will add to a request: they count for the choice between UDP and TCP (RFC 3261 §18.1.1)."""


class Exchanger:
    """Sends requests to where their Route or Request-URI says."""

    def __init__(self, transactions: TransactionLayer, resolver: Resolver) -> None:
        self.transactions = transactions
        self.failovers: Counter[str] = Counter()
        """Requests that went on to another server, by :class:`sipua.transaction.failover.Leave`."""
        self._resolver = resolver
        self._dead = DeadServers()
        self._limiter = LogLimiter()
        self._sendings: set[Sending] = set()
        self._idle = Latch()

    async def targets(self, request: Request) -> list[Endpoint]:
        """Return the servers of the next hop, best first, those that failed a moment ago last.

        Requests with one Call-ID get servers of equal rank in the same order, so that a dialog, a registration and the answer to a
        challenge stay with their server. Raises :class:`TransportError`, also for a broken next hop.
        """
        try:
            found = await self._resolver.resolve(next_hop(request), request.headers.get("Call-ID") or "")
        except ParseError as error:
            raise TransportError(error.reason) from error
        return self._dead.order(found, asyncio.get_running_loop().time())[:MAX_TARGETS]

    def obstacle(self, hop: Uri) -> str:
        """Return why no name server can give a way to the next hop *hop*: it wants a transport that this agent hasn't; else ``""``."""
        try:
            return self.transactions.transports.obstacle(target_of(hop).transport)
        except (ParseError, TransportError) as error:
            return str(error)

    async def channel_for(self, request: Request) -> Channel:
        """Return a channel to the first endpoint of the next hop that takes one. Raises :class:`TransportError`."""
        failure = TransportError("no address")
        targets = await self.targets(request)
        for target, following in zip(targets, [*targets[1:], None], strict=True):
            try:
                return await self.channel_to(target, request)
            except TransportError as error:
                failure = error
                self.left(target, Leave.TRANSPORT, request, following)
        raise failure

    async def channel_to(self, target: Endpoint, request: Request) -> Channel:
        """Return a channel to *target* that suits the size of *request*. Raises :class:`TransportError`."""
        size = 0 if target.is_reliable else request.size + VIA_ROOM
        return await self.transactions.transports.channel_to(target, size)

    def left(self, target: Endpoint, why: Leave, request: Request, following: Endpoint | None, response: Response | None = None) -> None:
        """Note that *target* failed *request*, and that *following* is tried next, if there is one."""
        self._dead.mark(target, asyncio.get_running_loop().time(), _retry_after(response))
        if following is not None:
            self.failovers[why] += 1
            text = "%s: server %s failed (%s), going on to %s; check that server, or take it out of DNS"
            self._limiter.warn("failover", text, printable(request.method, 20), target, why, following)

    def answered(self, target: Endpoint) -> None:
        """Note that *target* is alive."""
        self._dead.revive(target)

    async def exchange(
        self,
        request: Request,
        authenticator: Authenticator | None,
        next_cseq: Callable[[], int],
        on_attempt: Callable[[int], None] | None = None,
        may_retry: Callable[[], bool] = lambda: True,
        on_channel: OnChannel | None = None,
    ) -> Response:
        """Send *request* (not INVITE) until it has a final response that is no challenge we can answer.

        A retry has the same Call-ID and tags, a new CSeq from *next_cseq* and a new branch (RFC 3261 §22.2). Time-out is a made-up 408,
        a transport that fails a made-up 503 (§8.1.3.1), each when no other server is left to try (RFC 3263 §4.3). A challenge is answered,
        and another server tried, only while *may_retry* says so; else that was the response. *on_attempt* is told the number of each
        try, *on_channel* of each way before the request leaves by it.
        """
        return await self.go_on(Attempt(authenticator, request), next_cseq, on_attempt, may_retry, on_channel)

    async def go_on(
        self,
        attempt: Attempt,
        next_cseq: Callable[[], int],
        on_attempt: Callable[[int], None] | None,
        may_retry: Callable[[], bool],
        on_channel: OnChannel | None,
        *,
        is_told: bool = False,
    ) -> Response:
        """Do what :meth:`exchange` says with a request that is on its way already; *is_told*: *on_attempt* knows of its next try."""
        while True:
            request = attempt.request
            if on_attempt is not None and not is_told:
                on_attempt(request.cseq.number)
            is_told = False
            response = await self._by_servers(request, on_attempt, may_retry, on_channel)
            if not attempt.retry(response) or not may_retry():
                return response
            attempt.renew(CSeq(next_cseq(), request.method))

    def send(
        self,
        request: Request,
        authenticator: Authenticator | None,
        next_cseq: Callable[[], int],
        tasks: TaskSet,
        on_final: Callable[[Response], None],
        on_attempt: Callable[[int], None] | None = None,
        may_retry: Callable[[], bool] = lambda: True,
        on_channel: OnChannel | None = None,
    ) -> Sending:
        """Do what :meth:`exchange` does, and tell *on_final* the response. What is returned can be told to :meth:`Sending.forget` it.

        The request leaves before this returns, unless a name server must be asked or a connection made: *tasks* owns that. *on_final* is
        called later in any case, and not any more after :meth:`close`.
        """
        sending = Sending(self, Attempt(authenticator, request), next_cseq, tasks, on_final, on_attempt, may_retry, on_channel)
        self._sendings.add(sending)
        sending.start()
        return sending

    def way_now(self, request: Request) -> tuple[Endpoint, Channel] | None:
        """Return the server and the channel of *request* when there is just one server, and a channel to it, now; None: that takes time."""
        try:
            found = self._resolver.resolve_now(next_hop(request), request.headers.get("Call-ID") or "")
        except (ParseError, TransportError):
            return None  # a task will tell why
        if found is None or len(found) != 1:
            return None
        target = found[0]
        size = 0 if target.is_reliable else request.size + VIA_ROOM
        channel = self.transactions.transports.channel_now(target, size)
        return None if channel is None else (target, channel)

    def ended(self, sending: Sending) -> None:
        """*sending* has its response."""
        self._sendings.discard(sending)
        if not self._sendings:
            self._idle.open()

    async def join(self) -> None:
        """Wait until every request of :meth:`send` has its response."""
        while self._sendings:
            self._idle = Latch()
            await self._idle.wait()

    def close(self) -> None:
        """Tell nobody any more what becomes of the requests of :meth:`send`."""
        for sending in tuple(self._sendings):
            sending.forget()

    def __len__(self) -> int:
        return len(self._sendings)

    async def _by_servers(
        self,
        request: Request,
        on_attempt: Callable[[int], None] | None,
        may_retry: Callable[[], bool],
        on_channel: OnChannel | None,
    ) -> Response:
        """Try the servers of the next hop one after the other: the same request with a new branch (RFC 3263 §4.3)."""
        try:
            targets = await self.targets(request)
        except TransportError as error:
            return LocalResponse.for_request(request, 503, str(error))
        best: Response | None = None
        for index, target in enumerate(targets):
            trying = request if index == 0 else anew(request)
            if on_attempt is not None and index > 0:
                on_attempt(request.cseq.number)
            response, why = await self._try(trying, target, on_channel)
            if best is None or not isinstance(response, LocalResponse) or isinstance(best, LocalResponse):
                best = response  # a server's own word tells more than silence
            if why is None:
                return response
            if self.transactions.is_closed:
                break
            following = targets[index + 1] if index + 1 < len(targets) and may_retry() else None
            self.left(target, why, request, following, response)
            if following is None:
                break
        return best or LocalResponse.for_request(request, 503, "no address")

    async def _try(self, request: Request, target: Endpoint, on_channel: OnChannel | None) -> tuple[Response, Leave | None]:
        highest = 0

        def provisional(response: Response) -> None:
            nonlocal highest
            highest = max(highest, response.status)

        try:
            channel = await self.channel_to(target, request)
        except TransportError as error:
            return LocalResponse.for_request(request, 503, str(error)), Leave.TRANSPORT
        if on_channel is not None:
            on_channel(request, channel)
        response = await self.transactions.request_by(request, channel, provisional)
        if not isinstance(response, LocalResponse):
            end: Leave | int = response.status
        else:
            end = Leave.TIMEOUT if response.status == 408 else Leave.TRANSPORT
        why = why_leave(request.method, highest, end)
        if why is None and not isinstance(response, LocalResponse):
            self.answered(target)
        return response, why


def anew(request: Request) -> Request:
    """Return *request* for another server: everything but Via, which gets a new branch (RFC 3263 §4.3)."""
    copy = request.copy()
    copy.headers.remove("Via")
    return copy


def _retry_after(response: Response | None) -> float | None:
    try:
        return None if response is None else response.retry_after
    except ParseError:
        return None
