"""Pure. The report of an examination: as text, as JSON, as a ladder; without secrets and control characters."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cxml.daemon.ladder import Rung, render
from cxml.daemon.redaction import Redactor
from cxml.doctor.findings import Finding, Severity
from cxml.doctor.seen import Seen
from cxml.doctor.transfers import reported
from sipua.message import Request, Response

WELL, FAULTS, NOT_RUN = 0, 1, 2
"""Exit statuses: nothing to mend, findings, it could not be run to the end."""

_STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}

NOT_TESTED = (
    "Not tested: calls from the PBX to cxmld. This check can only call out; in service the PBX calls cxmld. Its dialplan towards cxmld, the"
    " address that it dials and the daemon's own ports are shown by a call: docs/howto/check-your-pbx.md."
)


@dataclass(slots=True)
class Report:
    """What is told of one examination."""

    peer: str
    uri: str
    product: str = ""
    steps: list[tuple[str, str]] = field(default_factory=list)
    findings: tuple[Finding, ...] = ()
    fault: str = ""
    """Why it did not come to its end: interrupted, out of time."""

    @property
    def status(self) -> int:
        """The exit status."""
        if self.fault:
            return NOT_RUN
        return FAULTS if any(item.is_fault for item in self.findings) else WELL

    def as_json(self, redactor: Redactor) -> str:
        """Return the report as JSON."""
        plain = {
            "peer": redactor.text(self.peer),
            "uri": redactor.text(self.uri),
            "pbx": redactor.text(self.product),
            "steps": [{"name": name, "result": redactor.text(result)} for name, result in self.steps],
            "findings": [
                {
                    "code": item.code,
                    "severity": item.severity.value,
                    "text": item.text,
                    "remedy": item.remedy,
                    "evidence": list(item.evidence),
                }
                for item in self._safe(redactor)
            ],
            "fault": redactor.text(self.fault),
            "status": self.status,
        }
        return json.dumps(plain, ensure_ascii=False, indent=2)

    def show(self, console: Console, redactor: Redactor) -> None:
        """Print the findings, in a table on a terminal and as plain lines elsewhere."""
        if console.is_terminal and self.findings:
            console.print(self._table(redactor))
        else:
            for item in self._safe(redactor):
                for line in lines_of(item):
                    console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print(redactor.text(self._verdict()), markup=False, highlight=False, soft_wrap=True)
        if not self.fault:
            console.print(NOT_TESTED, markup=False, highlight=False, soft_wrap=True)

    def _table(self, redactor: Redactor) -> Table:
        table = Table(show_lines=True)
        for name in ("finding", "what is wrong", "seen", "what to change"):
            table.add_column(name, overflow="fold")
        for item in self._safe(redactor):
            cells = [f"{item.severity}\n{item.code}", item.text, "\n".join(item.evidence), item.remedy]
            safe = [escape(cell) for cell in cells]
            table.add_row(f"[{_STYLE[item.severity]}]{safe[0]}[/]", *safe[1:])
        return table

    def _safe(self, redactor: Redactor) -> list[Finding]:
        """Return the findings, what the PBX sent without secrets; the rest is ours, where a password such as "cxmld" is only a word."""
        return [replace(item, evidence=tuple(redactor.text(line) for line in item.evidence)) for item in self.findings]

    def _verdict(self) -> str:
        faults = sum(item.is_fault for item in self.findings)
        if self.fault:
            return f"{self.fault}."
        return "All well." if not faults else f"{faults} finding{'s' if faults > 1 else ''}."


def lines_of(item: Finding) -> list[str]:
    """Return a finding as plain lines."""
    lines = [f"{item.severity} {item.code}: {item.text}"]
    lines += [f"    seen: {evidence}" for evidence in item.evidence]
    return [*lines, f"    do: {item.remedy}"] if item.remedy else lines


def ladder(seen: Sequence[Seen]) -> list[str]:
    """Return every message as a ladder between this check and the PBX."""
    ours, theirs = ("doctor", "PBX"), ("PBX", "doctor")
    return render(ours, [Rung(item.at_s, *(ours if item.is_ours else theirs), _label(item)) for item in seen])


def _label(seen: Seen) -> str:
    message = seen.message
    if isinstance(message, Response):
        return f"{message.status} {message.reason} ({seen.method})"
    if isinstance(message, Request) and message.method == "NOTIFY":
        return f"NOTIFY {reported(seen) or ''}"
    refer_to = seen.header("Refer-To")
    return f"{seen.method} {refer_to}" if refer_to else seen.method
