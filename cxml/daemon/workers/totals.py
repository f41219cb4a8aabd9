"""Pure. The metrics of several processes as those of one: counters and histograms are added, gauges by what they mean.

A snapshot is what a registry has to show, in plain values that can be sent: families of name, text, type and samples.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

Sample = tuple[str, Mapping[str, str], float]
Family = tuple[str, str, str, list[Sample]]
Snapshot = list[Family]

LEAST: Final = frozenset({"cxmld_tls_certificate_end_timestamp_seconds", "process_start_time_seconds"})
MOST: Final = frozenset({"cxmld_build", "cxmld_banned_sources", "process_max_fds"})
"""Gauges that are about the same thing in each process; all others are added."""

_ADDED: Final = frozenset({"counter", "histogram"})
_CREATED: Final = "_created"


def snapshot(registry: Collector) -> Snapshot:
    """Return what *registry* has now."""
    return [
        (family.name, family.documentation, family.type, [(s.name, dict(s.labels), float(s.value)) for s in family.samples])
        for family in registry.collect()
    ]


def add_up(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the sum of *snapshots*."""
    families: dict[str, Family] = {}
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    order: dict[str, list[tuple[str, tuple[tuple[str, str], ...]]]] = {}
    for one in snapshots:
        for name, text, kind, samples in one:
            families.setdefault(name, (name, text, kind, []))
            for sample, labels, value in samples:
                key = (sample, tuple(labels.items()))
                if key in values:
                    values[key] = _join(name, sample, values[key], value)
                else:
                    values[key] = value
                    order.setdefault(name, []).append(key)
    return [
        (name, text, kind, [(key[0], dict(key[1]), values[key]) for key in order.get(name, ())])
        for name, text, kind, _ in families.values()
    ]


def _join(family: str, sample: str, one: float, other: float) -> float:
    if family in LEAST or sample.endswith(_CREATED):
        return min(one, other)
    return max(one, other) if family in MOST else one + other


def what_remains(former: Snapshot) -> Snapshot:
    """Return what still counts of a process that is gone: totals, so that no sum ever falls."""
    return [family for family in former if family[2] in _ADDED]


class Families(Collector):
    """Shows a snapshot."""

    def __init__(self, families: Snapshot) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Yield the families."""
        for name, text, kind, samples in self._families:
            metric = Metric(name, text, kind)
            for sample, labels, value in samples:
                metric.add_sample(sample, dict(labels), value)
            yield metric
