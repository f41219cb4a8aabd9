"""One HTTP request and its answer, within a call: signed, with the call's cookies and credentials, read within the limits."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from cxml.services.body import read_body
from cxml.services.fault import CONTENT_TYPE, INVALID_URL, PROTOCOL, STATUS, FaultError
from cxml.services.parameters import form_body, with_query
from cxml.services.retry import RetryOn
from cxml.services.settings import WebhookSettings
from cxml.services.signing import signature_headers
from cxml.services.target import Target, TargetError, parse_target

IDEMPOTENCY_HEADER = "X-Cxmld-Idempotency-Key"
MAX_COOKIES = 50  # for one call; RFC 6265 §6.1 asks for as many per domain
MAX_CREDENTIALS = 16  # origins for which a call remembers a password

OnExchange = Callable[[str, str, int, float, Mapping[str, str]], None]
"""Called after each HTTP exchange with its method, the URL without credentials, the HTTP status or, where there was no usable answer,
the error code, the seconds it took, and the parameters that were sent."""

_ACCEPT = "text/xml, application/xml;q=0.9, */*;q=0.1"
_FORM = "application/x-www-form-urlencoded"
_XML_TYPE = re.compile(r"(?:text/(?:xml|html)|application/xml|[a-z0-9.!#$&^_-]+/[a-z0-9.!#$&^_+-]+\+xml)", re.IGNORECASE)
_TO_GET = frozenset({301, 302, 303})
_AS_IT_WAS = frozenset({307, 308})


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request to send. *page_url* is the URL without the parameters that a GET carries; documents are relative to it."""

    method: str
    target: Target
    page_url: str
    params: Mapping[str, str]
    idempotency_key: str
    timeout: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """A usable answer: a document, or where it moved (*location*, and whether the method is kept)."""

    body: bytes = b""
    content_type: str = ""
    location: str = ""
    keep_method: bool = False


@dataclass(slots=True)
class Session:
    """What one call's requests share: cookies, and passwords by origin, as a browser keeps them."""

    cookies: httpx.Cookies | None = None  # most applications set none, and a jar takes some kB
    credentials: dict[tuple[str, str, int], str] = field(default_factory=dict, repr=False)

    def keep_cookies(self, request: httpx.Request, response: httpx.Response) -> None:
        """Take the cookies of *response*, unless the call has enough of them."""
        if "set-cookie" not in response.headers:
            return
        jar = self.cookies = httpx.Cookies() if self.cookies is None else self.cookies
        if len(jar.jar) < MAX_COOKIES:
            response.request = request
            jar.extract_cookies(response)

    def send_cookies(self, request: httpx.Request) -> None:
        """Put the cookies that belong to the URL of *request* into it."""
        if self.cookies is not None:
            with suppress(UnicodeEncodeError):  # an application's cookie that no header can carry
                self.cookies.set_cookie_header(request)

    def authorization(self, target: Target) -> str:
        """Return the Authorization value for *target*: of its own userinfo or of an earlier URL of the same origin; else empty."""
        if target.authorization and (target.origin in self.credentials or len(self.credentials) < MAX_CREDENTIALS):
            self.credentials[target.origin] = target.authorization
        return target.authorization or self.credentials.get(target.origin, "")


def outgoing(method: str, target: Target, params: Mapping[str, str], idempotency_key: str, timeout: Mapping[str, float]) -> Outgoing:
    """Return the request for *target*: a POST carries *params* in its form body, a GET after its query. Raises :class:`FaultError`."""
    sent = target
    if method == "GET" and params:
        try:
            sent = parse_target(with_query(target.url, params))
        except TargetError as exc:
            raise FaultError(INVALID_URL, "the URL is too long with the parameters of the call") from exc
    return Outgoing(method, sent, target.url, params, idempotency_key, timeout)


def redirected(previous: Outgoing, answer: Answer) -> Outgoing:
    """Return the request that follows the redirect *answer*: a GET without parameters for 301, 302, 303; the same for 307, 308.

    Raises :class:`FaultError` if the new URL can't be requested.
    """
    try:
        target = parse_target(str(previous.target.parsed.join(answer.location)))
    except (TargetError, httpx.InvalidURL, ValueError) as exc:
        reason = str(exc) if isinstance(exc, TargetError) else "not a valid URL"
        raise FaultError(INVALID_URL, f"the redirect leads nowhere: {reason}") from exc
    kept = answer.keep_method
    return Outgoing(
        method=previous.method if kept else "GET",
        target=target,
        page_url=target.url,
        params=previous.params if kept and previous.method == "POST" else {},
        idempotency_key=previous.idempotency_key,
        timeout=previous.timeout,
    )


async def exchange(transport: httpx.AsyncBaseTransport, settings: WebhookSettings, session: Session, out: Outgoing) -> tuple[int, Answer]:
    """Send *out* and return the HTTP status and the answer.

    Raises :class:`FaultError`; one of code 11217 has the status in ``status``. Raises what the transport raises.
    """
    request = _request(settings, session, out)
    response = await transport.handle_async_request(request)
    try:
        session.keep_cookies(request, response)
        if response.is_success:
            return response.status_code, await _document(response, settings.max_body_bytes)
        return response.status_code, _moved(response)
    finally:
        await response.aclose()


def _request(settings: WebhookSettings, session: Session, out: Outgoing) -> httpx.Request:
    form = out.params if out.method == "POST" else {}
    headers = [
        ("User-Agent", settings.user_agent),
        ("Accept", _ACCEPT),
        ("Accept-Encoding", "identity"),
        (IDEMPOTENCY_HEADER, out.idempotency_key),
        *signature_headers(settings.auth_token, settings.signing_key, out.target.url, form),
    ]
    authorization = session.authorization(out.target)
    if authorization:
        headers.append(("Authorization", authorization))
    if out.method == "POST":
        headers.append(("Content-Type", _FORM))
    request = httpx.Request(
        out.method,
        out.target.parsed,
        headers=headers,
        content=form_body(form) if out.method == "POST" else None,
        extensions={"timeout": out.timeout},
    )
    session.send_cookies(request)
    return request


async def _document(response: httpx.Response, limit: int) -> Answer:
    body = await read_body(response, limit)
    content_type = response.headers.get("Content-Type", "")
    media_type = content_type.partition(";")[0].strip()
    if body and not _XML_TYPE.fullmatch(media_type):
        raise FaultError(CONTENT_TYPE, f"Content-Type {media_type[:80]!a} is not XML; send text/xml")
    return Answer(body, content_type)


def _moved(response: httpx.Response) -> Answer:
    status = response.status_code
    if status in _TO_GET or status in _AS_IT_WAS:
        location = response.headers.get("Location", "")
        if not location:
            raise FaultError(PROTOCOL, f"status {status} without a Location")
        return Answer(location=location, keep_method=status in _AS_IT_WAS)
    cause = RetryOn.STATUS_4XX if 400 <= status < 500 else RetryOn.STATUS_5XX if status >= 500 else None
    raise FaultError(STATUS, f"status {status}", cause, status=status)
