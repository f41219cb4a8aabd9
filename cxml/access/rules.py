"""Pure. What the gate goes by, and the words it speaks with its checks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from cxml.access.peers import Peer
from cxml.access.sources import BanRules
from sipua.message import Request
from sipua.transaction.admission import Refusal
from sipua.transport.base import Channel


class Strangers(StrEnum):
    """What a request gets that belongs to no peer."""

    SILENT = "silent"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class AccessRules:
    """How strangers are treated, how passwords are asked for, when a source is banned, and how many answers an unknown one gets."""

    strangers: Strangers = Strangers.SILENT
    realm: str = "cxmld"
    algorithms: Sequence[str] = ("SHA-256", "MD5")
    nonce_lifetime_s: float = 300.0
    bans: BanRules = field(default_factory=BanRules)
    max_answers_per_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that opens something, the way it came, and the peer that it is from."""

    request: Request
    channel: Channel
    peer: Peer


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a request doesn't come in: *reason* is one word of a closed set, for logs and metrics, *remedy* what an administrator may do.

    *is_refusal* is False for what good requests meet, too: the question for a password.
    """

    reason: str
    refusal: Refusal
    remedy: str = ""
    is_refusal: bool = True


Check = Callable[[Visit], Denial | None]
"""A limit: None lets the request in. Asked for every method but ACK and CANCEL; it must not block."""


class GateObserver(Protocol):
    """Who counts refusals."""

    def request_refused(self, reason: str, method: str) -> None:
        """A request outside a dialog didn't come in."""

    def source_banned(self) -> None:
        """A source was banned."""
