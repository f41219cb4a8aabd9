"""Requests with their target and credentials: next hop, fail-over of transport errors, answers to challenges (RFC 3261 §8.1, §22)."""

from collections.abc import Callable

from sipua.auth.credentials import Attempt, Authenticator
from sipua.errors import ParseError, TransportError
from sipua.message import Request, Response
from sipua.message.via import CSeq
from sipua.transaction.layer import LocalResponse, TransactionLayer
from sipua.transport.base import Channel, Endpoint
from sipua.transport.resolver import Resolver
from sipua.transport.route import next_hop

VIA_ROOM = 100
"""Octets that the Via will add to a request: they count for the choice between UDP and TCP (RFC 3261 §18.1.1)."""


class Exchanger:
    """Sends requests to where their Route or Request-URI says."""

    def __init__(self, transactions: TransactionLayer, resolver: Resolver) -> None:
        self.transactions = transactions
        self._resolver = resolver

    async def targets(self, request: Request) -> list[Endpoint]:
        """Return the endpoints of the next hop, best first. Raises :class:`TransportError` or :class:`ParseError`."""
        return await self._resolver.resolve(next_hop(request))

    async def channel_for(self, request: Request) -> Channel:
        """Return a channel to the first endpoint of the next hop that takes one. Raises :class:`TransportError`."""
        try:
            targets = await self.targets(request)
        except ParseError as error:
            raise TransportError(error.reason) from error
        size = len(request.encode()) + VIA_ROOM
        failure = TransportError("no address")
        for target in targets:
            try:
                return await self.transactions.transports.channel_to(target, size)
            except TransportError as error:
                failure = error
        raise failure

    async def exchange(
        self,
        request: Request,
        authenticator: Authenticator | None,
        next_cseq: Callable[[], int],
        on_attempt: Callable[[int], None] | None = None,
        may_retry: Callable[[], bool] = lambda: True,
    ) -> Response:
        """Send *request* (not INVITE) until it has a final response that is no challenge we can answer.

        A retry has the same Call-ID and tags, a new CSeq from *next_cseq* and a new branch (RFC 3261 §22.2). Time-out is a made-up 408,
        a transport that fails a made-up 503 (§8.1.3.1). A challenge is answered only while *may_retry* says so; else it is the response.
        """
        attempt = Attempt(authenticator, request)
        while True:
            request = attempt.request
            if on_attempt is not None:
                on_attempt(request.cseq.number)
            response = await self._once(request)
            if not attempt.retry(response) or not may_retry():
                return response
            attempt.renew(CSeq(next_cseq(), request.method))

    async def _once(self, request: Request) -> Response:
        try:
            channel = await self.channel_for(request)
        except TransportError as error:
            return LocalResponse.for_request(request, 503, str(error))
        return await self.transactions.request_by(request, channel)
