"""Responses whose connection is gone: a new one to where the request came from, else to where its Via says (RFC 3261 §18.2.2)."""

from collections import Counter
from collections.abc import Awaitable, Callable

from sipua.driver import TaskSet
from sipua.errors import ParseError, TransportError
from sipua.message import Params, Response, Uri, Via
from sipua.transport.base import Channel, Endpoint
from sipua.transport.resolver import Resolver
from sipua.transport.route import ip_literal, response_address
from sipua.transport.trace import LogLimiter

MAX_LATE_RESPONSES = 100  # responses that wait for a new connection
MAX_SERVERS = 3  # of the name in Via that are tried: a request's sender wrote it


class LateResponses:
    """Delivers responses in the background. *connect* gives a connection, *send* writes to one; both raise :class:`TransportError`."""

    def __init__(
        self,
        connect: Callable[[Endpoint], Awaitable[Channel]],
        send: Callable[[bytes, Channel], None],
        resolver: Resolver,
        counters: Counter[str],
        limiter: LogLimiter,
    ) -> None:
        self._connect = connect
        self._send = send
        self._resolver = resolver
        self._counters = counters
        self._limiter = limiter
        self._tasks = TaskSet()
        self._is_closed = False

    def deliver(self, response: Response, channel: Channel) -> None:
        """Try to send *response*, whose request came by *channel*. Never raises: what can't be sent is counted and logged."""
        try:
            via = response.via
            host, port = response_address(via, channel.remote.host, channel.remote.port, reliable=True)
        except ParseError:
            via, host, port = None, "", 0
        if self._is_closed or via is None or len(self._tasks) >= MAX_LATE_RESPONSES:
            self._drop(channel.remote, "its connection is closed")
            return
        transport = channel.remote.transport
        name = via.host.strip("[]").lower() if transport == "TLS" else ""
        self._tasks.spawn(self._deliver(response, via, Endpoint(transport, host, port, name)), "late response")

    async def _deliver(self, response: Response, via: Via, source: Endpoint) -> None:
        try:
            if await self._reach(response, [source]) or await self._reach(response, await self._by_name(via, source.transport)):
                return
            self._drop(source, "no new connection")
        except TransportError as error:
            self._drop(source, str(error))

    async def _by_name(self, via: Via, transport: str) -> list[Endpoint]:
        """Return the servers of the name in *via* (RFC 3263 §5): at its port, or by SRV of the transport that the request came by."""
        if ip_literal(via.host) is not None:
            return []
        uri = Uri.build(via.host, port=via.port, params=Params((("transport", transport.lower()),)))
        return (await self._resolver.resolve(uri))[:MAX_SERVERS]

    async def _reach(self, response: Response, targets: list[Endpoint]) -> bool:
        for target in targets:
            try:
                self._send(response.encode(), await self._connect(target))
            except TransportError as error:
                self._limiter.warn("late", "response to %s not sent: %s", target, error)
            else:
                return True
        return False

    def _drop(self, target: Endpoint, why: str) -> None:
        self._counters["dropped"] += 1
        self._limiter.warn("late", "response to %s dropped: %s", target, why)

    async def aclose(self) -> None:
        """Give up what is under way."""
        self._is_closed = True
        await self._tasks.aclose()
