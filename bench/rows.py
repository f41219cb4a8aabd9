"""The figures of one unit, and how they are kept in a file."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Percentiles = dict[int, float]


@dataclass(slots=True)
class Row:
    """The figures of one unit. Those by rate are by transfers a second, milliseconds of latency by percentile, memory by open dialogs.

    *share* is what each of its *workers* had of the core.
    """

    name: str
    job: str
    missing: str = ""
    start_s: float = 0.0
    cpu_ms: dict[int, float] = field(default_factory=dict)
    cpu_all_ms: dict[int, list[float]] = field(default_factory=dict)
    foreign: float = 0.0
    sustained: list[int] = field(default_factory=list)
    answer_ms: dict[int, Percentiles] = field(default_factory=dict)
    answer_all_ms: dict[int, list[Percentiles]] = field(default_factory=dict)
    action_ms: dict[int, Percentiles] = field(default_factory=dict)
    action_all_ms: dict[int, list[Percentiles]] = field(default_factory=dict)
    kib_per_dialog: dict[int, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    workers: int = 1
    share: float = 1.0

    def take_medians(self, repeats: int) -> None:
        """Fill the medians from the tries; a figure that less than half of the *repeats* reached has none."""
        self.cpu_ms = {rate: statistics.median(tries) for rate, tries in self.cpu_all_ms.items() if len(tries) * 2 > repeats}
        self.answer_ms = _medians(self.answer_all_ms, repeats)
        self.action_ms = _medians(self.action_all_ms, repeats)


def _medians(all_ms: Mapping[int, Sequence[Percentiles]], repeats: int) -> dict[int, Percentiles]:
    return {
        rate: {percent: statistics.median(one[percent] for one in tries) for percent in tries[0]}
        for rate, tries in all_ms.items()
        if len(tries) * 2 > repeats
    }


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run: the machine, what was asked for, and a row for each unit; *ended_at* is what an interrupt broke off."""

    machine: Mapping[str, str]
    plan: Mapping[str, Any]
    rows: Sequence[Row]
    ended_at: str = ""

    def save(self, path: Path) -> None:
        """Write the run as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        kept: dict[str, Any] = {"machine": dict(self.machine), "plan": dict(self.plan)}
        if self.ended_at:
            kept["ended_at"] = self.ended_at
        kept["units"] = [asdict(row) for row in self.rows]
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Run":
        """Read a run that was saved."""
        kept = json.loads(path.read_text(encoding="utf-8"))
        return cls(kept["machine"], kept["plan"], [Row(**_numbered(unit)) for unit in kept["units"]], kept.get("ended_at", ""))


def _numbered(value: Any) -> Any:
    """JSON knows no numbers as keys: turn texts of digits back."""
    if isinstance(value, list):
        return [_numbered(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {int(key) if key.isdigit() else key: _numbered(inner) for key, inner in value.items()}
