"""Pure. A token bucket: so many events a second in the long run, and a burst at once; and one for each of many sources."""

from collections import OrderedDict

MAX_SOURCES = 4096  # sources whose rate is remembered; the one that was quiet longest is forgotten


class TokenBucket:
    """Holds *burst* tokens at most and gets *rate* new ones a second. ``now`` is monotonic time in seconds."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_at = now

    def has_one(self, now: float) -> bool:
        """Tell whether a token is there, without taking it."""
        elapsed = now - self._filled_at
        if elapsed > 0.0:  # a clock that stands still or goes back gives nothing and takes nothing
            self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
        self._filled_at = now
        return self._tokens >= 1.0

    def take(self, now: float) -> bool:
        """Take a token; return False when there is none."""
        tokens, elapsed = self._tokens, now - self._filled_at
        if elapsed > 0.0:
            tokens += elapsed * self._rate
            tokens = min(tokens, self._burst)
        self._filled_at = now
        is_there = tokens >= 1.0
        self._tokens = tokens - 1.0 if is_there else tokens
        return is_there

    def spend(self, count: int, now: float) -> None:
        """Take *count* tokens that others have used up since the last look, evenly as far as is known: no debt is left."""
        news = max(0.0, now - self._filled_at) * self._rate - count
        self._tokens = min(self._burst, max(0.0, self._tokens + news))
        self._filled_at = now


class SourceBuckets:
    """A bucket for each source, of a bounded number of sources. Another *rate* holds for sources that are new or were forgotten."""

    def __init__(self, max_sources: int = MAX_SOURCES) -> None:
        self._max_sources = max_sources
        self._of: OrderedDict[str, TokenBucket] = OrderedDict()
        self._last: TokenBucket | None = None

    def __len__(self) -> int:
        return len(self._of)

    def take(self, source: str, rate: float, burst: float, now: float) -> bool:
        """Take a token of *source*; return False when there is none."""
        bucket = self._of.get(source)
        if bucket is None:
            if len(self._of) >= self._max_sources:
                self._of.popitem(last=False)
            bucket = self._of[source] = TokenBucket(rate, burst, now)
        elif bucket is not self._last:
            self._of.move_to_end(source)
        self._last = bucket
        return bucket.take(now)
