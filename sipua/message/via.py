"""Pure. Via (RFC 3261 §20.42, RFC 3581) and CSeq (§20.16)."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from sipua.errors import ParseError
from sipua.message.grammar import HOST, TOKEN
from sipua.message.params import EMPTY, Params

MAGIC_COOKIE = "z9hG4bK"
"""What a branch of RFC 3261 begins with (§8.1.1.7)."""

_VIA = re.compile(
    rf"\s*SIP\s*/\s*2\.0\s*/\s*(?P<transport>{TOKEN})\s+(?P<host>{HOST})(?:\s*:\s*(?P<port>[0-9]{{1,5}}))?\s*(?P<params>;.*)?",
    re.IGNORECASE | re.DOTALL,
)
_CSEQ = re.compile(rf"\s*([0-9]{{1,10}})\s+({TOKEN})\s*")


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value: the transport in upper case, the sent-by host and port (None when absent), and parameters."""

    transport: str
    host: str
    port: int | None = None
    params: Params = EMPTY

    @classmethod
    def parse(cls, text: str) -> "Via":
        """Parse one value. Raises :class:`ParseError`."""
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

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{self.params}"


class CSeq(NamedTuple):
    """Sequence number (< 2**32) and method."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> "CSeq":
        """Parse a CSeq value. Raises :class:`ParseError`."""
        match = _CSEQ.fullmatch(text)
        if match is None or int(match[1]) >= 2**32:
            raise ParseError("broken CSeq")
        return cls(int(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"
