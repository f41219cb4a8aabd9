"""The connection pool for webhooks: httpx's transport interface over an aiohttp session (ADR 0005).

Only the transport is aiohttp's. Redirects, cookies, retries and limits are the client's, so a test puts
``httpx.MockTransport`` in this place.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import aiohttp
import httpx
from yarl import URL

CHUNK_BYTES = 16384  # one read; the body limit is counted after each
KEEPALIVE_S = 4.0  # below the 5 s after which Node's and uvicorn's servers close an idle connection
MAX_CONNECTIONS = 1000  # descriptors are shared with SIP over TCP
MAX_STALE = 2  # idle connections that may turn out to be closed before one request fails
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
        """Send *request* once; only an idle connection that the server had closed meanwhile is replaced and the request sent again."""
        session = self._session
        if session is None:
            session = self._session = self._open_session()
        body = await request.aread()
        with _as_httpx_error():
            for _ in range(MAX_STALE):
                trace = SimpleNamespace(fresh=False)
                try:
                    return await self._send(session, request, body, trace)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as exc:
                    # RFC 9112 §9.3.1: an idle connection may be closed at any time. The idempotency key marks the repetition.
                    if trace.fresh or session.closed or isinstance(exc, aiohttp.ClientConnectorError):
                        raise
            return await self._send(session, request, body, SimpleNamespace(fresh=True))

    async def aclose(self) -> None:
        """Close every connection and wait until the sockets are released."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0)

    async def _send(self, session: aiohttp.ClientSession, request: httpx.Request, body: bytes, trace: SimpleNamespace) -> httpx.Response:
        response = await session.request(
            request.method,
            URL(str(request.url), encoded=True),
            headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
            data=body or None,
            allow_redirects=False,
            timeout=self._timeout(request.extensions.get("timeout", {})),
            trace_request_ctx=trace,
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
        connector = aiohttp.TCPConnector(
            limit=self._max_connections,
            keepalive_timeout=KEEPALIVE_S,
            ttl_dns_cache=DNS_CACHE_S,
            ssl=self._ssl_context if self._ssl_context is not None else True,
        )
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_start.append(_mark_fresh)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),  # cookies belong to a call, the pool to all of them
            auto_decompress=False,
            skip_auto_headers=_SKIPPED,
            trace_configs=[tracing],
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


async def _mark_fresh(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: aiohttp.TraceConnectionCreateStartParams) -> None:
    context.trace_request_ctx.fresh = True


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
        raise httpx.RemoteProtocolError("the response is not valid HTTP") from exc
    except aiohttp.InvalidURL as exc:
        raise httpx.UnsupportedProtocol("not a usable URL") from exc
    except aiohttp.ClientError as exc:
        raise httpx.RemoteProtocolError(type(exc).__name__) from exc
    except ValueError as exc:
        raise httpx.LocalProtocolError("the request can't be sent as HTTP") from exc
    except OSError as exc:
        raise httpx.ReadError(exc.strerror or "connection error") from exc
