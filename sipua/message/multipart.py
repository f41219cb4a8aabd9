"""Pure. Bodies of several parts (RFC 5621 §3, RFC 2046 §5.1), as far as a user agent needs them: flat, bounded, never decoded."""

from dataclasses import dataclass

from sipua.errors import ParseError
from sipua.message.fields import Value
from sipua.message.headers import Headers, canonical

MAX_PARTS = 16
"""Parts that are read: an INVITE has an SDP and two or three others."""

MAX_PART_LINES = 32  # header lines of a part
MAX_BOUNDARY = 70  # RFC 2046 §5.1.1
MAX_DEPTH = 2
"""How deep parts may hold parts: a multipart/alternative inside a multipart/mixed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers, and its body as it came."""

    headers: Headers
    body: bytes

    @property
    def type(self) -> Value:
        """Its Content-Type, ``text/plain`` when it names none (RFC 2046 §5.2). Raises :class:`ParseError` for a broken one."""
        return Value.parse(self.headers.get("Content-Type") or "text/plain")

    @property
    def disposition(self) -> Value | None:
        """Its Content-Disposition. Raises :class:`ParseError` for a broken one."""
        text = self.headers.get("Content-Disposition")
        return None if text is None else Value.parse(text)


def split_parts(body: bytes, content_type: Value) -> list[Part]:
    """Return the parts of *body*, whose Content-Type is *content_type*, ``multipart/…``.

    Raises :class:`ParseError` without a boundary, for a boundary that does not occur, or for too many parts. A missing last delimiter is
    forgiven: Content-Length says where the body ends.
    """
    boundary = content_type.params.get("boundary") or ""
    if not 1 <= len(boundary) <= MAX_BOUNDARY:
        raise ParseError("multipart body without a boundary")
    delimiter = b"--" + boundary.encode("utf-8", "surrogateescape")
    pieces = (b"\r\n" + body).split(b"\r\n" + delimiter)
    parts: list[Part] = []
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            break
        line, end, rest = piece.partition(b"\r\n")
        if line.strip(b" \t") or not end:
            continue  # a longer word that begins as the boundary does
        if len(parts) >= MAX_PARTS:
            raise ParseError("too many parts in a body")
        parts.append(_part(rest))
    if not parts:
        raise ParseError("the boundary of a multipart body does not occur")
    return parts


def _part(text: bytes) -> Part:
    if text.startswith(b"\r\n"):
        return Part(Headers(), text[2:])
    head, _, body = text.partition(b"\r\n\r\n")
    lines = head.decode("utf-8", "surrogateescape").replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")
    if len(lines) > MAX_PART_LINES:
        raise ParseError("too many header lines in a part")
    headers = Headers()
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or "\n" in line or "\r" in line:
            raise ParseError("broken header in a part")
        headers.add(canonical(name.strip()), value.strip())
    return Part(headers, body)
