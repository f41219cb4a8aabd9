"""Connections: one for each peer, opened once however many wait for it, counted and closed (RFC 3261 §18, RFC 5923)."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from sipua.driver import TaskSet
from sipua.errors import TransportError
from sipua.message import Request
from sipua.transport.aliases import alias_endpoints
from sipua.transport.base import Endpoint
from sipua.transport.crowd import HANDSHAKES_PER_S, Crowd, HandshakePace
from sipua.transport.handshake import NO_CONTEXT, TlsFailure
from sipua.transport.network import Network, Stream, StreamReceiver
from sipua.transport.tcp import Connection, ConnectionOwner, StreamLimits
from sipua.transport.tls import Tls, TlsStream
from sipua.transport.trace import LogLimiter
from sipua.transport.triage import Intake

CLOSE_SECONDS = 1.0  # for what is queued to leave at shutdown


class ConnectionPool:
    """The open connections by remote endpoint, those that peers opened included.

    A peer's connection serves a request only when that is addressed to the connection's very remote endpoint: its Contact names the port
    that it connected from, so that it means this connection; or when it is an alias of the target (:mod:`sipua.transport.aliases`).
    *crowd* counts the connections that peers open, *max_outbound* is the limit of ours: a flood of callers must not keep us from calling.
    TLS handshakes of those whom *intake* doesn't know are paced.
    """

    def __init__(
        self,
        network: Network,
        owner: ConnectionOwner,
        *,
        limits: StreamLimits,
        crowd: Crowd,
        max_outbound: int,
        connect_seconds: float,
        rng: random.Random,
        counters: Counter[str],
        limiter: LogLimiter,
        tls: Tls | None = None,
        intake: Intake | None = None,
        source: Callable[[Endpoint], str] = lambda _target: "",
    ) -> None:
        self._network = network
        self._owner = owner
        self._limits = limits
        self._crowd = crowd
        self._max_outbound = max_outbound
        self._connect_seconds = connect_seconds
        self._rng = rng
        self._counters = counters
        self._limiter = limiter
        self._tls = tls
        self._source = source
        self._intake = intake or Intake()
        self._pace = HandshakePace()
        self._tasks = TaskSet()
        self._all: dict[Connection, set[Endpoint]] = {}
        self._handshakes: set[TlsStream] = set()
        self._outbound = 0
        self._by_remote: dict[Endpoint, Connection] = {}
        self._connecting: dict[Endpoint, asyncio.Task[Connection | TransportError]] = {}
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._all)

    async def get(self, target: Endpoint) -> Connection:
        """Return an open connection to *target*. Raises :class:`TransportError`."""
        pooled = self.find(target)
        if pooled is not None:
            return pooled
        if self._is_closed:
            raise TransportError("the transport layer is closed")
        task = self._connecting.get(target)
        if task is None:
            task = self._connecting[target] = self._tasks.spawn(self._connect(target), f"connect {target}")
        await asyncio.wait([task])  # not the task itself: others may wait for the same connection
        if task.cancelled():
            raise TransportError("the transport layer is closed")
        result = task.result()
        if isinstance(result, TransportError):
            raise TransportError(str(result)) from result
        return result

    def find(self, target: Endpoint) -> Connection | None:
        """Return an open connection to *target* if there is one."""
        pooled = self._by_remote.get(target)
        if pooled is None and target.name:
            # a peer's own connection, by its very remote end: good enough when nobody asks whom it stands for, or its certificate says so
            pooled = self._by_remote.get(Endpoint(target.transport, target.host, target.port))
            if pooled is not None and self._is_verifying and target.name not in pooled.identity:
                return None
        return pooled if pooled is not None and pooled.is_open else None

    @property
    def _is_verifying(self) -> bool:
        return self._tls is None or self._tls.settings.verify_servers

    # Connections that we open

    async def _connect(self, target: Endpoint) -> Connection | TransportError:
        """Return the failure instead of raising it: each of those who wait raises its own."""
        result: asyncio.Future[Connection | TransportError] = asyncio.get_running_loop().create_future()
        try:
            if self._outbound + len(self._connecting) > self._max_outbound:
                return TransportError("too many connections")
            async with asyncio.timeout(self._connect_seconds):
                await self._open(target, result)
                connection = await result
        except TimeoutError:
            return TransportError(f"connecting to {target} timed out")
        except TransportError as error:
            return error
        except (OSError, OverflowError, UnicodeError) as error:
            return TransportError(f"connecting to {target} failed: {getattr(error, 'strerror', None) or error}")
        finally:
            self._connecting.pop(target, None)
        if isinstance(connection, TransportError):
            return connection
        if not connection.is_open:
            return TransportError(f"{target} closed the connection at once")
        self._remember(target, connection)
        self._counters["opened"] += 1
        return connection

    async def _open(self, target: Endpoint, result: "asyncio.Future[Connection | TransportError]") -> None:
        """Connect, over TLS where *target* says so, and set *result*. Raises OSError, :class:`TransportError`."""

        def opened(stream: Stream) -> Connection | None:
            if result.done():
                return None
            connection = self._adopt(stream, outbound=True, name=target.name)
            result.set_result(connection)
            return connection

        def failed(stream: TlsStream, failure: TlsFailure) -> None:
            self._told(stream, failure)
            if not result.done():
                result.set_result(TransportError(f"TLS to {target} failed: {failure.text}"))

        if target.transport != "TLS":
            await self._network.connect_tcp(target.host, target.port, opened, self._source(target))
            return
        if self._tls is None:
            raise TransportError("TLS is not set up here")
        context, seconds = self._tls.contexts.client, self._tls.settings.handshake_seconds
        made: list[TlsStream] = []

        def wrapped(stream: Stream) -> TlsStream | None:
            try:
                made.append(
                    TlsStream(stream, context, server_side=False, name=target.name, handshake_seconds=seconds, opened=opened, failed=failed)
                )
            except TransportError as error:
                result.set_result(error)
                return None
            return made[0]

        await self._network.connect_tcp(target.host, target.port, wrapped, self._source(target))
        if not made:
            if not result.done():
                result.set_result(TransportError(f"{target} closed the connection at once"))
            return
        result.add_done_callback(lambda done: made[0].abort() if done.cancelled() else None)
        made[0].start()

    # Connections that peers open

    def accept(self, stream: Stream) -> StreamReceiver | None:
        """Take a connection that a peer opened, or refuse it."""
        if not self._let_in(stream):
            return None
        self._counters["accepted"] += 1
        return self._adopt(stream, outbound=False)

    def accept_tls(self, stream: Stream) -> StreamReceiver | None:
        """Begin the handshake with a peer that connected, or refuse it; it counts as a connection from now on."""
        if self._is_closed or self._tls is None or not self._may_shake(stream.remote[0]) or not self._let_in(stream):
            return None
        context = self._tls.contexts.server
        if context is None:
            self._crowd.leave(stream.remote[0])
            self._tell(stream, NO_CONTEXT)
            return None

        def opened(tls: TlsStream) -> Connection:
            self._handshakes.discard(tls)
            self._counters["accepted"] += 1
            return self._adopt(tls, outbound=False)

        def failed(tls: TlsStream, failure: TlsFailure) -> None:
            if tls in self._handshakes:
                self._handshakes.discard(tls)
                self._crowd.leave(tls.remote[0])
            self._told(tls, failure)

        seconds = self._tls.settings.handshake_seconds
        tls = TlsStream(stream, context, server_side=True, handshake_seconds=seconds, opened=opened, failed=failed)
        self._handshakes.add(tls)
        return tls

    def _may_shake(self, host: str) -> bool:
        if self._intake.is_known(host) or self._pace.takes(host, asyncio.get_running_loop().time()):
            return True
        self._counters["refused"] += 1
        self._limiter.warn("pace", "connection from %s refused: more than %d TLS handshakes a second", host, HANDSHAKES_PER_S)
        return False

    def _let_in(self, stream: Stream) -> bool:
        full = "" if self._is_closed else self._crowd.enter(stream.remote[0], is_known=self._intake.is_known(stream.remote[0]))
        if not self._is_closed and not full:
            return True
        self._counters["refused"] += 1
        self._limiter.warn("refused", "connection from %s refused: %s", stream.remote[0], full or "we are closing")
        return False

    def _told(self, stream: TlsStream, failure: TlsFailure) -> None:
        if not self._is_closed:
            self._tell(stream, failure)

    def _tell(self, stream: Stream, failure: TlsFailure) -> None:
        self._counters["handshakes_failed"] += 1
        if self._tls is not None:
            self._tls.failures[failure.reason] += 1
        self._limiter.warn(f"tls {failure.reason}", "TLS with %s failed (%s): %s", stream.remote[0], failure.reason, failure.text)

    # All

    def _adopt(self, stream: Stream, *, outbound: bool, name: str = "") -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(stream, self._owner, outbound=outbound, limits=self._limits, rng=self._rng, loop=loop, name=name)
        self._all[connection] = set()
        self._outbound += outbound
        self._remember(connection.remote, connection)
        return connection

    def _remember(self, endpoint: Endpoint, connection: Connection) -> None:
        if connection in self._all:
            self._by_remote[endpoint] = connection
            self._all[connection].add(endpoint)

    def note_alias(self, request: Request, connection: Connection) -> None:
        """Let *connection*, by which *request* came, serve requests to where its Via says that the peer is reached (RFC 5923 §8.2)."""
        if connection.outbound or not connection.identity or len(self._all.get(connection, ())) > 1:
            return  # ours, not authenticated, or known by its aliases already
        for endpoint in alias_endpoints(request, connection):
            known = self._by_remote.get(endpoint)
            if known is None or not known.is_open:
                self._remember(endpoint, connection)

    def forget(self, connection: Connection) -> None:
        """Take a closed connection out."""
        if connection not in self._all:
            return
        for endpoint in self._all.pop(connection):
            if self._by_remote.get(endpoint) is connection:
                del self._by_remote[endpoint]
        if connection.outbound:
            self._outbound -= 1
        else:
            self._crowd.leave(connection.remote.host)

    async def aclose(self) -> None:
        """Close all connections; what is queued gets ``CLOSE_SECONDS`` to leave."""
        self._is_closed = True
        await self._tasks.aclose()
        for handshake in list(self._handshakes):
            handshake.abort()
        for connection in list(self._all):
            connection.close()
        if not await self._all_closed():
            for connection in list(self._all):
                connection.abort()
            await self._all_closed()

    async def _all_closed(self) -> bool:
        if not self._all:
            return True
        done = asyncio.Event()
        for connection in self._all:
            connection.on_close(lambda: None if self._all else done.set())
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await done.wait()
        except TimeoutError:
            return False
        return True
