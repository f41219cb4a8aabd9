"""Pure. Which part of a message is the session description, and which bodies we would have to understand (RFC 3261 §8.2.3, RFC 5621)."""

from collections.abc import Callable

from sipua.errors import ParseError
from sipua.message import Message, Value
from sipua.message.multipart import MAX_DEPTH, Part, split_parts

SDP = "application/sdp"
_SDP_RANGES = (SDP, "application/*", "*/*")
_PLAIN_ENCODINGS = frozenset({"", "7bit", "8bit", "binary", "identity"})


def _is_plain_sdp(message: Message) -> bool:
    """Tell at a glance that the body of *message* is a session description and nothing else, as of nearly all that have a body."""
    headers = message.headers
    return headers.get("Content-Type") == SDP and headers.lacks("Content-Disposition", "Content-Encoding", "content-transfer-encoding")


def sdp_of(message: Message) -> bytes | None:
    """Return the session description of *message*, alone or as a part of a multipart body; None: there is none. Never raises."""
    if not message.body:
        return None
    if _is_plain_sdp(message):
        return message.body
    try:
        content_type = message.content_type
        return None if content_type is None else _find(Part(message.headers, message.body), content_type, MAX_DEPTH)
    except ParseError:
        return None


def has_sdp(message: Message) -> bool:
    """Tell whether *message* carries a session description; one with a broken Content-Type carries none. Never raises."""
    return sdp_of(message) is not None


def accepts_sdp(message: Message) -> bool:
    """Tell whether the sender of *message* takes a session description in the answer; without Accept it does (RFC 3261 §20.1).

    Raises :class:`ParseError` for a broken Accept.
    """
    if "Accept" not in message.headers:
        return True
    ranges = [Value.parse(text) for text in message.headers.values("Accept")]
    return any(one.value.lower() in _SDP_RANGES and not _is_zero(one.params.get("q")) for one in ranges)


def _is_zero(quality: str | None) -> bool:
    return quality is not None and quality.strip("0.") == "" and "0" in quality


def is_foreign_body(message: Message) -> bool:
    """Tell whether *message* has a body, or a part of one, that must be understood and is not: 415 (RFC 3261 §8.2.3, §20.11).

    Raises :class:`ParseError` for a broken Content-Type, Content-Disposition or multipart body.
    """
    if not message.body or _is_plain_sdp(message):
        return False
    content_type = message.content_type
    return not _is_understood(Part(message.headers, message.body), content_type, MAX_DEPTH)


def _find(part: Part, content_type: Value, depth: int) -> bytes | None:
    kind = content_type.value.lower()
    if kind == SDP:
        return part.body if _is_session(part) else None
    if not kind.startswith("multipart/") or depth == 0:
        return None
    inner = (_find(piece, piece.type, depth - 1) for piece in split_parts(part.body, content_type))
    return next((body for body in inner if body is not None), None)


def _is_understood(part: Part, content_type: Value | None, depth: int) -> bool:
    disposition = part.disposition
    if disposition is not None and (disposition.params.get("handling") or "").lower() == "optional":
        return True
    if content_type is None or (part.headers.get("Content-Encoding") or "").strip().lower() not in _PLAIN_ENCODINGS:
        return False
    kind = content_type.value.lower()
    if kind == SDP:
        return _is_session(part)
    if not kind.startswith("multipart/") or depth == 0:
        return False
    enough: Callable[[list[bool]], bool] = any if kind == "multipart/alternative" else all
    return enough([_is_understood(piece, piece.type, depth - 1) for piece in split_parts(part.body, content_type)])


def _is_session(part: Part) -> bool:
    """SDP is a session description unless something else is said, such as early-session (RFC 3261 §20.11, RFC 3959)."""
    disposition = part.disposition
    encodings = {(part.headers.get(name) or "").strip().lower() for name in ("Content-Encoding", "Content-Transfer-Encoding")}
    return (disposition is None or disposition.value.lower() == "session") and encodings <= _PLAIN_ENCODINGS
