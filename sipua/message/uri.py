"""Pure. SIP, SIPS and any other URI (RFC 3261 §19.1, RFC 3986): parts on demand, bytes kept.

A URI read from the network is written again byte for byte: route sets and Refer-To depend on it.
"""

import re
import urllib.parse

from sipua.errors import ParseError
from sipua.message.grammar import HOSTPORT_PATTERN, SCHEME_PATTERN
from sipua.message.memory import Memory
from sipua.message.params import EMPTY, Params

MAX_URI_LENGTH = 4096  # longer ones are attacks or accidents
SIP_SCHEMES = ("sip", "sips")
_NOT_IN_USER = re.compile(r'[\x00-\x20<>"@\x7f]')
_WHITE_SPACE = re.compile(r"\s")
_MUST_MATCH = ("user", "ttl", "method", "maddr", "transport")


class Uri:
    """A URI. For ``sip`` and ``sips`` all parts are read; for others only ``scheme`` and ``opaque``.

    ``user`` and ``password`` keep their escapes; ``port`` is None when absent; ``headers`` is the text behind ``?`` or None.
    Two are equal when their texts are; :meth:`matches` compares as RFC 3261 §19.1.4 does.
    """

    __slots__ = ("headers", "host", "opaque", "params", "password", "port", "scheme", "text", "user")

    def __init__(self, text: str, scheme: str, opaque: str) -> None:
        """Make what :meth:`parse` reads the parts of."""
        self.text = text
        self.scheme = scheme
        self.user: str | None = None
        self.password: str | None = None
        self.host = ""
        self.port: int | None = None
        self.params = EMPTY
        self.headers: str | None = None
        self.opaque = opaque

    @classmethod
    def parse(cls, text: str) -> "Uri":
        """Parse *text*. Raises :class:`ParseError` (416 for a text without a scheme, 400 for a broken SIP URI)."""
        return _MEMORY.read(text)

    @classmethod
    def parse_any(cls, text: str) -> "Uri":
        """Parse *text* without regard to what was parsed before. Raises as :meth:`parse` does."""
        if len(text) > MAX_URI_LENGTH:
            raise ParseError("URI too long", 414)
        scheme, colon, rest = text.partition(":")
        if not colon or not SCHEME_PATTERN.fullmatch(scheme):
            raise ParseError("URI without a scheme")
        uri = cls(text, scheme.lower(), rest)
        if uri.scheme in SIP_SCHEMES:
            uri._parse_sip(rest)
        elif not rest or any(c in ' \t\r\n<>"' for c in rest):
            raise ParseError("broken URI")
        return uri

    def _parse_sip(self, rest: str) -> None:
        userinfo, at, tail = rest.partition("@")
        if at:
            user, colon, password = userinfo.partition(":")
            if not user or _NOT_IN_USER.search(userinfo):
                raise ParseError("broken user part in a SIP URI")
            self.user = user
            self.password = password if colon else None
            rest = tail
        rest, question, headers = rest.partition("?")
        hostport, semicolon, params = rest.partition(";")
        match = HOSTPORT_PATTERN.fullmatch(hostport)
        if match is None or _WHITE_SPACE.search(rest) or _NOT_IN_USER.search(headers):
            raise ParseError("broken host part in a SIP URI")
        self.host = match["host"]
        if match["port"] is not None:
            self.port = _port(match["port"])
        self.params = Params.parse(params) if semicolon else EMPTY
        self.headers = headers if question else None

    @classmethod
    def build(
        cls,
        host: str,
        *,
        user: str | None = None,
        port: int | None = None,
        params: Params = EMPTY,
        scheme: str = "sip",
    ) -> "Uri":
        """Make a SIP URI; *user* is unescaped text, an IPv6 *host* may come with or without brackets."""
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        userinfo = "" if user is None else urllib.parse.quote(user, safe="-_.!~*'()&=+$,;?/") + "@"
        return cls.parse(f"{scheme}:{userinfo}{host}{'' if port is None else f':{port}'}{params}")

    @property
    def is_sip(self) -> bool:
        """True for ``sip`` and ``sips``."""
        return self.scheme in SIP_SCHEMES

    @property
    def transport(self) -> str:
        """The ``transport`` parameter in lower case, ``""`` when absent."""
        return (self.params.get("transport") or "").lower()

    @property
    def unescaped_user(self) -> str:
        """The user part without escapes, ``""`` when absent."""
        return "" if self.user is None else urllib.parse.unquote(self.user, errors="replace")

    @property
    def bare_host(self) -> str:
        """The host without the brackets of an IPv6 address."""
        return self.host.strip("[]")

    def with_params(self, params: Params) -> "Uri":
        """Return a copy with *params* in place of its parameters."""
        userinfo = "" if self.user is None else self.user + ("" if self.password is None else f":{self.password}") + "@"
        port = "" if self.port is None else f":{self.port}"
        headers = "" if self.headers is None else f"?{self.headers}"
        return Uri.parse(f"{self.scheme}:{userinfo}{self.host}{port}{params}{headers}")

    def as_request_uri(self) -> "Uri":
        """Return the URI as it may stand in a request line: no headers, no ``method`` (RFC 3261 §19.1.1, §19.1.5)."""
        if not self.is_sip or (self.headers is None and "method" not in self.params):
            return self
        stripped = self.with_params(self.params.without("method"))
        return Uri.parse(stripped.text.partition("?")[0])

    def matches(self, other: "Uri") -> bool:
        """Compare by RFC 3261 §19.1.4; a one-sided ``transport`` counts as different, as the examples there have it."""
        if not self.is_sip or not other.is_sip:
            return self.text.lower() == other.text.lower()
        mine = (self.scheme, _unescape(self.user), _unescape(self.password), self.host.lower(), self.port)
        theirs = (other.scheme, _unescape(other.user), _unescape(other.password), other.host.lower(), other.port)
        if mine != theirs or _header_set(self.headers) != _header_set(other.headers):
            return False
        names = {name.lower() for name, _ in self.params} | {name.lower() for name, _ in other.params}
        for name in names:
            left, right = self.params.get(name), other.params.get(name)
            if (left is None or right is None) and name not in _MUST_MATCH:
                continue
            if left is None or right is None or left.lower() != right.lower():
                return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Uri) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Uri({self.text!r})"


_MEMORY = Memory(Uri.parse_any)


def _port(text: str) -> int:
    port = int(text)
    if port > 65535:
        raise ParseError("port above 65535")
    return port


def _unescape(text: str | None) -> str | None:
    return None if text is None else urllib.parse.unquote(text, errors="surrogateescape")


def _header_set(headers: str | None) -> frozenset[str]:
    return frozenset(urllib.parse.unquote(part) for part in (headers or "").split("&") if part)
