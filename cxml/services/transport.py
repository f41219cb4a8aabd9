"""The pool of connections to web applications (ADR 20)."""

import asyncio
import ssl
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from cxml.services.connection import HttpConnection
from cxml.services.deadlines import Deadlines
from cxml.services.dial import Dialler
from cxml.services.fault import PROTOCOL, RETRIEVAL, FaultError, lost, not_connected
from cxml.services.http import HttpRequest, HttpResponse
from cxml.services.retry import RetryOn

KEEPALIVE_S: Final = 4.0
"""An idle connection closes after this time, before the 5 s after which Node's and uvicorn's servers do."""

MAX_CONNECTIONS: Final = 1000
"""Descriptors are shared with SIP over TCP."""

INBOX_BYTES: Final = 65_536
"""What is received at once: the largest document there may be."""

CLOSING_S: Final = 1.0
"""The longest wait for the sockets at the end."""

SHUTDOWN_S: Final = 2.0
"""The longest wait for a server's goodbye over TLS, which many never say."""

Origin = tuple[str, str, int]


class PooledTransport:
    """Sends each request on an idle connection of its origin, or on a new one.

    At most *max_connections* are open; requests beyond that wait for their turn, as part of their connect time-out. *ssl_context*
    replaces the system's certificates. Without *allow_private* only public addresses are connected to. Used in one loop.
    """

    def __init__(
        self, *, max_connections: int = MAX_CONNECTIONS, ssl_context: ssl.SSLContext | None = None, allow_private: bool = True
    ) -> None:
        self._max_connections = max_connections
        self._ssl_context = ssl_context
        self._allow_private = allow_private
        self._loading: asyncio.Future[ssl.SSLContext] | None = None
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dialler: Dialler | None = None
        self._deadlines: Deadlines | None = None
        self._inbox = memoryview(bytearray(INBOX_BYTES))
        self._open: set[HttpConnection] = set()
        self._idle: dict[Origin, deque[HttpConnection]] = {}
        self._busy = 0
        self._turns: deque[asyncio.Future[None]] = deque()
        self._connecting: set[asyncio.Timeout] = set()
        self._reaper: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Future[None] | None = None

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send *request* once: a connection lost after the first byte is an error, for the server may have acted on what it read.

        Raises :class:`FaultError`, and TimeoutError at ``request.times.ends_at``.
        """
        head = _head(request)  # it may raise, so before there is a connection to give back
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        connect_by = 0.0
        if self._busy < self._max_connections:
            self._busy += 1
        else:
            connect_by = loop.time() + request.times.connect_s
            await self._turn(request, connect_by)
        try:
            connection = self._take(request.target.origin)
            if connection is None:
                connection = await self._connect(loop, request, connect_by or loop.time() + request.times.connect_s)
            try:
                response = await connection.ask(request, head)
            except asyncio.CancelledError:
                connection.abort()
                raise
            if connection.is_reusable:
                self._keep(loop, request.target.origin, connection)
            return response
        finally:
            self._next_turn()

    async def aclose(self) -> None:
        """Close every connection and wait until the sockets are released. Requests under way fail with 11200."""
        self._is_closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        if self._loop is None:
            return
        now = self._loop.time()
        for limit in self._connecting:
            _reschedule(limit, now)
        for turn in self._turns:
            if not turn.done():
                turn.set_exception(lost())
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()
        if self._dialler is not None and self._deadlines is not None:
            self._deadlines.close()
            await self._dialler.aclose()
        if self._open:
            self._all_closed = self._loop.create_future()
            await asyncio.wait({self._all_closed}, timeout=CLOSING_S)

    # -- idle connections ---------------------------------------------------------------------------------------------------------------

    def _take(self, origin: Origin) -> HttpConnection | None:
        """Return the connection of *origin* that was used last, if it is still good."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_quiet():
                return connection
            connection.close()
        return None

    def _keep(self, loop: asyncio.AbstractEventLoop, origin: Origin, connection: HttpConnection) -> None:
        if self._is_closed:
            connection.close()
            return
        connection.idle_since = loop.time()
        idle = self._idle.get(origin)
        if idle is None:
            idle = self._idle[origin] = deque()
        idle.append(connection)
        if self._reaper is None:
            self._reaper = loop.call_later(KEEPALIVE_S, self._reap, loop)

    def _reap(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what has been idle too long, and come again when the next one will have been."""
        now = loop.time()
        oldest = now
        for origin, idle in list(self._idle.items()):
            while idle and (idle[0].idle_since <= now - KEEPALIVE_S or not idle[0].is_open):
                idle.popleft().close()
            if idle:
                oldest = min(oldest, idle[0].idle_since)
            else:
                del self._idle[origin]
        self._reaper = loop.call_at(oldest + KEEPALIVE_S, self._reap, loop) if self._idle else None

    def _make_room(self) -> None:
        """Close the connection that has been idle longest, if there are as many as may be."""
        if len(self._open) + len(self._connecting) < self._max_connections:
            return
        oldest = min((idle for idle in self._idle.values() if idle), key=lambda idle: idle[0].idle_since, default=None)
        if oldest is not None:
            oldest.popleft().close()

    def _lost(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        if not self._open and self._all_closed is not None and not self._all_closed.done():
            self._all_closed.set_result(None)

    # -- turns --------------------------------------------------------------------------------------------------------------------------

    async def _turn(self, request: HttpRequest, connect_by: float) -> None:
        """Wait until a request that is under way ends. Its place is handed over, so that nobody gets in between."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._turns.append(turn)
        try:
            async with asyncio.timeout_at(min(connect_by, request.times.ends_at)):
                await turn
        except BaseException as exc:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._next_turn()  # it came too late
            elif turn in self._turns:
                self._turns.remove(turn)
            if isinstance(exc, TimeoutError) and connect_by < request.times.ends_at:
                raise _no_connection() from exc
            raise

    def _next_turn(self) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy -= 1

    # -- new connections ----------------------------------------------------------------------------------------------------------------

    async def _connect(self, loop: asyncio.AbstractEventLoop, request: HttpRequest, connect_by: float) -> HttpConnection:
        """Return a new connection. Raises :class:`FaultError`, or TimeoutError at ``request.times.ends_at``."""
        if self._is_closed:
            raise lost()
        self._make_room()
        ends_at = request.times.ends_at
        needs_context = request.target.origin[0] == "https" and self._ssl_context is None
        limit = asyncio.timeout_at(ends_at if needs_context else min(connect_by, ends_at))
        self._connecting.add(limit)
        try:
            async with limit:
                if needs_context:  # our own delay, once, is not the server's
                    await self._load_context(loop)
                    if self._is_closed:  # a later end would undo the one that closing has set
                        raise lost()
                    connect_by = loop.time() + request.times.connect_s
                    _reschedule(limit, min(connect_by, ends_at))
                return await self._open_connection(loop, request)
        except TimeoutError as exc:
            if self._is_closed:
                raise lost() from exc
            if not limit.expired():  # the system's own, of the connection
                raise not_connected(exc) from exc
            if request.times.ends_at <= connect_by:
                raise
            raise _no_connection() from exc
        except OSError as exc:
            raise not_connected(exc) from exc
        finally:
            self._connecting.discard(limit)

    async def _open_connection(self, loop: asyncio.AbstractEventLoop, request: HttpRequest) -> HttpConnection:
        if self._dialler is None or self._deadlines is None:
            self._dialler, self._deadlines = Dialler(loop, allow_private=self._allow_private), Deadlines(loop)
        deadlines = self._deadlines
        scheme, _, port = request.target.origin
        host = request.target.parsed.raw_host.decode("ascii")
        tls: dict[str, Any] = {}
        if scheme == "https":
            tls = {"ssl": self._ssl_context, "server_hostname": host.removesuffix("."), "ssl_shutdown_timeout": SHUTDOWN_S}
        sock = await self._dialler.connect(host, port)
        _, connection = await loop.create_connection(lambda: HttpConnection(loop, self._inbox, deadlines, self._lost), sock=sock, **tls)
        if connection.is_open:
            self._open.add(connection)
        return connection

    async def _load_context(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read the system's certificates, which takes tens of milliseconds, in a thread of its own: the loop's may all wait for names."""
        if self._loading is None:
            thread = ThreadPoolExecutor(1)
            self._loading = loop.run_in_executor(thread, _context)
            self._loading.add_done_callback(lambda _: thread.shutdown(wait=False))
        loading = self._loading
        try:
            self._ssl_context = await asyncio.shield(loading)
        finally:
            if loading.done():  # the next one may do better
                self._loading = None


def _reschedule(limit: asyncio.Timeout, when: float) -> None:
    if not limit.expired():  # one that is just ending refuses a change
        limit.reschedule(when)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_connection() -> FaultError:
    return FaultError(RETRIEVAL, "no connection within the connect time-out", RetryOn.CONNECT)


def _head(request: HttpRequest) -> bytes:
    """Return the request line and the header fields. The URL goes on the wire byte for byte, because its signature covers it."""
    target = request.target
    parts = [request.method, " ", target.path, " HTTP/1.1\r\nHost: ", target.host, "\r\n"]
    for name, value in request.headers:  # pieces, joined once, as in sipua.message.model
        parts.append(name)
        parts.append(": ")
        parts.append(value)
        parts.append("\r\n")
    if request.body:
        parts.append("Content-Length: ")
        parts.append(str(len(request.body)))
        parts.append("\r\n")
    parts.append("\r\n")
    try:
        return "".join(parts).encode("latin-1")
    except UnicodeEncodeError as exc:
        raise FaultError(PROTOCOL, "a header can't be sent as HTTP") from exc
