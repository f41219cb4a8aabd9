"""Pure. Whether calls are taken."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Readiness:
    """Why calls are not taken, one short text each; empty: they are.

    *shedding* says why some of them are not: that is no reason to send calls elsewhere, for then all others would be overloaded next.
    *missing* says what is down though calls are taken.
    """

    reasons: tuple[str, ...] = ()
    shedding: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        """True if calls are taken."""
        return not self.reasons

    @property
    def status(self) -> str:
        """The state in a word or two."""
        if not self.is_ready:
            return "not ready"
        return "degraded" if self.missing else "ready"
