"""One HTTP request and its answer, within a call: signed, with the call's cookies and credentials, read within the limits."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx

from cxml.services.fault import CONTENT_TYPE, INVALID_URL, PROTOCOL, STATUS, FaultError
from cxml.services.http import HttpRequest, HttpResponse, Times
from cxml.services.parameters import with_query
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


@dataclass(slots=True)
class Outgoing:
    """A request to send.

    *page_url* is the URL without the parameters that a GET carries; documents are relative to it. *form* is the body that a POST makes of
    *params*.
    """

    method: str
    target: Target
    page_url: str
    params: Mapping[str, str]
    form: bytes
    idempotency_key: str
    times: Times


@dataclass(slots=True)
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
    credentials: dict[tuple[str, str, int], str] | None = field(default=None, repr=False)  # most URLs have none

    @property
    def is_empty(self) -> bool:
        """True if it knows nothing that another would not."""
        return self.cookies is None and self.credentials is None

    def keep_cookies(self, target: Target, lines: list[str]) -> None:
        """Take the cookies that *target* set by the Set-Cookie values *lines*, unless the call has enough of them."""
        jar = self.cookies = httpx.Cookies() if self.cookies is None else self.cookies
        if len(jar.jar) < MAX_COOKIES:
            headers = [(b"Set-Cookie", line.encode()) for line in lines]
            jar.extract_cookies(httpx.Response(200, headers=headers, request=httpx.Request("GET", target.parsed)))

    def cookie(self, target: Target) -> str:
        """Return the Cookie value with the cookies that belong to *target*; empty if there are none."""
        if self.cookies is None:
            return ""
        request = httpx.Request("GET", target.parsed)
        try:
            self.cookies.set_cookie_header(request)
        except UnicodeEncodeError:  # an application's cookie that no header can carry
            return ""
        return str(request.headers.get("Cookie", ""))

    def authorization(self, target: Target) -> str:
        """Return the Authorization value for *target*: of its own userinfo or of an earlier URL of the same origin; else empty."""
        known = self.credentials
        if target.authorization:
            known = self.credentials = {} if known is None else known
            if target.origin in known or len(known) < MAX_CREDENTIALS:
                known[target.origin] = target.authorization
            return target.authorization
        return "" if known is None else known.get(target.origin, "")


def outgoing(method: str, target: Target, params: Mapping[str, str], form: bytes, idempotency_key: str, times: Times) -> Outgoing:
    """Return the request for *target*: a POST carries *params* as *form*, a GET after its query. Raises :class:`FaultError`."""
    sent = target
    if method == "GET" and params:
        try:
            sent = parse_target(with_query(target.url, params))
        except TargetError as exc:
            raise FaultError(INVALID_URL, "the URL is too long with the parameters of the call") from exc
    return Outgoing(method, sent, target.url, params, form, idempotency_key, times)


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
    keeps_form = kept and previous.method == "POST"
    return Outgoing(
        method=previous.method if kept else "GET",
        target=target,
        page_url=target.url,
        params=previous.params if keeps_form else {},
        form=previous.form if keeps_form else b"",
        idempotency_key=previous.idempotency_key,
        times=previous.times,
    )


def answer_of(session: Session, out: Outgoing, response: HttpResponse) -> Answer:
    """Return what *response* to *out* comes to; the call keeps its cookies.

    Raises :class:`FaultError`; one of code 11217 has the status in ``status``. Raises TimeoutError where the body was not there in time.
    """
    if response.cookies:
        session.keep_cookies(out.target, response.cookies)
    if response.trouble is not None:
        raise response.trouble
    return _document(response) if 200 <= response.status < 300 else _moved(response)


def request_of(settings: WebhookSettings, session: Session, out: Outgoing) -> HttpRequest:
    """Return *out* as it is sent: signed, with the call's cookies and credentials."""
    is_post = out.method == "POST"
    headers = [
        ("User-Agent", settings.user_agent),
        ("Accept", _ACCEPT),
        ("Accept-Encoding", "identity"),
        (IDEMPOTENCY_HEADER, out.idempotency_key),
        *signature_headers(settings.auth_token, settings.signing_key, out.target.url, out.params if is_post else {}),
    ]
    authorization = session.authorization(out.target)
    if authorization:
        headers.append(("Authorization", authorization))
    cookie = session.cookie(out.target)
    if cookie:
        headers.append(("Cookie", cookie))
    if is_post:
        headers.append(("Content-Type", _FORM))
    return HttpRequest(out.method, out.target, headers, out.form, out.times, settings.max_body_bytes)


def _document(response: HttpResponse) -> Answer:
    content_type = response.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip()
    if response.body and not _XML_TYPE.fullmatch(media_type):
        raise FaultError(CONTENT_TYPE, f"Content-Type {media_type[:80]!a} is not XML; send text/xml")
    return Answer(response.body, content_type)


def _moved(response: HttpResponse) -> Answer:
    status = response.status
    if status in _TO_GET or status in _AS_IT_WAS:
        location = response.headers.get("location", "")
        if not location:
            raise FaultError(PROTOCOL, f"status {status} without a Location")
        return Answer(location=location, keep_method=status in _AS_IT_WAS)
    cause = RetryOn.STATUS_4XX if 400 <= status < 500 else RetryOn.STATUS_5XX if status >= 500 else None
    raise FaultError(STATUS, f"status {status}", cause, status=status)
