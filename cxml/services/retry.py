"""Pure. Which failures of a webhook request are worth another attempt, and after how long."""

from dataclasses import dataclass
from enum import StrEnum

FIRST_DELAY_S = 0.1  # doubled for each further attempt; the total time-out ends the series anyway


class RetryOn(StrEnum):
    """A class of failures, by the words of the ``rp`` override."""

    CONNECT = "ct"
    READ = "rt"
    STATUS_4XX = "4xx"
    STATUS_5XX = "5xx"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most *retries* further attempts, only after failures of the classes *on*."""

    retries: int = 0
    on: frozenset[RetryOn] = frozenset({RetryOn.CONNECT})

    def allows(self, attempts_made: int, cause: RetryOn | None) -> bool:
        """Tell whether another attempt may follow the *attempts_made*-th, which failed because of *cause* (None: never retried)."""
        return attempts_made <= self.retries and cause in self.on

    def delay_s(self, attempts_made: int) -> float:
        """Return the seconds to wait before the attempt that follows the *attempts_made*-th."""
        return FIRST_DELAY_S * float(2 ** (attempts_made - 1))
