"""Pure. Reads the ``message/sipfrag`` body of a NOTIFY as tolerantly as real notifiers need (RFC 3420 §2, RFC 3515 §2.4.5).

Only the status code is acted on; reason phrase and headers are for the log.
"""

import re
from dataclasses import dataclass

from sipua.errors import ParseError, printable
from sipua.message import Value
from sipua.remembered import remembered

SIPFRAG_TYPE = "message/sipfrag;version=2.0"
"""What we accept, as the value of Accept."""

MAX_SIPFRAG_BYTES = 8192  # a status line and some headers; what is behind that is not looked at
MAX_SIPFRAG_HEADERS = 32  # they only go to the log
MAX_MULTIPART_PARTS = 8  # a sipfrag stands first or second where it is sent at all
MAX_REMEMBERED = 512  # bodies that were read lately
MAX_REMEMBERED_BYTES = 128  # a status line, perhaps with a header
_MAX_REASON = 100  # characters; it only goes to the log

_STATUS_LINE = re.compile(rb"SIP/2\.0[ \t]+([0-9]{3})(?:[ \t]+(.*))?", re.IGNORECASE)
_BLANK = b"\r\n \t"
_BOM = b"\xef\xbb\xbf"
_READABLE_TYPES = ("message/sipfrag", "message/sip")


@dataclass(frozen=True, slots=True)
class Sipfrag:
    """A status line (``status`` 100 to 699, printable ``reason``) and the headers behind it as name and value."""

    status: int
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """There is no status line: ``answer`` is the status for the response to the NOTIFY, ``why`` one line for the log.

    200: the body is empty, which the Subscription-State makes up for. 400: broken. 415: another media type. None of
    these ends the subscription (RFC 6665 §4.2.2).
    """

    answer: int
    why: str


def parse_sipfrag(content_type: str | None, body: bytes) -> Sipfrag | Unreadable:
    """Read the status line of *body*, whose type is *content_type* (None: no such header). Never raises."""
    if len(body) <= MAX_REMEMBERED_BYTES and (content_type is None or len(content_type) <= MAX_REMEMBERED_BYTES):
        return _remembered(content_type, body)  # all transfers are reported by the same few bodies
    return _parse(content_type, body)


def _parse(content_type: str | None, body: bytes) -> Sipfrag | Unreadable:
    text = body[:MAX_SIPFRAG_BYTES].removeprefix(_BOM).lstrip(_BLANK)
    if not text:
        return Unreadable(200, "empty body")
    if content_type is None:
        # RFC 3261 §20.15 wants the header; a body that is plainly a status line is taken all the same.
        return _read(text) if text[:8].upper() == b"SIP/2.0 " else Unreadable(400, "body without Content-Type")
    try:
        media = Value.parse(content_type)
    except ParseError:
        return Unreadable(400, "broken Content-Type")
    name = media.value.lower()
    if name.startswith("multipart/"):
        return _read_multipart(media.params.get("boundary") or "", body)
    if name not in _READABLE_TYPES:
        return Unreadable(415, f"body is {printable(media.value, 60)}")
    return _read(text)


_remembered = remembered(MAX_REMEMBERED)(_parse)


def _read(text: bytes) -> Sipfrag | Unreadable:
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    match = _STATUS_LINE.fullmatch(lines[0].rstrip())
    if match is None:
        return Unreadable(400, "body does not begin with a status line")
    status = int(match[1])
    if not 100 <= status <= 699:
        return Unreadable(400, f"status {status} is out of range")
    return Sipfrag(status, printable(match[2] or b"", _MAX_REASON), _headers(lines[1:]))


def _headers(lines: list[bytes]) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    for line in lines:
        if not line.strip():
            break
        name, colon, value = line.partition(b":")
        if line[:1] in (b" ", b"\t") and headers:
            last_name, last_value = headers[-1]
            headers[-1] = (last_name, f"{last_value} {printable(line.strip())}")
        elif colon and len(headers) < MAX_SIPFRAG_HEADERS:
            headers.append((printable(name.strip()), printable(value.strip())))
    return tuple(headers)


def _read_multipart(boundary: str, body: bytes) -> Sipfrag | Unreadable:
    """Read the first sipfrag part (RFC 2046 §5.1); parts inside parts are not looked for."""
    if not boundary:
        return Unreadable(400, "multipart body without boundary")
    delimiter = b"--" + boundary.encode("utf-8", "surrogateescape")
    for part in body[:MAX_SIPFRAG_BYTES].split(delimiter, MAX_MULTIPART_PARTS + 1)[1 : MAX_MULTIPART_PARTS + 1]:
        if part.startswith(b"--"):
            break
        head, _, content = part.replace(b"\r\n", b"\n").lstrip(b" \t").removeprefix(b"\n").partition(b"\n\n")
        media = next((value for name, value in _headers(head.split(b"\n")) if name.lower() in ("content-type", "c")), "")
        if media.partition(";")[0].strip().lower() in _READABLE_TYPES:
            content = content.removeprefix(_BOM).lstrip(_BLANK)
            return _read(content) if content else Unreadable(200, "empty sipfrag part")
    return Unreadable(415, "multipart body without sipfrag")
