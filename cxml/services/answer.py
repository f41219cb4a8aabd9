"""Reads one HTTP/1.1 answer out of a connection's bytes, within limits; llhttp knows the grammar."""

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from cxml.services.body import decoded, too_large
from cxml.services.fault import PROTOCOL, FaultError, bad_http
from cxml.services.http import HttpResponse
from cxml.services.plain_answer import plain_answer

MAX_HEAD_BYTES: Final = 16_384
"""Header fields of one answer, interim answers (1xx) and trailers included: web servers send less than 1 kB."""

MAX_HEADERS: Final = 128
"""Header fields of one answer: more than any application has, few enough to cost no time."""

FRAMING: Final = 8
"""Bytes on the wire for one of the body, at most: chunks of one byte take 6."""

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class AnswerReader:
    """Reads the answers of one connection, one at a time: :meth:`start`, :meth:`feed` until it says so, :meth:`response`.

    The answer is there as soon as all is known that matters: the head is enough where the status is no success or the body is of no use.
    Only one that was read to its end, with nothing behind it, leaves the connection fit for another (``is_reusable``).
    """

    def __init__(self) -> None:
        parser = self._parser = HttpResponseParser(self)
        # What old scripts send: folded lines, which a user agent has to read (RFC 9112 §5.2), and lines that end in a bare LF (§2.2).
        parser.set_dangerous_leniencies(lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self.start(0)

    def start(self, max_body_bytes: int) -> None:
        """Be ready for the next answer, whose body may have *max_body_bytes* bytes."""
        self.has_head = False
        self.is_reusable = False
        self._limit = max_body_bytes
        self._status = 0
        self._headers: dict[str, str] = {}
        self._cookies: list[str] = []
        self._header_count = self._head_bytes = self._wire_bytes = 0
        self._body: bytes | bytearray = b""
        self._is_settled = self._is_complete = self._has_surplus = self._is_flood = False
        self._trouble: FaultError | None = None

    def feed(self, data: bytes) -> bool:
        """Read *data*; True once the answer is there. Raises :class:`FaultError` for what is not HTTP, or goes on too long."""
        if not self._wire_bytes and self._is_plain(data):
            return True
        self._wire_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as exc:
            return self._is_there(exc)
        return self._is_there(None)

    def _is_plain(self, data: bytes) -> bool:
        """Take *data* as the whole answer if it needs no parser."""
        plain = plain_answer(data)
        if plain is None or len(plain[1]) > self._limit:
            return False
        self._headers, self._body = plain
        self._status = 200
        self.has_head = self.is_reusable = self._is_complete = True
        return True

    def _is_there(self, error: Exception | None) -> bool:
        if not self._is_flood and (self._is_complete or self._is_settled):
            self.is_reusable = self.is_reusable and error is None and not self._has_surplus
            return True
        too_many = MAX_HEAD_BYTES + (FRAMING * self._limit if self.has_head else 0)
        if error is not None or self._is_flood or self._wire_bytes > too_many:
            raise bad_http() from error
        return False

    def end(self) -> bool:
        """Take the end of the connection for the end of a body that has no other; True if the answer is there now."""
        return self.has_head and "content-length" not in self._headers and "transfer-encoding" not in self._headers

    def response(self, trouble: FaultError | TimeoutError | None = None) -> HttpResponse:
        """Return the answer; *trouble* is what kept the rest of it from being read."""
        response = HttpResponse(self._status, self._headers, self._cookies, b"", self._trouble or trouble)
        if self._body and response.trouble is None:
            try:
                response.body = decoded(bytes(self._body), self._headers.get("content-encoding", ""), self._limit)
            except FaultError as fault:
                response.trouble = fault
        return response

    def close(self) -> None:
        """Let go of the parser, which holds this object."""
        del self._parser

    # -- called by the parser, which takes no exception ---------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins; one behind the one that was asked for is surplus."""
        self._has_surplus = self._is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field; those behind the body (trailers) are only counted."""
        self._header_count += 1
        self._head_bytes += len(name) + len(value)
        if self._header_count > MAX_HEADERS or self._head_bytes > MAX_HEAD_BYTES:
            self._is_flood = True
        elif not self.has_head:
            key = name.decode("latin-1").lower()
            if key == "set-cookie":
                self._cookies.append(_text(value))
            elif key in self._headers:
                self._headers[key] += ", " + _text(value)
            else:
                self._headers[key] = _text(value)

    def on_headers_complete(self) -> None:
        """Decide what is needed besides the head: a final answer, the body, or nothing."""
        status = self._parser.get_status_code()
        if self._is_complete or (100 <= status < 200 and status != 101):
            return
        self._status = status
        self.has_head = True
        length = self._headers.get("content-length", "")
        if not 200 <= status < 300:
            self._is_settled = True
        elif length.isdecimal() and int(length[:20]) > self._limit:
            self._give_up(too_large(self._limit))
        elif self._headers.get("transfer-encoding", "chunked").lower() != "chunked":
            self._give_up(FaultError(PROTOCOL, "a Transfer-Encoding that was not asked for"))

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body."""
        if self._is_settled or self._is_complete:
            return
        if len(self._body) + len(data) > self._limit:
            self._give_up(too_large(self._limit))
        elif self._body:
            if not isinstance(self._body, bytearray):  # a trickle of single octets takes no more room than they are
                self._body = bytearray(self._body)
            self._body += data
        else:
            self._body = data

    def on_message_complete(self) -> None:
        """Take note of the end, or forget the fields of an interim answer (RFC 9110 §15.2)."""
        if self.has_head and not self._is_complete:
            self._is_complete = True
            self.is_reusable = self._parser.should_keep_alive()
        elif not self._is_complete:
            self._headers.clear()
            self._cookies.clear()

    def _give_up(self, trouble: FaultError) -> None:
        self._is_settled = True
        self._trouble = trouble
        self._body = b""


def _text(value: bytes) -> str:
    """Return the value of a header field: UTF-8, which most servers mean, or what Latin-1 makes of it; controls become spaces.

    RFC 9110 §5.5 asks for that. A value may come back to a server: in a cookie, or as a URL.
    """
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return (text if text.isprintable() else _CONTROLS.sub(" ", text)).strip()
