"""Lets a transport of httpx carry the requests: ``httpx.MockTransport``, or whatever else somebody wants in the place of the pool."""

import asyncio

import httpx

from cxml.services.body import read_body
from cxml.services.fault import FaultError, fault_of
from cxml.services.http import HttpRequest, HttpResponse


class HttpxTransport:
    """Carries each request by *inner*, whose exceptions become faults. The request has httpx's ``timeout`` extension."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send *request* once. Raises :class:`FaultError`, and TimeoutError at ``request.times.ends_at``."""
        times = request.times
        timeout = {"connect": times.connect_s, "pool": times.connect_s, "read": times.read_s, "write": times.read_s}
        sent = httpx.Request(
            request.method,
            request.target.parsed,
            headers=request.headers,
            content=request.body or None,
            extensions={"timeout": timeout},
        )
        try:
            async with asyncio.timeout_at(request.times.ends_at):
                response = await self._inner.handle_async_request(sent)
                try:
                    return await _read(response, request.max_body_bytes)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
            raise fault_of(exc) from exc

    async def aclose(self) -> None:
        """Close *inner*."""
        await self._inner.aclose()


async def _read(response: httpx.Response, limit: int) -> HttpResponse:
    headers = {name.lower(): value for name, value in response.headers.items()}
    read = HttpResponse(response.status_code, headers, response.headers.get_list("set-cookie"))
    if response.is_success:
        try:
            read.body = await read_body(response, limit)
        except FaultError as fault:
            read.trouble = fault
        except (httpx.HTTPError, httpx.StreamError) as exc:
            read.trouble = fault_of(exc)
    return read
