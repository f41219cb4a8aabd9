"""Pure. A short way for answers as nearly all web applications send them: 200, a body of known length, all in one piece.

Everything else, and whatever is not beyond doubt, goes to the parser of :class:`cxml.services.answer.AnswerReader`; a test holds
one against the other.
"""

import re
from typing import Final

from sipua.remembered import remembered

MAX_HEAD_BYTES: Final = 1024
"""A longer head is read the long way, and not remembered."""

_MAX_FIELDS: Final = 32
_KEPT: Final = 128
"""Heads: those of one application differ by their Date and by the length of a few documents."""

_STATUS_LINES: Final = frozenset({"HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 200 OK"})
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token (RFC 9110 §5.1)
_SURELY_SHORT: Final = 9  # digits of a Content-Length
_LONG_WAY: Final = frozenset({"set-cookie", "transfer-encoding", "upgrade", "proxy-connection", "trailer", "te"})


def plain_answer(data: bytes) -> tuple[dict[str, str], bytes] | None:
    """Return the header fields, with their names in lower case, and the body of the answer *data*; None if it is not plain.

    Status 200, one value of each name, the body complete with nothing behind it, and a connection that stays open.
    """
    end = data.find(b"\r\n\r\n")
    if not 0 <= end <= MAX_HEAD_BYTES:
        return None
    head = _plain_head(data[:end])
    if head is None:
        return None
    length, headers = head
    return (headers.copy(), data[end + 4 :]) if len(data) == end + 4 + length else None


@remembered(_KEPT)
def _plain_head(head: bytes) -> tuple[int, dict[str, str]] | None:
    """Return the length of the body and the header fields."""
    status_line, *lines = head.decode("latin-1").split("\r\n")
    if status_line not in _STATUS_LINES or len(lines) > _MAX_FIELDS:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
            return None
        headers[name.lower()] = value.strip(" ")
    length = headers.get("content-length", "")
    if len(headers) < len(lines) or not _LONG_WAY.isdisjoint(headers) or headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    return (int(length), headers) if length.isdecimal() and len(length) <= _SURELY_SHORT else None
