"""Pure. The header values of reliable provisional responses (RFC 3262 §7.1, §7.2)."""

import re
from typing import NamedTuple

from sipua.errors import ParseError
from sipua.message.grammar import TOKEN

MAX_RSEQ = 2**32 - 1
_RACK = re.compile(rf"\s*([0-9]{{1,10}})\s+([0-9]{{1,10}})\s+({TOKEN})\s*")
_RSEQ = re.compile(r"\s*([0-9]{1,10})\s*")


class RAck(NamedTuple):
    """What a PRACK acknowledges: the number of the response, and number and method of the request that it answers."""

    rseq: int
    cseq: int
    method: str

    @classmethod
    def parse(cls, text: str) -> "RAck":
        """Parse a RAck value. Raises :class:`ParseError`."""
        match = _RACK.fullmatch(text)
        if match is None or int(match[1]) > MAX_RSEQ or int(match[2]) >= 2**32:
            raise ParseError("broken RAck")
        return cls(int(match[1]), int(match[2]), match[3])

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"


def parse_rseq(text: str) -> int:
    """Parse an RSeq value: 1 to 2**32-1. Raises :class:`ParseError`."""
    match = _RSEQ.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= MAX_RSEQ:
        raise ParseError("broken RSeq")
    return int(match[1])
