"""Pure. A finding: what is wrong, how sure that is, what showed it, and what to change."""

from dataclasses import dataclass
from enum import StrEnum

from cxml.doctor.catalogue import CATALOGUE
from cxml.doctor.pbx import PbxKind


class Severity(StrEnum):
    """``error``: calls or transfers fail; ``warning``: they may, or be reported wrongly; ``note``: good to know, no fault."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a PBX; *evidence* are SIP lines and measured values."""

    code: str
    severity: Severity
    text: str
    remedy: str
    evidence: tuple[str, ...] = ()

    @property
    def is_fault(self) -> bool:
        """True if it counts for the exit status."""
        return self.severity is not Severity.NOTE


def finding(code: str, kind: PbxKind, *evidence: str) -> Finding:
    """Make the finding *code* of the catalogue with the remedy for a PBX of *kind*."""
    advice = CATALOGUE[code]
    own = {PbxKind.ASTERISK: advice.asterisk, PbxKind.FREESWITCH: advice.freeswitch}.get(kind) or ""
    if not own and kind is PbxKind.OTHER:
        own = " ".join(f"{name}: {text}" for name, text in (("Asterisk", advice.asterisk), ("FreeSWITCH", advice.freeswitch)) if text)
    remedy = " ".join(part for part in (advice.remedy, own) if part)
    return Finding(code, Severity(advice.severity), advice.text, remedy, tuple(line for line in evidence if line))
