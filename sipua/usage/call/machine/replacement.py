"""Pure. What an INVITE with Replaces gets (RFC 3891 §3; docs/spec/replaces.md)."""

from enum import StrEnum

from sipua.errors import ParseError
from sipua.message import Request
from sipua.message.replaces import Replaces


class Found(StrEnum):
    """What the header points at."""

    NOTHING = "nothing"
    OVER = "a call that is over"
    RINGING_HERE = "a call that rings here"
    RINGING_THERE = "a call of ours that rings there"
    UP = "a call that is up"
    OTHERS = "a call of another peer"


def read_replaces(invite: Request) -> Replaces:
    """Return the dialog that *invite* wants to replace. Raises :class:`ParseError` for several, for one beside Join or a broken one."""
    values = invite.headers.values("Replaces")
    if len(values) != 1:
        raise ParseError("one Replaces is allowed")
    if "Join" in invite.headers:
        raise ParseError("Replaces and Join exclude each other")
    return Replaces.parse(values[0])


def answer_replacing(found: Found, *, is_early_only: bool) -> int:
    """Return the status that refuses an INVITE, 0 to let it take the place of the call it points at."""
    if found is Found.UP:
        return 486 if is_early_only else 0
    refusals = {Found.NOTHING: 481, Found.OVER: 603, Found.RINGING_HERE: 481, Found.OTHERS: 403}
    return refusals.get(found, 0)
