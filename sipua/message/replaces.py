"""Pure. The dialog that an INVITE wants to take the place of (RFC 3891 §6.1)."""

from dataclasses import dataclass

from sipua.errors import ParseError
from sipua.message.grammar import is_token
from sipua.message.params import Params


@dataclass(frozen=True, slots=True)
class Replaces:
    """A Replaces value: Call-ID, the tag of the side that receives the INVITE, that of its peer, and the flag ``early-only``."""

    call_id: str
    to_tag: str
    from_tag: str
    is_early_only: bool = False

    @classmethod
    def parse(cls, text: str) -> "Replaces":
        """Parse one value; both tags must be there, once. Raises :class:`ParseError`."""
        call_id, _, rest = text.partition(";")
        params = Params.parse(rest)
        names = [name.lower() for name, _ in params]
        call_id = call_id.strip()
        if not call_id or any(c.isspace() for c in call_id) or names.count("to-tag") != 1 or names.count("from-tag") != 1:
            raise ParseError("broken Replaces")
        to_tag, from_tag = params.get("to-tag"), params.get("from-tag")
        if not to_tag or not from_tag or not is_token(to_tag) or not is_token(from_tag):
            raise ParseError("Replaces without a tag")
        # RFC 3891 §6.1: a tag of 0 stands for the null tag of RFC 2543
        return cls(call_id, "" if to_tag == "0" else to_tag, "" if from_tag == "0" else from_tag, "early-only" in params)

    def __str__(self) -> str:
        early = ";early-only" if self.is_early_only else ""
        return f"{self.call_id};to-tag={self.to_tag or 0};from-tag={self.from_tag or 0}{early}"
