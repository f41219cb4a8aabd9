"""Counters and histograms that cost a dictionary look-up, and become series only when somebody asks for the metrics.

The daemon counts in one thread, so nothing here takes a lock.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Tally(Collector):
    """A counter by labels, or without any."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._counts: dict[tuple[str, ...], int] = {}
        self._created: dict[tuple[str, ...], float] = {}
        if not labels:
            self._begin(())

    def _begin(self, labels: tuple[str, ...]) -> None:
        self._counts[labels] = 0
        self._created[labels] = datetime.now(UTC).timestamp()

    def inc(self, *labels: str, by: int = 1) -> None:
        """Count *by* more with these *labels*."""
        try:
            self._counts[labels] += by
        except KeyError:
            self._begin(labels)
            self._counts[labels] += by

    def collect(self) -> Iterable[Metric]:
        """Yield the family."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count, created=self._created[labels])
        yield family


class Total(Collector):
    """A counter that somebody else keeps: read from ``count`` when somebody asks."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self.count: Callable[[], int] = int

    def collect(self) -> Iterable[Metric]:
        """Yield the family."""
        yield CounterMetricFamily(self._name, self._text, self.count())


class Distribution(Collector):
    """A histogram without labels; *bounds* are the upper bounds of its buckets, ascending."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        self._created = datetime.now(UTC).timestamp()

    def observe(self, amount: float) -> None:
        """Count *amount*."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def collect(self) -> Iterable[Metric]:
        """Yield the family."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        total = 0
        buckets = []
        for name, count in zip(names, self._counts, strict=True):
            total += count
            buckets.append((name, float(total)))
        family = HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)
        family.add_sample(f"{self._name}_created", {}, self._created)
        yield family
