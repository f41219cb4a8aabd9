"""What counts as growth, and what has to be given back. Pure: samples in, findings out.

While calls come at a steady rate every figure is steady, too, once the first of them are over. So the samples after the warm-up are cut
into thirds, and the median of the last third is compared with that of the first: a median forgets a sample taken at a bad moment. After the
last call everything that calls hold has to come back to what it was before the first one, exactly.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WARM_UP_S = 90.0
"""Longer than a call without an outcome lasts, and its transactions after it: from then on as many end as begin."""
LEAST_SAMPLES = 3
"""In each third: fewer have no median worth the name."""
EVERY_S = 10.0
LEAST_S = WARM_UP_S + (3 * LEAST_SAMPLES + 1) * EVERY_S
"""The shortest soak that can be judged."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Figures by name at *at_s* seconds after the first call."""

    at_s: float
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much larger the last third's median may be than the first's: a share of it, and a number besides."""

    share: float
    number: float

    def limit(self, first: float) -> float:
        """Return the largest median of the last third that is no growth."""
        return first * (1 + self.share) + self.number


COUNTED = Allowance(0.1, 10)
"""Calls are random: a tenth more of them may be open."""
ALLOWED: Mapping[str, Allowance] = {
    "memory_kib": Allowance(0.01, 1024),  # the allocator's pools fill for some minutes
    "tasks": COUNTED,
    "transactions": COUNTED,
    "dialogs": COUNTED,
    "connections": COUNTED,
    "rtp_ports": COUNTED,
    "descriptors": COUNTED,
}
HELD_BY_CALLS = ("calls", "transactions", "dialogs", "connections", "rtp_ports", "tasks", "descriptors")
"""What has to come back to where it was. Memory does not: allocators keep pages."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A figure's medians over the first and the last third, and the largest last one that is no growth."""

    figure: str
    first: float
    last: float
    limit: float

    @property
    def grows(self) -> bool:
        """True when the last third is above the limit."""
        return self.last > self.limit


def trends(samples: Sequence[Sample], until_s: float, warm_up_s: float = WARM_UP_S) -> list[Trend]:
    """Return the trend of each figure over the samples between the warm-up and *until_s*.

    Raises :class:`ValueError` when there are too few.
    """
    steady = [sample for sample in samples if warm_up_s <= sample.at_s <= until_s]
    third = len(steady) // 3
    if third < LEAST_SAMPLES:
        raise ValueError(f"{len(steady)} samples after the warm-up of {warm_up_s:g} s are too few to judge: soak for longer")
    found = []
    for figure, allowance in ALLOWED.items():
        first, last = (
            statistics.median(sample.figures[figure] for sample in part) for part in (steady[:third], steady[len(steady) - third :])
        )
        found.append(Trend(figure, first, last, allowance.limit(first)))
    return found


def left_over(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return the figures that are higher after all calls than before the first one, with both values."""
    return {name: (before[name], after[name]) for name in HELD_BY_CALLS if after[name] > before[name]}
