"""Pure. Which UDP ports RTP sessions use.

RTP takes even ports, its RTCP the odd one above (RFC 3550 §11). A port that was given back rests for a while, so that
late packets of one call do not reach the next; only when no other is free it is lent before.
"""

from collections import deque

from sipua.errors import LimitError

QUARANTINE_S = 10.0  # longer than a peer goes on sending after a BYE that it answered

_LOWEST = 1024  # ports below need privileges
_HIGHEST = 65535


class PortAllocator:
    """The even ports of one range, each lent to one session at a time.

    *low* and *high* are inclusive; an odd *low* is rounded up. *offset* rotates the order, so that a restarted process does
    not begin with the ports of its predecessor. Raises :class:`ValueError` if no pair of ports fits.
    """

    def __init__(self, low: int, high: int, *, quarantine_s: float = QUARANTINE_S, offset: int = 0) -> None:
        if not _LOWEST <= low <= high <= _HIGHEST:
            raise ValueError(f"RTP port range {low}-{high} is not within {_LOWEST}-{_HIGHEST}")
        self._free = deque(range(low + low % 2, high, 2))
        if not self._free:
            raise ValueError(f"RTP port range {low}-{high} holds no even port with its odd neighbour")
        self._free.rotate(-offset)
        self._name = f"{low}-{high}"
        self._lent: set[int] = set()
        self._resting: deque[tuple[float, int]] = deque()
        self._quarantine_s = quarantine_s

    @property
    def lent(self) -> int:
        """How many ports are in use."""
        return len(self._lent)

    @property
    def size(self) -> int:
        """How many ports there are in all."""
        return len(self._free) + len(self._lent) + len(self._resting)

    def take(self, now: float) -> int:
        """Lend a port, one that still rests only when there is no other. Raises :class:`LimitError` if all are in use."""
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
        if not self._free and not self._resting:
            raise LimitError(f"no free RTP port in {self._name}: {len(self._lent)} in use")
        port = self._free.popleft() if self._free else self._resting.popleft()[1]  # late packets are less harm than a call refused
        self._lent.add(port)
        return port

    def release(self, port: int, now: float) -> None:
        """Take *port* back; it rests first. A port that is not lent is ignored, so that closing twice does no harm."""
        if port in self._lent:
            self._lent.discard(port)
            self._resting.append((now + self._quarantine_s, port))
