"""Pure. Bytes to messages (RFC 3261 §7, §18.3): head and body, unfolding, limits, and the rules that every message keeps.

Values stay text here; :mod:`sipua.message.fields` parses them when asked.
"""

import re

from sipua.errors import ParseError
from sipua.message.fields import read_mandatory
from sipua.message.grammar import COMMON_METHODS, METHOD_PATTERN
from sipua.message.headers import KNOWN_NAMES, Headers, canonical
from sipua.message.model import Message, MessageError, Request, Response

MAX_MESSAGE_BYTES = 65535  # the largest datagram there is (RFC 3261 §18.1.1); streams keep to it, too
MAX_HEADER_LINES = 256  # real messages stay below 60, long proxy chains included
MAX_LINE_BYTES = 8192  # room for a Refer-To with Replaces or a signed identity
MAX_BODY_BYTES = 65535  # SDP and sipfrag are far below

SINGLE = (
    "Call-ID",
    "To",
    "From",
    "CSeq",
    "Max-Forwards",
    "Content-Type",
    "Refer-To",
    "Event",
    "Subscription-State",
    "Expires",
)
"""Headers that may stand only once (RFC 3261 §7.3.1, RFC 3515 §2.4.2)."""

_OUR_VERSION = " SIP/2.0"
_STATUSES = {str(status): status for status in range(100, 700)}
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: ([^\r\n]*))?", re.IGNORECASE)
_REQUEST_LINE = re.compile(r"(\S+) (.+) (SIP/[0-9]+\.[0-9]+)[ \t]*", re.IGNORECASE)  # trailing white space: RFC 4475 §3.1.2.10
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(r"[ \t]*\r?\n[ \t]+")
_FOLDED_START = re.compile(r"[^\n]*\n[ \t]")
_SURELY_SHORT = 4  # digits of a Content-Length that is not above MAX_BODY_BYTES
_PADDED_LENGTH = "\r\nContent-Length:  "  # SIPp and PJSIP leave room for the number and write it last
_LINE_END = re.compile(r"\r?\n")


def parse_message(data: bytes) -> Request | Response:
    """Parse one datagram.

    The body is as long as ``Content-Length`` says; what follows is dropped; without the header it is the rest (RFC 3261 §18.3).
    Raises :class:`MessageError` whose ``status`` and ``message`` serve for an answer.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError("message too large", 513)
    data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    found = _plain_head(data[:end].decode("utf-8", "surrogateescape")) if 0 <= end <= MAX_LINE_BYTES else None
    if found is not None:  # no line end in it but CRLF: no other empty line is the first
        message, length = found
        rest = data[end + 4 :]
    else:
        match = _HEADER_END.search(data)
        head, rest = (data, b"") if match is None else (data[: match.start()], data[match.end() :])
        message, length = parse_head(head)
    if length is None:
        message.body = rest
    elif length > len(rest):
        raise MessageError("body shorter than Content-Length", 400, message)
    else:
        message.body = rest[:length]
    check(message)
    return message


def parse_head(head: bytes) -> tuple[Request | Response, int | None]:
    """Parse start line and headers; return the message without body and its Content-Length (None: absent).

    Raises :class:`MessageError`.
    """
    text = head.decode("utf-8", "surrogateescape")
    if len(text) <= MAX_LINE_BYTES and (found := _plain_head(text)) is not None:
        return found
    return _parse_any_head(text)


def _plain_head(text: str) -> tuple[Request | Response, int | None] | None:
    """Read a head as nearly all peers send it: lines of ``Name: value`` that end in CRLF, none folded; None for any other.

    It is no longer than a line may be.
    """
    start, _, rest = text.partition("\r\n")
    lines = rest.split("\r\n")
    count = len(lines)
    if count > MAX_HEADER_LINES or not text.count("\n") == text.count("\r") == count:
        return None
    if "\t" in text or " \r" in text or text[-1] == " ":
        return None  # white space to strip
    if ":  " in text and (_PADDED_LENGTH not in text or text.count(":  ") > 1):
        return None  # more to strip than a number
    pairs = [line.split(": ", 1) for line in lines]
    try:
        first = dict(pairs)
    except ValueError:
        return None
    length = None
    items = _known_items(first)
    if len(first) == count == len(items):
        length = first.pop("Content-Length", None)
        if length is not None:
            if items[-1][0] != "Content-Length":
                items = list(first.items())
            else:
                items.pop()  # where nearly all write it
        headers = Headers(items, first)
    else:
        if not all(name in KNOWN_NAMES or METHOD_PATTERN.fullmatch(name) for name in first):
            return None
        items = [(canonical(name), value) for name, value in pairs]
        lengths = [value for name, value in items if name == "Content-Length"]
        if len(lengths) > 1:
            return None
        if lengths:
            length = lengths[0]
            items.remove(("Content-Length", length))
        headers = Headers(items)
    length = length and length.lstrip(" ")
    if length is not None and not (len(length) <= _SURELY_SHORT and length.isascii() and length.isdigit()):
        return None
    message = _parse_start_line(start)
    message.headers = headers
    return message, None if length is None else int(length)


def _known_items(first: dict[str, str]) -> list[tuple[str, str]]:
    """Return the items of *first* before the first one with an unknown name. PyPy makes sets of both for ``issuperset``."""
    items: list[tuple[str, str]] = []
    for item in first.items():
        if item[0] not in KNOWN_NAMES:
            break
        items.append(item)
    return items


def _parse_any_head(text: str) -> tuple[Request | Response, int | None]:
    """Read any head. Raises :class:`MessageError`."""
    if _FOLDED_START.match(text):
        raise MessageError("folded start line")
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    lines = _LINE_END.split(text) if "\r\n" not in text or text.count("\n") != text.count("\r\n") else text.split("\r\n")
    message = _parse_start_line(lines[0])
    if len(lines) - 1 > MAX_HEADER_LINES:
        raise MessageError("too many header lines", 513, _with_headers(message, lines[1:MAX_HEADER_LINES]))
    items: list[tuple[str, str]] = []
    length: int | None = None
    fault: tuple[str, int] | None = None  # no exception yet: one that a frame of its own traceback holds is a circle
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not METHOD_PATTERN.fullmatch(name) or "\r" in value or len(line) > MAX_LINE_BYTES:
            if line:
                status = 513 if len(line) > MAX_LINE_BYTES else 400
                fault = fault or ("header line too long" if status == 513 else "broken header line", status)
            continue
        name = canonical(name)
        value = value.strip(" \t")
        if name == "Content-Length":
            try:
                length = _content_length(value, length)
            except ParseError as error:
                fault = fault or (error.reason, error.status)
            continue
        items.append((name, value))
    message.headers = Headers(items)
    if fault is not None:
        raise MessageError(*fault, message)
    return message, length


def _with_headers(message: Request | Response, lines: list[str]) -> Request | Response:
    pairs = (line.partition(":") for line in lines)
    message.headers = Headers((canonical(n.strip()), v.strip(" \t")) for n, c, v in pairs if c and "\r" not in v)
    return message


def _parse_start_line(line: str) -> Request | Response:
    if len(line) > MAX_LINE_BYTES:
        raise MessageError("start line too long", 513)
    method, _, rest = line.partition(" ")
    if method in COMMON_METHODS and len(rest) > len(_OUR_VERSION) and rest.endswith(_OUR_VERSION):
        return Request(method, rest.removesuffix(_OUR_VERSION))
    if method == "SIP/2.0" and (status := _STATUSES.get(rest[:3])) is not None and rest[3:4] == " " and "\r" not in rest:
        return Response(status, rest[4:])
    if (match := _STATUS_LINE.fullmatch(line)) is not None:
        return Response(int(match[1]), match[2] or "")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None or not METHOD_PATTERN.fullmatch(match[1]):
        raise MessageError("broken start line")
    request = Request(match[1], match[2])
    if match[3].upper() != "SIP/2.0":
        return _OtherVersion(match[1], match[2])
    return request


class _OtherVersion(Request):
    """A request of another SIP version: it is read only to be answered 505 (RFC 3261 §21.5.6)."""

    __slots__ = ()


def _content_length(value: str, former: int | None) -> int:
    if not (value.isascii() and value.isdigit()):
        raise ParseError("broken Content-Length")
    if len(value) > 10 or int(value) > MAX_BODY_BYTES:
        raise ParseError("Content-Length too large", 513)
    if former is not None:
        raise ParseError("two Content-Length headers")
    return int(value)


def check(message: Request | Response) -> None:
    """Check what every message must have (RFC 3261 §8.1.1, §20): mandatory headers once, CSeq method, version, Request-URI.

    Raises :class:`MessageError`.
    """
    try:
        _check(message)
    except MessageError:
        raise
    except ParseError as error:
        reason, status = error.reason, error.status
    else:
        return
    raise MessageError(reason, status, message)  # without the other: whoever keeps this one keeps its message, and no frames


def _check(message: Request | Response) -> None:
    if isinstance(message, _OtherVersion):
        raise MessageError("SIP version not supported", 505, message)
    read_mandatory(message.headers)
    method = message.cseq.method
    if message.headers.has_repetitions:
        for name in SINGLE:
            if message.headers.count(name) > 1:
                raise MessageError(f"more than one {name}", 400, message)
    if isinstance(message, Response):
        return
    if method != message.method:
        raise MessageError("CSeq names another method", 400, message)
    if " " in message.uri or "\t" in message.uri or message.uri.startswith("<"):
        raise MessageError("white space or brackets in the Request-URI", 400, message)
    _ = message.request_uri, message.max_forwards


__all__ = [
    "MAX_BODY_BYTES",
    "MAX_HEADER_LINES",
    "MAX_LINE_BYTES",
    "MAX_MESSAGE_BYTES",
    "Message",
    "MessageError",
    "check",
    "parse_head",
    "parse_message",
]
