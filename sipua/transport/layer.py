"""The transport layer: listeners, the connection pool, Via, and what happens to broken messages (RFC 3261 §18).

Nothing that comes from the network raises out of here. Counters are in :attr:`TransportLayer.counters`, hooks on the traffic in ``trace``.
"""

import asyncio
import contextlib
import logging
import random
import secrets
from collections import Counter
from collections.abc import Callable

from sipua.driver import TaskSet
from sipua.errors import ParseError, TransportError, printable
from sipua.message import MAX_MESSAGE_BYTES, Broken, Frame, MessageError, Ping, Request, Response, Uri, parse_message
from sipua.transport.base import Channel, Endpoint, TransportUser
from sipua.transport.network import AsyncioNetwork, Listener, Network
from sipua.transport.pool import ConnectionPool
from sipua.transport.reject import error_response
from sipua.transport.resolver import Resolver
from sipua.transport.route import (
    ip_literal,
    is_unicast,
    is_wildcard,
    parse_endpoint,
    response_address,
    response_sent_by,
    same_host,
    sent_by_key,
    stamp_request,
)
from sipua.transport.tcp import IDLE_SECONDS, Connection, StreamLimits
from sipua.transport.trace import Direction, LogLimiter, Trace, log_message
from sipua.transport.udp import UdpChannel, UdpPort, is_keepalive, source_for

log = logging.getLogger("sipua.transport")

MAX_UDP_REQUEST = 1300  # octets; larger requests go by TCP when the path's MTU is unknown (RFC 3261 §18.1.1)
REFUSAL_SECONDS = 60.0  # a peer without TCP must not cost every large request a connection attempt
CONNECT_SECONDS = 4.0  # T2: a transaction has most of its 32 s left for another way
MAX_CONNECTIONS = 1000  # file descriptors are finite; a PBX uses a handful
MAX_LATE_RESPONSES = 100  # responses that wait for a new connection
_MAX_REMEMBERED = 1024  # refusals, and spellings of our own address

COUNTERS = (
    "received",
    "sent",
    "malformed",
    "rejected",
    "dropped",
    "keepalives",
    "send_errors",
    "opened",
    "accepted",
    "refused",
    "user_errors",
)
"""Messages in and out; broken ones, those of them that were answered; dropped ones; keep-alives that came; failures to send;

connections that we opened, accepted, refused for the limit; exceptions of the layer above.
"""


class TransportLayer:
    """Sends and receives SIP messages for one :class:`sipua.transport.base.TransportUser`.

    *advertised_host* (a name or address, ``""`` for the local address) stands in Via and Contact. Sizes are octets, times seconds;
    *max_connections* holds for each direction.
    """

    def __init__(
        self,
        network: Network | None = None,
        resolver: Resolver | None = None,
        *,
        advertised_host: str = "",
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_connections: int = MAX_CONNECTIONS,
        connect_seconds: float = CONNECT_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        rng: random.Random | None = None,
        new_tag: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.user: TransportUser | None = None
        self.network: Network = AsyncioNetwork() if network is None else network
        self.resolver = Resolver(self.network.lookup) if resolver is None else resolver
        self.trace: list[Trace] = []
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self.listening: list[Endpoint] = []
        self._advertised_host = advertised_host.strip("[]")
        self._max_message_bytes = max_message_bytes
        self._new_tag = new_tag
        self._udp: list[UdpPort] = []
        self._listeners: list[Listener] = []
        self._no_tcp: dict[tuple[str, int], float] = {}
        self._stamped: dict[str, None] = {}
        self._tasks = TaskSet()
        self._late = 0
        self._is_closed = False
        self._limiter = LogLimiter()
        self._pool = ConnectionPool(
            self.network,
            self,
            limits=StreamLimits(max_message_bytes, idle_seconds),
            max_connections=max_connections,
            connect_seconds=connect_seconds,
            rng=rng or random.Random(),
            counters=self.counters,
            limiter=self._limiter,
        )

    # Listening and shutdown

    async def listen(self, where: str | Endpoint) -> Endpoint:
        """Listen at *where* (``udp:127.0.0.1:5060``; port 0 takes a free one) and return the endpoint with its real port.

        Raises :class:`TransportError` when that is impossible, ValueError when the text is no endpoint.
        """
        endpoint = parse_endpoint(where) if isinstance(where, str) else where
        if self._is_closed:
            raise TransportError("the transport layer is closed")
        try:
            if endpoint.transport == "UDP":
                port = UdpPort(self.network, self)
                await port.open(endpoint.host, endpoint.port)
                self._udp.append(port)
                endpoint = port.bound
            elif endpoint.transport == "TCP":
                listener = await self.network.listen_tcp(endpoint.host, endpoint.port, self._pool.accept)
                self._listeners.append(listener)
                endpoint = Endpoint("TCP", *listener.address)
            else:
                raise TransportError("TLS is not supported yet")
        except OSError as error:
            raise TransportError(f"can't listen at {endpoint}: {error.strerror or error}") from error
        self.listening.append(endpoint)
        return endpoint

    async def aclose(self) -> None:
        """Close every socket; connections get a moment for what is queued."""
        self._is_closed = True
        await self._tasks.aclose()
        await self.resolver.aclose()
        for listener in self._listeners:
            await listener.aclose()
        await self._pool.aclose()
        for port in self._udp:
            port.close()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._pool)

    # Our own address

    def advertised(self, channel: Channel) -> Endpoint:
        """Return the endpoint at which the peer of *channel* reaches us: what stands in Via and should stand in Contact.

        The port of a connection that we opened is that of our TCP listener, if there is one (RFC 3261 §18.1.1).
        """
        local = channel.local
        port = local.port
        if local.transport == "TCP" and not any(e.transport == "TCP" and e.port == port for e in self.listening):
            wildcards = [e.port for e in self.listening if e.transport == "TCP" and (":" in e.host) == (":" in local.host)]
            exact = [e.port for e in self.listening if e.transport == "TCP" and same_host(e.host, local.host)]
            port = (exact or wildcards or [port])[0]
        return Endpoint(local.transport, self._advertised_host or local.host, port)

    def via_for(self, channel: Channel, branch: str) -> str:
        """Return the Via value of a request that leaves by *channel*."""
        ours = self.advertised(channel)
        key = sent_by_key(ours.host, ours.port, ours.transport)
        if key not in self._stamped:
            while len(self._stamped) >= _MAX_REMEMBERED:
                del self._stamped[next(iter(self._stamped))]
            self._stamped[key] = None
        return f"SIP/2.0/{ours.transport} {ours.hostport};branch={branch};rport"

    def _is_ours(self, response: Response, channel: Channel) -> bool:
        key = response_sent_by(response.headers.values("Via"))
        if key is None:
            return False
        ours = self.advertised(channel)
        return key in self._stamped or key == sent_by_key(ours.host, ours.port, ours.transport)

    # Sending

    async def channel_to(self, target: Endpoint, size: int = 0) -> Channel:
        """Return an open channel to *target*; see :class:`sipua.transport.base.Transports`."""
        if self._is_closed:
            raise TransportError("the transport layer is closed")
        if target.transport == "TCP":
            return await self._pool.get(target)
        if target.transport != "UDP":
            raise TransportError(f"{printable(target.transport, 16)} is not supported yet")
        if size > MAX_UDP_REQUEST and self._no_tcp.get((target.host, target.port), 0.0) <= asyncio.get_running_loop().time():
            try:
                return await self._pool.get(Endpoint("TCP", target.host, target.port))
            except TransportError as error:  # RFC 3261 §18.1.1: back to UDP
                log.info("large request goes to %s by UDP: %s", target.hostport, error)
                self._remember_refusal(target)
        return self._udp_port(target.host).channel(target)

    def _remember_refusal(self, target: Endpoint) -> None:
        while len(self._no_tcp) >= _MAX_REMEMBERED:
            del self._no_tcp[next(iter(self._no_tcp))]
        self._no_tcp[target.host, target.port] = asyncio.get_running_loop().time() + REFUSAL_SECONDS

    def _udp_port(self, host: str) -> UdpPort:
        ports = [port for port in self._udp if port.is_open and (":" in port.bound.host) == (":" in host)]
        if not ports:
            raise TransportError(f"no UDP socket for the address family of {printable(host, 64)}")
        if len(ports) == 1:
            return ports[0]
        source = source_for(self.network, host)
        exact = [port for port in ports if same_host(port.bound.host, source)]
        wildcard = [port for port in ports if is_wildcard(port.bound.host)]
        return (exact or wildcard or ports)[0]

    def send_request(self, request: Request, channel: Channel) -> None:
        """Send *request* by *channel*. Raises :class:`TransportError`."""
        self._send(request.encode(), channel)

    def _send(self, data: bytes, channel: Channel) -> None:
        try:
            channel.send(data)
        except TransportError:
            self.counters["send_errors"] += 1
            raise
        self.counters["sent"] += 1
        self._traced("out", data, channel)

    def send_response(self, response: Response, channel: Channel) -> None:
        """Send *response* to where its top Via and the request's *channel* say (RFC 3261 §18.2.2). Never raises."""
        try:
            if isinstance(channel, UdpChannel):
                self._send(response.encode(), self._udp_answer(response, channel))
            elif channel.is_open:
                self._send(response.encode(), channel)
            else:
                self._send_late(response, channel)
        except TransportError as error:
            self._limiter.warn("response", "response to %s not sent: %s", channel.remote, error)
            if not isinstance(channel, UdpChannel) and not channel.is_open:
                self._send_late(response, channel)

    def _udp_answer(self, response: Response, channel: UdpChannel) -> UdpChannel:
        """Return the way to the response's target from the socket that took the request (RFC 3581 §4)."""
        try:
            host, port = response_address(response.via, reliable=False)
        except ParseError:
            return channel
        if not is_unicast(host) or port == 0:
            return channel  # a sent-by that was not stamped, or no address at all
        return channel.port.channel(Endpoint("UDP", host, port))

    def _send_late(self, response: Response, channel: Channel) -> None:
        """Try a new connection: the request's is gone."""
        try:
            host, port = response_address(response.via, reliable=True)
        except ParseError:
            host, port = "", 0
        if self._is_closed or self._late >= MAX_LATE_RESPONSES or ip_literal(host) is None:
            self.counters["dropped"] += 1
            self._limiter.warn("late", "response to %s dropped: its connection is closed", channel.remote)
            return
        self._late += 1
        self._tasks.spawn(self._reconnect(response, Endpoint("TCP", host, port)), "late response")

    async def _reconnect(self, response: Response, target: Endpoint) -> None:
        try:
            self._send(response.encode(), await self._pool.get(target))
        except TransportError as error:
            self.counters["dropped"] += 1
            self._limiter.warn("late", "response to %s dropped: %s", target, error)
        finally:
            self._late -= 1

    async def resolve(self, uri: Uri) -> list[Endpoint]:
        """Return the endpoints to try for *uri*, best first. Raises :class:`TransportError`."""
        return await self.resolver.resolve(uri)

    # Receiving

    def on_udp(self, data: bytes, channel: UdpChannel) -> None:
        """Handle a datagram."""
        if is_keepalive(data):
            self.counters["keepalives"] += 1
            return
        self._traced("in", data, channel)
        if len(data) > self._max_message_bytes:
            self._malformed(MessageError("message too large", 513), channel)
            return
        try:
            message = parse_message(data)
        except MessageError as error:
            self._malformed(error, channel)
        except Exception as error:  # a fault of the parser costs one message, not the socket
            self.counters["dropped"] += 1
            self._limiter.warn("parser", "message from %s dropped", channel.remote, error=error)
        else:
            self._deliver(message, channel)

    def on_udp_error(self, port: UdpPort, error: OSError) -> None:
        """Handle an error of a socket."""
        self.counters["send_errors"] += 1
        self._limiter.warn("socket", "error on %s: %s", port.bound, error.strerror or error)

    def on_frame(self, frame: Frame, connection: Connection) -> None:
        """Handle what a connection read."""
        if isinstance(frame, Ping):
            return
        message = frame.error.message if isinstance(frame, Broken) else frame
        if message is not None and (self.trace or log.isEnabledFor(logging.DEBUG)):
            self._traced("in", message.encode(), connection)  # as it was read: a stream keeps no copy of the bytes
        if isinstance(frame, Broken):
            self._malformed(frame.error, connection)
        else:
            self._deliver(frame, connection)

    def on_ping(self, connection: Connection) -> None:  # noqa: ARG002  # the connection has answered it
        """Count a keep-alive."""
        self.counters["keepalives"] += 1

    def on_connection_closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._pool.forget(connection)

    def _deliver(self, message: Request | Response, channel: Channel) -> None:
        self.counters["received"] += 1
        try:
            if isinstance(message, Request):
                stamp_request(message, channel.remote.host, channel.remote.port)
            elif not self._is_ours(message, channel):
                self.counters["dropped"] += 1
                self._limiter.warn("via", "response from %s dropped: its Via is not ours alone", channel.remote)
                return
            if self.user is None:
                self.counters["dropped"] += 1
            elif isinstance(message, Request):
                self.user.on_request(message, channel)
            else:
                self.user.on_response(message, channel)
        except Exception as error:  # the layer above must not cost us the socket
            self.counters["user_errors"] += 1
            self._limiter.warn("user", "handling a message from %s failed", channel.remote, error=error)

    def _malformed(self, error: MessageError, channel: Channel) -> None:
        """Count, log and, if it is a request that can be answered, answer (RFC 4475 §3)."""
        self.counters["malformed"] += 1
        self._limiter.warn("malformed", "malformed message from %s: %s", channel.remote, printable(error.reason))
        response = self._error_response(error, channel)
        if response is None:
            self.counters["dropped"] += 1
        else:
            self.counters["rejected"] += 1
            self.send_response(response, channel)

    def _error_response(self, error: MessageError, channel: Channel) -> Response | None:
        if not isinstance(error.message, Request):
            return None
        # With an unusable Via the response goes to where the request came from: send_response does so.
        with contextlib.suppress(ParseError):
            stamp_request(error.message, channel.remote.host, channel.remote.port)
        return error_response(error.message, error.status, error.reason, self._new_tag())

    def _traced(self, direction: Direction, data: bytes, channel: Channel) -> None:
        log_message(direction, data, channel)
        for hook in self.trace:
            try:
                hook(direction, data, channel)
            except Exception as error:  # an observer must not change what is observed
                self._limiter.warn("trace", "a trace hook failed", error=error)
