"""The connection pool for webhooks: httpx's transport interface over an aiohttp session (ADR 0005).

Only the transport is aiohttp's. Redirects, cookies, retries and limits are the client's, so a test puts
``httpx.MockTransport`` in this place.
"""

import asyncio
import os
import select
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

CHUNK_BYTES = 16384  # one read; the body limit is counted after each
KEEPALIVE_S = 4.0  # below the 5 s after which Node's and uvicorn's servers close an idle connection
MAX_CONNECTIONS = 1000  # descriptors are shared with SIP over TCP
DNS_CACHE_S = 10  # a changed address is seen soon, a burst of calls asks once

_SKIPPED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends an :class:`httpx.Request` on a pooled connection and streams the response.

    Reads the request's ``timeout`` extension: ``connect`` (seconds for name, TCP, TLS and the wait for a free connection together)
    and ``read`` (seconds of silence). Raises :class:`httpx.TransportError` and its subclasses only; the cause chain keeps the
    original error. The URL goes on the wire byte for byte, because its signature covers it.
    """

    def __init__(self, *, max_connections: int = MAX_CONNECTIONS, ssl_context: ssl.SSLContext | None = None) -> None:
        """Keep the settings; the session is made by the first request, inside the running loop."""
        self._max_connections = max_connections
        self._ssl_context = ssl_context
        self._session: aiohttp.ClientSession | None = None
        self._timeouts: dict[tuple[float | None, float | None], aiohttp.ClientTimeout] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* once: a connection lost after the first byte is an error, for the server may have acted on what it read."""
        session = self._session
        if session is None:
            session = self._session = self._open_session()
        body = await request.aread()
        with _as_httpx_error():
            return await self._send(session, request, body)

    async def aclose(self) -> None:
        """Close every connection and wait until the sockets are released."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0)

    async def _send(self, session: aiohttp.ClientSession, request: httpx.Request, body: bytes) -> httpx.Response:
        response = await session.request(
            request.method,
            URL(str(request.url), encoded=True),
            headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
            data=body or None,
            allow_redirects=False,
            timeout=self._timeout(request.extensions.get("timeout", {})),
        )
        return httpx.Response(
            response.status, headers=response.raw_headers, stream=_Body(response), extensions={"http_version": b"HTTP/1.1"}
        )

    def _timeout(self, wanted: dict[str, float | None]) -> aiohttp.ClientTimeout:
        key = (wanted.get("connect"), wanted.get("read"))
        found = self._timeouts.get(key)
        if found is None:
            found = aiohttp.ClientTimeout(total=None, connect=key[0], sock_read=key[1])
            if len(self._timeouts) < 64:
                self._timeouts[key] = found
        return found

    def _open_session(self) -> aiohttp.ClientSession:
        connector = _Connector(
            limit=self._max_connections,
            keepalive_timeout=KEEPALIVE_S,
            ttl_dns_cache=DNS_CACHE_S,
            ssl=self._ssl_context if self._ssl_context is not None else True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),  # cookies belong to a call, the pool to all of them
            auto_decompress=False,
            skip_auto_headers=_SKIPPED,
            middlewares=[_send_once],
        )


class _Body(httpx.AsyncByteStream):
    """The raw body of a response; closing it before its end closes the connection."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx_error():
            async for chunk in self._response.content.iter_chunked(CHUNK_BYTES):
                yield chunk

    async def aclose(self) -> None:
        self._response.close()


class _Connector(aiohttp.TCPConnector):
    """A pool that gives out no idle connection that the server has closed, even if the loop has not noticed yet.

    A server may close an idle connection at any time (RFC 9112 §9.3.1). Before the first byte of a request is written another one
    takes its place at no risk; afterwards nobody knows what the server has read.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._used: weakref.WeakSet[Any] = weakref.WeakSet()  # a new TLS connection is readable too: session tickets

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  the signature is aiohttp's
    ) -> Connection:
        """Return a new connection, or an idle one on which nothing has come in: no end, and no answer to nothing."""
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol not in self._used:
                self._used.add(connection.protocol)
                return connection
            if not _is_readable(connection.transport):
                return connection
            connection.close()


def _is_readable(transport: asyncio.Transport | None) -> bool:
    """Tell whether there is something to read: the end of the stream, too."""
    found = None if transport is None else transport.get_extra_info("socket")
    if found is None or found.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(found.fileno(), select.POLLIN)
    return bool(poll.poll(0))


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a GET again: it does so for the two errors below, and an action may be a GET."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise aiohttp.ClientConnectionError("the connection was lost") from exc


def _payload_error(error: aiohttp.ClientError) -> httpx.TransportError:
    """Tell an answer that ended early, by its Content-Length or in the middle of a chunk, from one that is no HTTP."""
    if "Not enough data" in str(error.__cause__ or error):
        return httpx.ReadError("the connection was lost before the answer was complete")
    return httpx.RemoteProtocolError("the response is not valid HTTP")


@contextmanager
def _as_httpx_error() -> Iterator[None]:
    """Translate what aiohttp raises; nothing else leaves the transport."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as exc:
        raise httpx.ConnectTimeout("no connection in time") from exc
    except aiohttp.ServerTimeoutError as exc:
        raise httpx.ReadTimeout("no answer in time") from exc
    except aiohttp.ClientConnectorDNSError as exc:
        raise httpx.ConnectError("the name has no address") from (
            exc.os_error if isinstance(exc.os_error, socket.gaierror) else socket.gaierror(str(exc))
        )
    except aiohttp.ClientConnectorCertificateError as exc:
        raise httpx.ConnectError("the certificate is not valid") from exc.certificate_error
    except aiohttp.ClientConnectorError as exc:
        number = exc.os_error.errno
        raise httpx.ConnectError(os.strerror(number) if number else "no connection") from exc.os_error
    except aiohttp.ClientConnectionError as exc:
        raise httpx.ReadError("the server closed the connection") from exc
    except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as exc:
        raise _payload_error(exc) from exc
    except aiohttp.InvalidURL as exc:
        raise httpx.UnsupportedProtocol("not a usable URL") from exc
    except aiohttp.ClientError as exc:
        raise httpx.RemoteProtocolError(type(exc).__name__) from exc
    except ValueError as exc:
        raise httpx.LocalProtocolError("the request can't be sent as HTTP") from exc
    except OSError as exc:
        raise httpx.ReadError(exc.strerror or "connection error") from exc
