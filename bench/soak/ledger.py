"""Every call of the soak with what it has to come to. Pure: nothing is lost, told twice, or told wrongly without standing here."""

from collections import Counter
from dataclasses import dataclass, field

MAX_EXAMPLES = 20
"""Problems that are kept as texts; all of them are counted."""


@dataclass(slots=True)
class _Entry:
    kind: str
    expected: str
    documents: int = 0
    outcome: str = ""
    is_over: bool = False


@dataclass(slots=True)
class Ledger:
    """Calls by their number, from the beginning until everything about them is known."""

    begun: Counter[str] = field(default_factory=Counter)
    completed: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    _open: dict[int, _Entry] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """Calls about which something is still to come."""
        return len(self._open)

    def begin(self, number: int, kind: str, expected: str) -> None:
        """A call begins; its action request has to say *expected*."""
        self.begun[kind] += 1
        self._open[number] = _Entry(kind, expected)

    def asked(self, number: int) -> None:
        """The first document was requested."""
        if (entry := self._entry(number, "document requested")) is not None:
            entry.documents += 1
            if entry.documents > 1:
                self.problem(entry.kind, number, "document requested twice")

    def told(self, number: int, outcome: str) -> None:
        """The action request came."""
        if (entry := self._entry(number, f"told {outcome}")) is None:
            return
        self.outcomes[entry.kind, outcome] += 1
        if entry.outcome:
            self.problem(entry.kind, number, f"told twice: {entry.outcome}, {outcome}")
        elif outcome != entry.expected:
            self.problem(entry.kind, number, f"told {outcome}, was {entry.expected}")
        entry.outcome = outcome
        self._close(number, entry)

    def over(self, number: int, problem: str = "") -> None:
        """The caller's side has ended; *problem*: how it went wrong."""
        entry = self._open[number]
        entry.is_over = True
        if problem:
            self.problem(entry.kind, number, problem)
        self._close(number, entry)

    def finish(self) -> None:
        """Nothing more can come: whatever is open is lost."""
        for number, entry in self._open.items():
            missing = "end of the call" if not entry.is_over else "action request" if entry.documents else "request for a document"
            self.problem(entry.kind, number, f"no {missing}")
        self._open.clear()

    def problem(self, kind: str, number: int, text: str) -> None:
        """Count a problem and keep the first ones."""
        self.problems[f"{kind}: {text}"] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"call {number} ({kind}): {text}")

    def _entry(self, number: int, what: str) -> _Entry | None:
        entry = self._open.get(number)
        if entry is None:
            self.problem("a call that is over or never was", number, what)
        return entry

    def _close(self, number: int, entry: _Entry) -> None:
        if entry.is_over and entry.outcome and entry.documents:
            self.completed[entry.kind] += 1
            del self._open[number]
