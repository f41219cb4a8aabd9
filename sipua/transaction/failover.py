"""Pure. When a request goes on to the next server, and which servers wait their turn (RFC 3263 §4.3, docs/spec/server-location.md)."""

from collections.abc import Iterable
from enum import StrEnum

from sipua.transport.base import Endpoint

DEAD_S = 30.0  # how long a server that failed comes after the others: long enough for a call's requests, short enough to come back
MAX_DEAD_S = 600.0  # a Retry-After does not send us away for longer: the others may be worse by then
MAX_DEAD = 1024  # servers that are remembered
MAX_TARGETS = 8  # servers that one request tries: over UDP each may take 32 s


class Leave(StrEnum):
    """Why a server is left for the next one."""

    TIMEOUT = "timeout"
    TRANSPORT = "transport"
    UNAVAILABLE = "503"


def why_leave(method: str, provisional: int, end: Leave | int) -> Leave | None:
    """Return why a transaction with *end*, a status or a failure, lets its request go on to the next server; None: it doesn't.

    *provisional* is the highest 1xx that came, 0 for none. Silence and a lost transport count only when nothing came at all: else the
    server has the request and may act on it. A 503 counts unless a callee was reached already.
    """
    if end in (Leave.TIMEOUT, Leave.TRANSPORT):
        return Leave(end) if provisional == 0 else None
    if end in (503, Leave.UNAVAILABLE) and not (method == "INVITE" and provisional > 100):
        return Leave.UNAVAILABLE
    return None


class DeadServers:
    """Servers that failed a moment ago. They are tried last, not never."""

    def __init__(self) -> None:
        self._until: dict[Endpoint, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def mark(self, server: Endpoint, now: float, retry_after_s: float | None = None) -> None:
        """Remember that *server* failed, for *retry_after_s* seconds where it said so (RFC 3261 §21.5.4)."""
        self._until.pop(server, None)
        while len(self._until) >= MAX_DEAD:
            del self._until[next(iter(self._until))]
        self._until[server] = now + min(DEAD_S if retry_after_s is None else retry_after_s, MAX_DEAD_S)

    def revive(self, server: Endpoint) -> None:
        """*server* has answered."""
        self._until.pop(server, None)

    def order(self, servers: Iterable[Endpoint], now: float) -> list[Endpoint]:
        """Return *servers* with those that failed behind the others, the ones that come back first before the rest."""
        return sorted(servers, key=lambda server: until if (until := self._until.get(server, 0.0)) > now else 0.0)
