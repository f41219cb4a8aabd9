"""Pure. One line for each kind of refusal in an interval: a flood of requests must not become a flood of lines."""

from collections.abc import Hashable
from typing import Final

LOG_INTERVAL_S: Final = 10.0
"""Between two lines of one kind."""


class Quiet:
    """Decides which refusals are logged, and counts those that are held back. Keys are of a closed set."""

    def __init__(self, interval_s: float = LOG_INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._until: dict[Hashable, float] = {}
        self._held: dict[Hashable, int] = {}

    def held_back(self, key: Hashable, now: float) -> int | None:
        """Return how many of kind *key* were held back since its last line; None to hold this one back, too."""
        if now < self._until.get(key, 0.0):
            self._held[key] = self._held.get(key, 0) + 1
            return None
        self._until[key] = now + self._interval_s
        return self._held.pop(key, 0)
