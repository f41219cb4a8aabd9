"""Pure. The parameters that every webhook request of a call carries, and their encoding."""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode

API_VERSION = "2010-04-01"

MAX_SIP_HEADERS = 32  # header fields of the INVITE that are passed on
MAX_SIP_HEADER_CHARS = 1024  # one value; a longer one is left out, since a cut one would be wrong
MAX_SIP_HEADERS_CHARS = 8192  # names and values together: servers refuse larger query strings

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")  # what forges lines and steers terminals where an application logs it
_PLAIN = (string.ascii_letters + string.digits + "_.~-" + "+:@;=" + "\0\1").encode()  # what a form keeps, what it escapes, two marks
_PASSED_ON = re.compile(r"[Xx]-[A-Za-z0-9.!%*_+`'~-]+")  # RFC 3261 §25.1 token


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What doesn't change during a call. An empty text means unknown; its parameter is then not sent (From and To always are).

    ``from_`` and ``to`` are SIP URIs or numbers, ``direction`` is ``inbound``, ``outbound-api`` or ``outbound-dial``, ``sip_headers``
    maps names of header fields of the INVITE to values; only those that begin with ``X-`` are passed on.
    """

    call_sid: str
    account_sid: str = ""
    from_: str = ""
    to: str = ""
    direction: str = "inbound"
    api_version: str = API_VERSION
    caller_name: str = ""
    forwarded_from: str = ""
    parent_call_sid: str = ""
    sip_call_id: str = ""
    sip_source_ip: str = ""
    sip_user: str = ""
    sip_domain: str = ""
    sip_headers: Mapping[str, str] = field(default_factory=dict)


def fact_parameters(facts: CallFacts) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the parameters made of *facts*, in the order of the documentation, and the names of header fields left out by the limits."""
    required = {
        "CallSid": facts.call_sid,
        "AccountSid": facts.account_sid,
        "ApiVersion": facts.api_version,
        "Direction": facts.direction,
        "From": facts.from_,
        "To": facts.to,
    }
    optional = {
        "CallerName": facts.caller_name,
        "ForwardedFrom": facts.forwarded_from,
        "ParentCallSid": facts.parent_call_sid,
        "SipCallId": facts.sip_call_id,
        "SipSourceIp": facts.sip_source_ip,
        "SipUser": facts.sip_user,
        "SipDomain": facts.sip_domain,
    }
    headers, left_out = _sip_headers(facts.sip_headers)
    known = {name: value for name, value in optional.items() if value}
    return clean({**required, **known, **headers}), left_out


def clean(params: Mapping[str, str]) -> dict[str, str]:
    """Return *params* fit to be sent: what UTF-8 can't encode (lone surrogates from undecodable SIP bytes) is replaced by ``?``.

    So are control characters and line separators, except the tab: it is white space in SIP.
    """
    parts: list[str] = []
    for name, value in params.items():
        parts.append(name)
        parts.append(value)
    if _is_safe("".join(parts)):  # of nearly all calls: one look at everything
        return dict(params)
    return {_safe(name): _safe(value) for name, value in params.items()}


def form_body(params: Mapping[str, str]) -> bytes:
    """Return *params* as ``application/x-www-form-urlencoded``; two of these joined by ``&`` are one of both."""
    plain = _plain_form(params)
    return urlencode(params).encode("ascii") if plain is None else plain


def _plain_form(params: Mapping[str, str]) -> bytes | None:
    """Return the form if there is nothing in *params* but letters, digits and what else stands in SIP URIs; None: ask ``urlencode``.

    Two marks stand for ``=`` and ``&`` until those of the text are escaped: what is asked of all is asked once. A text that has the marks
    itself goes the long way.
    """
    parts: list[str] = []
    for name, value in params.items():
        parts.append(name)
        parts.append("\0")
        parts.append(value)
        parts.append("\1")
    text = "".join(parts)
    if not text.isascii() or text.count("\0") + text.count("\1") != 2 * len(params):
        return None
    form = text[:-1].encode("ascii")
    if form.translate(None, _PLAIN):
        return None
    form = form.replace(b"+", b"%2B").replace(b":", b"%3A").replace(b"@", b"%40").replace(b";", b"%3B").replace(b"=", b"%3D")
    return form.replace(b"\0", b"=").replace(b"\1", b"&")


_MAX_REMEMBERED = 512
_MAX_REMEMBERED_BYTES = 2048  # a form of an ordinary call has some 300
_remembered: dict[bytes, dict[str, str]] = {}
"""Forms of the calls that began last, and what they say: most calls are over soon, thousands may wait, and a form is less than a dict."""


def remembered(params: dict[str, str]) -> bytes:
    """Return *params* as a form that :func:`parameters_in` reads, at once for the calls that began last."""
    form = form_body(params)
    if len(form) > _MAX_REMEMBERED_BYTES:
        return form
    while len(_remembered) >= _MAX_REMEMBERED:
        del _remembered[next(iter(_remembered))]
    _remembered[form] = params
    return form


def parameters_in(form: bytes) -> Mapping[str, str]:
    """Return the parameters that :func:`form_body` made *form* of."""
    known = _remembered.get(form)
    return dict(parse_qsl(form.decode("ascii"), keep_blank_values=True)) if known is None else known


def with_query(url: str, params: Mapping[str, str]) -> str:
    """Return *url*, which has no fragment, with *params* after the query it already has."""
    if not params:
        return url
    separator = "&" if "?" in url else "?"
    return url + separator + urlencode(params, quote_via=quote, safe="")


def _is_safe(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _safe(text: str) -> str:
    if _is_safe(text):
        return text
    return _CONTROL.sub("?", text).encode("utf-8", "replace").decode("utf-8")


def _sip_headers(headers: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    kept: dict[str, str] = {}
    left_out: list[str] = []
    room = MAX_SIP_HEADERS_CHARS
    for name, value in headers.items():
        if not _PASSED_ON.fullmatch(name):
            continue
        size = len(name) + len(value)
        if len(kept) >= MAX_SIP_HEADERS or len(value) > MAX_SIP_HEADER_CHARS or size > room:
            left_out.append(name)
            continue
        kept[f"SipHeader_{name}"] = value
        room -= size
    return kept, tuple(left_out)
