"""Pure. A byte stream to messages (RFC 3261 §18.3, RFC 5626 §4.4.1): ``Content-Length``, any chunking, CRLF keep-alives."""

import re
from dataclasses import dataclass

from sipua.message.model import MessageError, Request, Response
from sipua.message.parser import MAX_LINE_BYTES, MAX_MESSAGE_BYTES, check, parse_head

_HEADER_END = re.compile(rb"\r?\n\r?\n")
_CRLF = b"\r\n"
_LINE_END_STARTS = (b"\r", b"\r\n", b"\r\n\r")  # may still become a ping


@dataclass(frozen=True, slots=True)
class Ping:
    """``CRLFCRLF`` between messages: to be answered with one CRLF."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A message that breaks a rule. When *fatal*, the boundary of messages is lost: answer if possible, then close."""

    error: MessageError
    fatal: bool


Frame = Request | Response | Ping | Broken


class StreamFramer:
    """Collects bytes of one connection and cuts them into messages; never holds more than one message and a chunk."""

    __slots__ = ("_buffer", "_is_started", "_limit", "_pending", "_scanned", "_wanted")

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._buffer = bytearray()
        self._limit = max_message_bytes
        self._scanned = 0  # the head's end is not before this offset
        self._is_started = False  # the first line of the head was read and is one
        self._pending: Request | Response | None = None  # head read, body not complete
        self._wanted = 0

    @property
    def is_partial(self) -> bool:
        """True while a message has begun and is not complete; a pong or half a ping is no message."""
        return self._pending is not None or (bool(self._buffer) and bytes(self._buffer[:4]) not in _LINE_END_STARTS)

    def feed(self, data: bytes) -> list[Frame]:
        """Take the bytes of one read and return what is complete, in order; after a fatal :class:`Broken` feed no more."""
        self._buffer += data
        frames: list[Frame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
            if isinstance(frame, Broken) and frame.fatal:
                self._buffer.clear()
                break
        return frames

    def _next(self) -> Frame | None:
        if self._pending is None:
            if self._buffer[:4] == _CRLF + _CRLF:
                del self._buffer[:4]
                return Ping()
            if self._buffer[:2] == _CRLF and len(self._buffer) > 2 and self._buffer[2:3] != b"\r":
                del self._buffer[:2]  # the peer's pong (RFC 5626 §4.4.1), or a line end in front of a message (§7.5)
            return self._next_head()
        return self._next_body()

    def _next_head(self) -> Frame | None:
        buffer = self._buffer
        if not buffer or bytes(buffer[:3]) in _LINE_END_STARTS:
            return None
        match = _HEADER_END.search(buffer, self._scanned)
        if match is None:
            scanned, self._scanned = self._scanned, max(0, len(buffer) - 3)
            if len(buffer) > self._limit:
                return Broken(MessageError("header section too large", 513), fatal=True)
            return None if self._is_started else self._broken_start(scanned)
        head = bytes(buffer[: match.start()])
        del buffer[: match.end()]
        self._scanned = 0
        self._is_started = False
        if len(head) > self._limit:
            return Broken(MessageError("header section too large", 513), fatal=True)
        try:
            message, length = parse_head(head)
        except MessageError as error:
            # without a trusted Content-Length the next message can't be found
            return _broken(error, fatal=True)
        if length is None and "Content-Type" in message.headers:  # a body whose end nobody knows (RFC 3261 §20.14)
            return Broken(MessageError("no Content-Length on a stream", 400, message), fatal=True)
        self._pending = message
        self._wanted = length or 0
        if len(head) + self._wanted > self._limit:
            return Broken(MessageError("message too large", 513, message), fatal=True)
        return self._next_body()

    def _broken_start(self, scanned: int) -> Broken | None:
        """Refuse a first line that begins no message before the rest comes: whoever speaks another protocol is not waited for.

        Its end is not before *scanned*.
        """
        end = self._buffer.find(b"\n", scanned)
        if end < 0 and len(self._buffer) <= MAX_LINE_BYTES:
            return None
        self._is_started = True
        try:
            parse_head(bytes(self._buffer if end < 0 else self._buffer[:end]).removesuffix(b"\r"))
        except MessageError as error:
            return _broken(error, fatal=True)
        return None

    def _next_body(self) -> Frame | None:
        message = self._pending
        if message is None or len(self._buffer) < self._wanted:
            return None
        message.body = bytes(self._buffer[: self._wanted])
        del self._buffer[: self._wanted]
        self._pending = None
        try:
            check(message)
        except MessageError as error:
            return _broken(error, fatal=False)
        return message


def _broken(error: MessageError, *, fatal: bool) -> Broken:
    """Return the frame for *error* without its traceback: that leads to the list that the frame is put into, a circle."""
    return Broken(error.with_traceback(None), fatal)
