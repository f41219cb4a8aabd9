"""Pure. Collisions of re-INVITEs and UPDATEs (docs/spec/invite.md, "re-INVITE and UPDATE")."""

from enum import StrEnum

OWNER_WAIT_S = (2.1, 4.0)
"""How long the owner of the Call-ID waits after 491 (RFC 3261 §14.1)."""

OTHER_WAIT_S = (0.0, 2.0)
"""How long the other side waits."""

RETRY_AFTER_S = (0, 10)
"""Retry-After of a 500 to an overlapping request (RFC 3261 §14.2)."""


class Pending(StrEnum):
    """What is under way on the dialog."""

    NOTHING = "nothing"
    OURS = "ours"
    THEIRS = "theirs"
    UNACKED = "unacked"


def answer_invite(pending: Pending) -> int:
    """Return the status that refuses an INVITE which comes in now, 0 to take it (RFC 3261 §14.2)."""
    return {Pending.NOTHING: 0, Pending.OURS: 491}.get(pending, 500)


def may_send_invite(pending: Pending) -> bool:
    """Tell whether an INVITE of ours may leave now (RFC 3261 §14.1)."""
    return pending is Pending.NOTHING


def wait_range(*, is_owner: bool) -> tuple[float, float]:
    """Return the bounds in seconds of the random wait after a 491; round to 10 ms."""
    return OWNER_WAIT_S if is_owner else OTHER_WAIT_S
