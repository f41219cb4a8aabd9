"""Pure. How a call's documents end, and what of them failed."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class EndReason(StrEnum):
    """Why the engine ended a call's documents; a verb that ends them says its own word."""

    COMPLETED = "completed"
    CALL_ENDED = "call_ended"
    REQUEST_FAILED = "request_failed"
    DOCUMENT_INVALID = "document_invalid"
    LOOP_GUARD = "loop_guard"
    CRASHED = "crashed"


ERRORS = frozenset({EndReason.REQUEST_FAILED, EndReason.DOCUMENT_INVALID, EndReason.LOOP_GUARD, EndReason.CRASHED})
"""Reasons after which an unanswered call fails."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How a call's documents ended: one word why, the last vendors' error code (0: none), and what was run."""

    reason: str
    error_code: int = 0
    documents: int = 0
    verbs: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A request or document that failed. ``told`` are the parameters of that request.

    ``owed`` marks a request that reports a result: the fallback URL learns it even if the call is over by now.
    """

    reason: EndReason
    code: int
    url: str
    told: Mapping[str, str]
    owed: bool = False
