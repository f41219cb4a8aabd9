"""SIPp as the unit under test: C++, a fixed script, no decision to make. The ceiling."""

from collections.abc import Sequence

from bench import scenario
from bench.caller import command
from bench.units.base import Unit


class SippUas(Unit):
    """SIPp answers, refers and hangs up."""

    name = "SIPp"
    figures = ("cpu", "latency", "sustained")

    def command(self) -> Sequence[str]:
        """Wait for calls."""
        (self.folder / "scenario.xml").write_text(scenario.answering(), encoding="utf-8")
        return command(None, self.port, self.core)

    def is_ready(self) -> bool:
        """SIPp answers no OPTIONS: its statistics begin when it listens."""
        return (self.folder / "stat.csv").exists()
