"""TCP connections: one for each peer, opened once however many wait for it, counted and closed (RFC 3261 §18, RFC 5923)."""

import asyncio
import random
from collections import Counter

from sipua.driver import TaskSet
from sipua.errors import TransportError
from sipua.transport.base import Endpoint
from sipua.transport.network import Network, Stream
from sipua.transport.tcp import Connection, ConnectionOwner, StreamLimits
from sipua.transport.trace import LogLimiter

CLOSE_SECONDS = 1.0  # for what is queued to leave at shutdown


class ConnectionPool:
    """The open connections by remote endpoint, those that peers opened included.

    A peer's connection serves a request only when that is addressed to the connection's very remote endpoint: its Contact names the port
    that it connected from, so that it means this connection. *max_connections* holds for each direction: a flood of callers must not keep
    us from calling.
    """

    def __init__(
        self,
        network: Network,
        owner: ConnectionOwner,
        *,
        limits: StreamLimits,
        max_connections: int,
        connect_seconds: float,
        rng: random.Random,
        counters: Counter[str],
        limiter: LogLimiter,
    ) -> None:
        self._network = network
        self._owner = owner
        self._limits = limits
        self._max_connections = max_connections
        self._connect_seconds = connect_seconds
        self._rng = rng
        self._counters = counters
        self._limiter = limiter
        self._tasks = TaskSet()
        self._all: set[Connection] = set()
        self._by_remote: dict[Endpoint, Connection] = {}
        self._connecting: dict[Endpoint, asyncio.Task[Connection | TransportError]] = {}
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._all)

    async def get(self, target: Endpoint) -> Connection:
        """Return an open connection to *target*. Raises :class:`TransportError`."""
        pooled = self._by_remote.get(target)
        if pooled is not None and pooled.is_open:
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

    async def _connect(self, target: Endpoint) -> Connection | TransportError:
        """Return the failure instead of raising it: each of those who wait raises its own."""
        made: list[Connection] = []

        def opened(stream: Stream) -> Connection:
            made.append(self._adopt(stream, outbound=True))
            return made[0]

        try:
            if self._count(outbound=True) + len(self._connecting) > self._max_connections:
                return TransportError("too many connections")
            async with asyncio.timeout(self._connect_seconds):
                await self._network.connect_tcp(target.host, target.port, opened)
        except TimeoutError:
            return TransportError(f"connecting to {target} timed out")
        except (OSError, OverflowError, UnicodeError) as error:
            return TransportError(f"connecting to {target} failed: {getattr(error, 'strerror', None) or error}")
        finally:
            self._connecting.pop(target, None)
        if not made or not made[0].is_open:
            return TransportError(f"{target} closed the connection at once")
        self._by_remote[target] = made[0]
        self._counters["opened"] += 1
        return made[0]

    def accept(self, stream: Stream) -> Connection | None:
        """Take a connection that a peer opened, or refuse it."""
        if self._is_closed or self._count(outbound=False) >= self._max_connections:
            self._counters["refused"] += 1
            self._limiter.warn("refused", "connection from %s refused: %d are open", stream.remote[0], len(self._all))
            return None
        self._counters["accepted"] += 1
        return self._adopt(stream, outbound=False)

    def _count(self, *, outbound: bool) -> int:
        return sum(connection.outbound == outbound for connection in self._all)

    def _adopt(self, stream: Stream, *, outbound: bool) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(stream, self._owner, outbound=outbound, limits=self._limits, rng=self._rng, loop=loop)
        self._all.add(connection)
        self._by_remote[connection.remote] = connection
        return connection

    def forget(self, connection: Connection) -> None:
        """Take a closed connection out."""
        self._all.discard(connection)
        for key in [key for key, pooled in self._by_remote.items() if pooled is connection]:
            del self._by_remote[key]

    async def aclose(self) -> None:
        """Close all connections; what is queued gets ``CLOSE_SECONDS`` to leave."""
        self._is_closed = True
        await self._tasks.aclose()
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
