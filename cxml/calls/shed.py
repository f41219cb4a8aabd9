"""Pure. The account of what was shed: totals for the metrics, and the sums of each interval for one line of the log."""

from collections import Counter
from collections.abc import Mapping


class ShedAccount:
    """Counts by reason and peer; both come from closed sets and the configuration, never from the network."""

    def __init__(self) -> None:
        self.totals: Counter[tuple[str, str]] = Counter()
        self._told: Counter[tuple[str, str]] = Counter()
        self._unread: Counter[str] = Counter()
        self._last: dict[str, int] = {}

    def note(self, reason: str, peer: str = "") -> None:
        """A request was shed."""
        self.totals[reason, peer] += 1

    def watch(self, unread: Counter[str]) -> None:
        """Count what the transport layer drops unread, too: *unread* has totals by reason."""
        self._unread = unread

    def all(self) -> dict[tuple[str, str], int]:
        """Return all totals by reason and peer."""
        return {**self.totals, **{(reason, ""): count for reason, count in self._unread.items()}}

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why something was shed in this interval or the last one."""
        now = {reason for (reason, peer), count in self.all().items() if count > self._told[reason, peer]}
        return tuple(sorted(now | set(self._last)))

    def close_interval(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Return the sums since the last call, by reason and by peer; both are empty when nothing was shed."""
        reasons: Counter[str] = Counter()
        peers: Counter[str] = Counter()
        totals = self.all()
        for (reason, peer), count in totals.items():
            news = count - self._told[reason, peer]
            if news:
                reasons[reason] += news
                if peer:
                    peers[peer] += news
        self._told = Counter(totals)
        self._last = dict(reasons)
        return reasons, peers
