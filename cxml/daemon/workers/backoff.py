"""Pure. When a worker that died is started again (docs/spec/workers.md)."""

from typing import Final

STEADY_S: Final = 60.0
"""A worker that lived so long dies of something rare: its successor comes at once."""

LONGEST_S: Final = 30.0
"""A fault that comes with every start costs a start's work twice a minute."""


class Backoff:
    """Counts short lives in a row."""

    def __init__(self) -> None:
        self._short = 0

    def delay(self, lived_s: float) -> float:
        """Return how many seconds to wait after a life of *lived_s* seconds."""
        if lived_s >= STEADY_S:
            self._short = 0
            return 0.0
        self._short += 1
        return 0.0 if self._short == 1 else min(2.0 ** (self._short - 2), LONGEST_S)
