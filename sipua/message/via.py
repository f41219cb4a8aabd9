"""Pure. Via (RFC 3261 §20.42, RFC 3581) and CSeq (§20.16)."""

import re
from typing import NamedTuple

from sipua.errors import ParseError
from sipua.message.grammar import COMMON_METHODS, HOST, TOKEN
from sipua.message.memory import Memory
from sipua.message.params import EMPTY, Params

MAGIC_COOKIE = "z9hG4bK"
"""What a branch of RFC 3261 begins with (§8.1.1.7)."""

_VIA = re.compile(
    rf"\s*SIP\s*/\s*2\.0\s*/\s*(?P<transport>{TOKEN})\s+(?P<host>{HOST})(?:\s*:\s*(?P<port>[0-9]{{1,5}}))?\s*(?P<params>;.*)?",
    re.IGNORECASE | re.DOTALL,
)
_PLAIN_SENT_BY = re.compile(r"SIP/2\.0/(UDP|TCP|TLS) ([A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?)(?::([0-9]{1,4}|[1-5][0-9]{4}))?")
"""What nearly all peers send before the parameters: :data:`_VIA` reads the same in it."""
_CSEQ = re.compile(rf"\s*([0-9]{{1,10}})\s+({TOKEN})\s*")


class Via(NamedTuple):
    """One Via value: the transport in upper case, the sent-by host and port (None when absent), and parameters."""

    transport: str
    host: str
    port: int | None = None
    params: Params = EMPTY

    @classmethod
    def parse(cls, text: str) -> "Via":
        """Parse one value. Raises :class:`ParseError`."""
        known = _WRITTEN.find(text)
        return _parse(text) if known is None else known

    @classmethod
    def parse_any(cls, text: str) -> "Via":
        """Parse any value, plain ones as :meth:`parse` does. Raises :class:`ParseError`."""
        match = _VIA.fullmatch(text)
        if match is None:
            raise ParseError("broken Via")
        port = match["port"]
        if port is not None and int(port) > 65535:
            raise ParseError("port above 65535 in Via")
        return cls(
            match["transport"].upper(),
            match["host"],
            None if port is None else int(port),
            Params.parse(match["params"]) if match["params"] else EMPTY,
        )

    @property
    def branch(self) -> str:
        """The branch, ``""`` when absent."""
        return self.params.get("branch") or ""

    @property
    def has_cookie(self) -> bool:
        """True when the branch is one of RFC 3261."""
        return self.branch.startswith(MAGIC_COOKIE)

    @property
    def sent_by(self) -> str:
        """Host and port as written, in lower case: part of the transaction key (§17.2.3)."""
        return (self.host if self.port is None else f"{self.host}:{self.port}").lower()

    @property
    def received(self) -> str:
        """The ``received`` address without brackets, ``""`` when absent (RFC 5118 §4.5)."""
        return (self.params.get("received") or "").strip("[]")

    @property
    def rport(self) -> int | None:
        """The filled ``rport``, None when absent or empty (RFC 3581 §4)."""
        value = self.params.get("rport")
        return int(value) if value and value.isascii() and value.isdigit() and len(value) <= 5 else None

    def with_param(self, name: str, value: str | None) -> "Via":
        """Return a copy with parameter *name* set."""
        return Via(self.transport, self.host, self.port, self.params.replaced(name, value))

    def with_params(self, **values: str) -> "Via":
        """Return a copy with all of *values*, which need no quotes."""
        return Via(self.transport, self.host, self.port, self.params.replaced_all(values))

    def written(self) -> str:
        """Return the text of this value, which is remembered: the response to a request that we stamped carries it."""
        text = str(self)
        if "<" not in text and '"' not in text:  # else a bracket that nobody closed would take in what was added behind it
            _WRITTEN.note(text, self)
        return text

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{self.params}"


def _parse(text: str) -> Via:
    before, semicolon, behind = text.partition(";")
    sent_by = _SENT_BY.read(before)
    if sent_by is _NOT_PLAIN:
        return Via.parse_any(text)
    if not semicolon:
        return sent_by
    params = Params.find_plain(behind)
    return Via.parse_any(text) if params is None else Via(sent_by.transport, sent_by.host, sent_by.port, params)


def _parse_sent_by(text: str) -> Via:
    match = _PLAIN_SENT_BY.fullmatch(text)
    if match is None:
        return _NOT_PLAIN
    transport, host, port = match.groups()
    return Via(transport, host, None if port is None else int(port))


_NOT_PLAIN = Via("", "")
_SENT_BY = Memory(_parse_sent_by)
_WRITTEN = Memory(_parse)


class CSeq(NamedTuple):
    """Sequence number (< 2**32) and method."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> "CSeq":
        """Parse a CSeq value. Raises :class:`ParseError`."""
        number, _, method = text.partition(" ")
        if method in COMMON_METHODS and len(number) < 10 and number.isascii() and number.isdigit():
            return cls(int(number), method)
        return cls.parse_any(text)

    @classmethod
    def parse_any(cls, text: str) -> "CSeq":
        """Parse any value, plain ones as :meth:`parse` does. Raises :class:`ParseError`."""
        match = _CSEQ.fullmatch(text)
        if match is None or int(match[1]) >= 2**32:
            raise ParseError("broken CSeq")
        return cls(int(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"
