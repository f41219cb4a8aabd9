"""Pure. What keeps the transaction layer small in a flood (docs/spec/overload.md, "Transactions")."""

from collections import OrderedDict

from sipua.transaction.admission import Refusal
from sipua.transaction.key import ServerKey

MAX_SERVERS = 64_000
"""Server transactions at a time: 32 s of what 400 calls a second leave behind, with five requests each; at rest they take 50 MiB."""

MAX_REFUSED = 8192
"""Refused INVITEs that are remembered: 32 s of 250 a second. What is forgotten early is judged anew when it comes again."""

RETRY_AFTER_S = range(5, 15)
"""What a 503 for want of room says, spread so that refused callers do not come back at once (RFC 3261 §21.5.4)."""


def overloaded(tag: int) -> Refusal:
    """Return the answer to a request that there is no room for; *tag*, a hash of its key, chooses the time to wait."""
    return Refusal(503, headers=(("Retry-After", str(RETRY_AFTER_S[tag % len(RETRY_AFTER_S)])),))


class RefusedInvites:
    """Remembers the 503s of INVITEs, so that a copy that comes later gets the same answer and never becomes a call nobody waits for."""

    def __init__(self, keep_s: float) -> None:
        """*keep_s*: how long an INVITE may be repeated, 64*T1."""
        self._keep_s = keep_s
        self._refusals: OrderedDict[int, tuple[float, Refusal]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._refusals)

    def add(self, key: ServerKey, refusal: Refusal, now: float) -> None:
        """Remember *refusal*; of the key only its hash is kept, which nobody outside can foresee."""
        if len(self._refusals) >= MAX_REFUSED:
            self._refusals.popitem(last=False)
        self._refusals[hash(key)] = (now + self._keep_s, refusal)
        while self._refusals:
            first = next(iter(self._refusals))
            if self._refusals[first][0] > now:
                break
            del self._refusals[first]

    def find(self, key: ServerKey, now: float) -> Refusal | None:
        """Return what the same INVITE got before."""
        if not self._refusals:
            return None
        until, refusal = self._refusals.get(hash(key), (now, None))
        return refusal if until > now else None
