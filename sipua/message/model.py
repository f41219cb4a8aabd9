"""Pure. Requests and responses (RFC 3261 §7)."""

from sipua.errors import ParseError
from sipua.message.fields import Fields
from sipua.message.headers import ENCODED, Headers
from sipua.message.status import reason_phrase
from sipua.message.uri import Uri

_LENGTH_LINE = len("\r\nContent-Length: \r\n\r\n")


class Message(Fields):
    """What requests and responses share: ``headers`` (:class:`Headers`) and ``body`` (bytes).

    ``Content-Length`` is written from the body and not kept among the headers.
    """

    __slots__ = ("body",)

    def __init__(self, headers: Headers | None = None, body: bytes = b"") -> None:
        self.headers = Headers() if headers is None else headers
        self.body = body

    @property
    def start_line(self) -> str:
        """The first line without its line end."""
        raise NotImplementedError

    def encode(self) -> bytes:
        """Return the message as it goes on the wire: the same object until something changes, for a retransmission sends the same bytes."""
        start, body, cache = self.start_line, self.body, self.headers.cache
        known = cache.get(ENCODED)
        if known is not None and known[0] == start and known[1] is body:
            return known[2]  # type: ignore[no-any-return]  # as it is written below
        parts = [start]
        for name, value in self.headers:  # pieces, joined once: on PyPy a formatted line costs as many calls as it has parts, and two more
            parts.append("\r\n")
            parts.append(name)
            parts.append(": ")
            parts.append(value)
        parts.append("\r\nContent-Length: ")
        parts.append(str(len(body)))
        parts.append("\r\n\r\n")
        data = "".join(parts).encode("utf-8", "surrogateescape") + body
        cache[ENCODED] = start, body, data
        return data

    @property
    def size(self) -> int:
        """How many octets :meth:`encode` has, which is not asked unless there is more than ASCII."""
        start = self.start_line
        length, is_ascii = len(start), start.isascii()
        for name, value in self.headers:
            length += len(name) + len(value)
            is_ascii = is_ascii and name.isascii() and value.isascii()
        if not is_ascii:
            return len(self.encode())
        # ": " and CRLF in each line, CRLF behind the start line, Content-Length, and the empty line
        return length + 4 * len(self.headers) + _LENGTH_LINE + len(str(len(self.body))) + len(self.body)

    def set_body(self, body: bytes, content_type: str) -> None:
        """Set body and Content-Type."""
        self.body = body
        self.headers.set("Content-Type", content_type)


class Request(Message):
    """A request: ``method`` (case-sensitive) and ``uri``, the Request-URI as text.

    ``is_strictly_routed`` says that the Request-URI is a strict router's and the next hop, though Route lines follow (RFC 3261 §12.2.1.1).
    ``sender`` is who sent it, as the door found out that let it in (:mod:`sipua.transaction.admission`): a name of the user's, or ``""``.
    """

    __slots__ = ("_request_uri", "is_strictly_routed", "method", "sender", "uri")

    def __init__(self, method: str, uri: str, headers: Headers | None = None, body: bytes = b"") -> None:
        self.headers = Headers() if headers is None else headers
        self.body = body
        self.method = method
        self.uri = uri
        self.is_strictly_routed = False
        self.sender = ""
        self._request_uri: Uri | None = None

    @property
    def request_uri(self) -> Uri:
        """The Request-URI, parsed. Raises :class:`ParseError`."""
        if self._request_uri is None or self._request_uri.text != self.uri:
            self._request_uri = Uri.parse(self.uri)
        return self._request_uri

    @property
    def start_line(self) -> str:
        """The request line."""
        return self.method + " " + self.uri + " SIP/2.0"

    def copy(self) -> "Request":
        """Return an independent copy (the body is shared)."""
        request = Request(self.method, self.uri, self.headers.copy(), self.body)
        request.is_strictly_routed = self.is_strictly_routed
        request.sender = self.sender
        return request

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri} {self.headers.get('CSeq')}>"


class Response(Message):
    """A response: ``status`` (100 to 699) and ``reason``."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str | None = None, headers: Headers | None = None, body: bytes = b"") -> None:
        self.headers = Headers() if headers is None else headers
        self.body = body
        self.status = status
        self.reason = reason_phrase(status) if reason is None else reason

    @property
    def start_line(self) -> str:
        """The status line."""
        return "SIP/2.0 " + str(self.status) + " " + self.reason

    @property
    def is_provisional(self) -> bool:
        """True for 1xx."""
        return self.status < 200

    @property
    def is_final(self) -> bool:
        """True for 2xx to 6xx."""
        return self.status >= 200

    @property
    def is_success(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.headers.get('CSeq')}>"


class MessageError(ParseError):
    """A message that breaks a rule but could be read far enough to be answered: ``message`` is what was read, None if too little."""

    def __init__(self, reason: str, status: int = 400, message: Message | None = None) -> None:
        super().__init__(reason, status)
        self.message = message
