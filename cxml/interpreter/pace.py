"""Pure. What keeps the documents of one call from running away: their pace, and the number of failures in a row."""

DOCUMENT_BURST = 20
"""Documents that a call may run without a wait: any chain of ``<Redirect>`` that is meant."""

DOCUMENTS_PER_S = 1.0
"""What follows a burst: a loop of ``<Redirect>`` costs its server and this daemon one request a second, not hundreds."""

MAX_FAILURES = 10
"""Failures in a row that are answered by the fallback URL."""

FAILURES_APART_S = 5.0
"""Failures this far apart are not in a row: something has happened between them, and nothing runs away."""


class Pace:
    """A bucket of documents: :data:`DOCUMENT_BURST` at first, refilled by :data:`DOCUMENTS_PER_S`."""

    __slots__ = ("_room", "_seen_at")

    def __init__(self, taken: int = 0, seen_at: float | None = None) -> None:
        """*taken* places were used up at the time *seen_at*."""
        self._room = float(DOCUMENT_BURST - taken)
        self._seen_at = seen_at

    def delay_s(self, now: float) -> float:
        """Take a place for one more document at *now* (seconds of any steady clock); return the seconds until it may run."""
        passed = 0.0 if self._seen_at is None else now - self._seen_at
        self._seen_at = now
        self._room = min(float(DOCUMENT_BURST), self._room + passed * DOCUMENTS_PER_S) - 1.0
        return max(0.0, -self._room / DOCUMENTS_PER_S)


class Failures:
    """Counts failures in a row."""

    __slots__ = ("_count", "_last_at")

    def __init__(self) -> None:
        self._count = 0
        self._last_at: float | None = None

    def are_too_many(self, now: float) -> bool:
        """Count one more at *now* (seconds of any steady clock) and tell whether that is beyond :data:`MAX_FAILURES`."""
        in_a_row = self._last_at is not None and now - self._last_at < FAILURES_APART_S
        self._count = self._count + 1 if in_a_row else 1
        self._last_at = now
        return self._count > MAX_FAILURES
