"""One HTTP request and its answer as values, and who carries them (ADR 20)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cxml.services.fault import FaultError
from cxml.services.target import Target


@dataclass(slots=True)
class Times:
    """The limits of one request, in seconds: ``connect_s`` covers the wait for a free connection, name, TCP and TLS together, ``read_s``
    is the longest silence of the server, ``ends_at`` the loop's time at which everything ends, redirects and retries included.
    """

    connect_s: float
    read_s: float
    ends_at: float


@dataclass(slots=True)
class HttpRequest:
    """A request to send once.

    *headers* are sent as they are, besides Host and Content-Length; *body* is empty for a GET. An answer's body may have *max_body_bytes*
    bytes, counted before and after decompression.
    """

    method: str
    target: Target
    headers: list[tuple[str, str]]
    body: bytes
    times: Times
    max_body_bytes: int


@dataclass(slots=True)
class HttpResponse:
    """The head of an answer, and its decoded body where the status is a success.

    *headers* has the names in lower case; lines of one name are joined by a comma, except those of Set-Cookie, which are *cookies*.
    *trouble* is what kept the body of a success from being read: it is raised once the head has been looked at.
    """

    status: int
    headers: Mapping[str, str]
    cookies: list[str] = field(default_factory=list)
    body: bytes = b""
    trouble: FaultError | TimeoutError | None = None


class Transport(Protocol):
    """Who carries requests."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send *request* once and return the answer; the body of an answer other than 2xx is not waited for.

        Raises :class:`FaultError`, and TimeoutError at ``times.ends_at``; nothing else.
        """

    async def aclose(self) -> None:
        """Close every connection. Requests under way fail with 11200."""
