"""The transport layer: listeners, the connection pool, Via, and what happens to broken messages (RFC 3261 §18).

Nothing that comes from the network raises out of here. Counters are in :attr:`TransportLayer.counters`, hooks on the traffic in ``trace``.
"""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable

from sipua.entropy import system_bits
from sipua.errors import ParseError, TransportError, printable
from sipua.message import MAX_MESSAGE_BYTES, Broken, Frame, MessageError, Ping, Request, Response, Uri, parse_message
from sipua.transport.advertised import LOCAL, Advertised
from sipua.transport.base import Channel, Endpoint, TransportUser
from sipua.transport.crowd import MAX_CONNECTIONS, MAX_PER_ADDRESS, Crowd
from sipua.transport.late import LateResponses
from sipua.transport.network import AsyncioNetwork, Listener, Network
from sipua.transport.own import OwnAddresses
from sipua.transport.pool import ConnectionPool
from sipua.transport.reject import error_response
from sipua.transport.resolver import Resolver
from sipua.transport.route import (
    is_wildcard,
    parse_endpoint,
    response_address,
    same_host,
    stamp_request,
)
from sipua.transport.sources import Sources
from sipua.transport.tcp import CUTS, FIRST_MESSAGE_SECONDS, IDLE_SECONDS, Connection, StreamLimits
from sipua.transport.tls import Tls
from sipua.transport.trace import Direction, LogLimiter, Trace, log_message
from sipua.transport.triage import Intake
from sipua.transport.udp import UdpChannel, UdpPort, is_keepalive
from sipua.transport.unreachable import UnreachableError
from sipua.transport.zones import Zones

log = logging.getLogger("sipua.transport")

MAX_UDP_REQUEST = 1300  # octets; larger requests go by TCP when the path's MTU is unknown (RFC 3261 §18.1.1)
REFUSAL_SECONDS = 60.0  # a peer without TCP must not cost every large request a connection attempt
CONNECT_SECONDS = 4.0  # T2: a transaction has most of its 32 s left for another way
_MAX_REMEMBERED = 1024  # refusals

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
    "handshakes_failed",
    *CUTS,
    "user_errors",
)
"""Messages in and out; broken ones, those of them that were answered; dropped ones; keep-alives that came; failures to send;

connections that we opened, accepted, refused for a limit, TLS handshakes that failed, and connections that we closed on peers that misused
them; exceptions of the layer above.
"""


class TransportLayer:
    """Sends and receives SIP messages for one :class:`sipua.transport.base.TransportUser`.

    *advertised* stands in Via and Contact in place of the local address. Sizes are octets, times seconds; *max_connections* holds for
    each direction, *max_per_address* for those that peers open; *tls* has our certificates.
    """

    def __init__(
        self,
        network: Network | None = None,
        resolver: Resolver | None = None,
        *,
        advertised: Advertised = LOCAL,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_connections: int = MAX_CONNECTIONS,
        max_per_address: int = MAX_PER_ADDRESS,
        first_message_seconds: float = FIRST_MESSAGE_SECONDS,
        tls: Tls | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        rng: random.Random | None = None,
        new_tag: Callable[[], str] = lambda: system_bits.token_hex(8),
        intake: Intake | None = None,
    ) -> None:
        self.user: TransportUser | None = None
        self.network: Network = AsyncioNetwork() if network is None else network
        self.resolver = Resolver(self.network.lookup) if resolver is None else resolver
        self.resolver.is_usable = self._has_socket_for
        self.resolver.has_transport = lambda transport: not self.obstacle(transport)
        self.trace: list[Trace] = []
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._own = OwnAddresses(advertised)
        self._sources = Sources(self.network)
        self._tls = tls
        self._max_message_bytes = max_message_bytes
        self._intake = intake or Intake()
        self.may_answer: Callable[[Channel], bool] = lambda _channel: True
        """Tells whether a broken message that came by a channel gets an answer."""
        self._new_tag = new_tag
        self._udp: list[UdpPort] = []
        self._udp_families: set[bool] = set()  # True: IPv6
        self._listeners: list[Listener] = []
        self._no_tcp: dict[tuple[str, int], float] = {}
        self._zones = Zones()
        self._is_closed = False
        self._limiter = LogLimiter()
        self._pool = ConnectionPool(
            self.network,
            self,
            limits=StreamLimits(max_message_bytes, idle_seconds, first_message_seconds),
            crowd=Crowd(max_connections, max_per_address),
            max_outbound=max_connections,
            tls=tls,
            intake=self._intake,
            connect_seconds=connect_seconds,
            rng=rng or random.Random(),
            counters=self.counters,
            limiter=self._limiter,
            source=lambda target: self._own.source_to(target, self.source_for),
        )
        self.adopt = self._pool.accept
        """Makes a connection of a stream that is ready, such as one that another process lends."""
        self._late = LateResponses(self._pool.get, self._send, self.resolver, self.counters, self._limiter)

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
                port = UdpPort(self.network, self, self._intake, self._sources)
                await port.open(endpoint.host, endpoint.port)
                self._udp.append(port)
                self._udp_families.add(":" in port.bound.host)
                endpoint = port.bound
            elif endpoint.transport == "TCP":
                listener = await self.network.listen_tcp(endpoint.host, endpoint.port, self._pool.accept)
                self._listeners.append(listener)
                endpoint = Endpoint("TCP", *listener.address)
            elif self._tls is None or self._tls.contexts.server is None:
                raise TransportError(f"can't listen at {endpoint}: no certificate is set")
            else:
                listener = await self.network.listen_tcp(endpoint.host, endpoint.port, self._pool.accept_tls)
                self._listeners.append(listener)
                endpoint = Endpoint("TLS", *listener.address)
        except OSError as error:
            raise TransportError(f"can't listen at {endpoint}: {error.strerror or error}") from error
        self.listening.append(endpoint)
        return endpoint

    async def aclose(self) -> None:
        """Close every socket; connections get a moment for what is queued."""
        self._is_closed = True
        await self._late.aclose()
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

    @property
    def listening(self) -> list[Endpoint]:
        """Where we listen, with the real ports."""
        return self._own.listening

    def advertised(self, channel: Channel) -> Endpoint:
        """Return the endpoint at which the peer of *channel* reaches us: what stands in Via and should stand in Contact."""
        return self._own.advertised(channel)

    def via_for(self, channel: Channel, branch: str) -> str:
        """Return the Via value of a request that leaves by *channel*."""
        return self._own.via(channel, branch)

    # Sending

    def obstacle(self, transport: str) -> str:
        """Return why nothing can leave by *transport*, ``""`` when something can."""
        if transport == "TLS":
            return "TLS is not set up here" if self._tls is None else ""
        return "" if transport in {"UDP", "TCP"} else f"{printable(transport, 16)} is no transport of this agent"

    async def channel_to(self, target: Endpoint, size: int = 0) -> Channel:
        """Return an open channel to *target*; see :class:`sipua.transport.base.Transports`."""
        if self._is_closed:
            raise TransportError("the transport layer is closed")
        obstacle = self.obstacle(target.transport)
        if obstacle:
            raise TransportError(obstacle)
        target = target._replace(host=self._zones.complete(target.host))
        if target.is_reliable:
            return await self._pool.get(target)
        if size > MAX_UDP_REQUEST and self._no_tcp.get((target.host, target.port), 0.0) <= asyncio.get_running_loop().time():
            try:
                return await self._pool.get(Endpoint("TCP", target.host, target.port))
            except TransportError as error:  # RFC 3261 §18.1.1: back to UDP
                log.info("large request goes to %s by UDP: %s", target.hostport, error)
                self._remember_refusal(target)
        return self._udp_port(target.host).channel(target)

    def channel_now(self, target: Endpoint, size: int = 0) -> Channel | None:
        """Return what :meth:`channel_to` would, where that takes no time, else None."""
        if self._is_closed or self.obstacle(target.transport):
            return None
        target = target._replace(host=self._zones.complete(target.host))
        if target.is_reliable:
            return self._pool.find(target)
        if size > MAX_UDP_REQUEST or not self._has_socket_for(target):
            return None
        return self._udp_port(target.host).channel(target)

    def _remember_refusal(self, target: Endpoint) -> None:
        while len(self._no_tcp) >= _MAX_REMEMBERED:
            del self._no_tcp[next(iter(self._no_tcp))]
        self._no_tcp[target.host, target.port] = asyncio.get_running_loop().time() + REFUSAL_SECONDS

    def _has_socket_for(self, target: Endpoint) -> bool:
        return target.transport != "UDP" or (":" in target.host) in self._udp_families

    def _udp_port(self, host: str) -> UdpPort:
        ports = [port for port in self._udp if port.is_open and (":" in port.bound.host) == (":" in host)]
        if not ports:
            raise TransportError(f"no UDP socket for the address family of {printable(host, 64)}")
        if len(ports) == 1:
            return ports[0]
        source = self._sources.find_any(host)
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
        if self.trace or log.isEnabledFor(logging.DEBUG):
            self._traced("out", data, channel)

    def send_response(self, response: Response, channel: Channel) -> None:
        """Send *response* to where its top Via and the request's *channel* say (RFC 3261 §18.2.2). Never raises."""
        try:
            if isinstance(channel, UdpChannel):
                self._send(response.encode(), self._udp_answer(response, channel))
            elif channel.is_open:
                self._send(response.encode(), channel)
            else:
                self._late.deliver(response, channel)
        except TransportError as error:
            self._limiter.warn("response", "response to %s not sent: %s", channel.remote, error)
            if not isinstance(channel, UdpChannel) and not channel.is_open:
                self._late.deliver(response, channel)

    def _udp_answer(self, response: Response, channel: UdpChannel) -> UdpChannel:
        """Return the way to the response's target from the socket that took the request (RFC 3581 §4)."""
        try:
            host, port = response_address(response.via, channel.remote.host, channel.remote.port, reliable=False)
        except ParseError:
            return channel
        return channel.port.channel_to((host, port)) if port not in (0, channel.remote.port) else channel

    def source_for(self, address: str) -> str | None:
        """Return our address on the way to *address*, None without a route."""
        return self._sources.find(address)

    async def resolve(self, uri: Uri) -> list[Endpoint]:
        """Return the endpoints to try for *uri*, best first. Raises :class:`TransportError`."""
        return await self.resolver.resolve(uri)

    # Receiving

    def on_udp(self, data: bytes, channel: UdpChannel) -> None:
        """Handle a datagram."""
        if is_keepalive(data):
            self.counters["keepalives"] += 1
            return
        if self.trace or log.isEnabledFor(logging.DEBUG):
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
        where = f" to {printable(Endpoint('UDP', *error.destination).hostport, 64)}" if isinstance(error, UnreachableError) else ""
        self._limiter.warn("socket", "error on %s%s: %s", port.bound, where, error.strerror or error)

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

    def on_cut(self, connection: Connection, reason: str) -> None:
        """Count and log that a peer misused its connection."""
        self.counters[reason] += 1
        self._limiter.warn(reason, "connection of %s closed: %s", connection.remote, CUTS[reason])

    def on_connection_closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._pool.forget(connection)

    def _deliver(self, message: Request | Response, channel: Channel) -> None:
        self.counters["received"] += 1
        try:
            self._zones.heard(channel.remote.host)
            if isinstance(message, Request):
                stamp_request(message, channel.remote.host, channel.remote.port)
            elif not self._own.is_ours(message, channel):
                self.counters["dropped"] += 1
                self._limiter.warn("via", "response from %s dropped: its Via is not ours alone", channel.remote)
                return
            if self.user is None:
                self.counters["dropped"] += 1
            elif isinstance(message, Request):
                if isinstance(channel, Connection):
                    self._pool.note_alias(message, channel)
                self.user.on_request(message, channel)
            else:
                self.user.on_response(message, channel)
        except Exception as error:  # the layer above must not cost us the socket
            self.counters["user_errors"] += 1
            self._limiter.warn("user", "handling a message from %s failed", channel.remote, error=error)

    def _malformed(self, error: MessageError, channel: Channel) -> None:
        """Count, log and, if it is a request that can be answered, answer (RFC 4475 §3)."""
        self.counters["malformed"] += 1
        call_id = (error.message and error.message.headers.get("Call-ID")) or "unreadable"
        text = "malformed message from %s, Call-ID %s: %s"
        self._limiter.warn("malformed", text, channel.remote, printable(call_id, 80), printable(error.reason))
        response = self._error_response(error, channel) if self.may_answer(channel) else None
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
