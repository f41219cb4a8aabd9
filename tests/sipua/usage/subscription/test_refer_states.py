"""Walks the state table and the timed outcomes of ``docs/spec/refer.md``."""

import re
from collections.abc import Sequence

import pytest

from sipua.effects import Effect, Terminated
from sipua.usage.subscription.machine import AnswerNotify
from sipua.usage.subscription.refer import Concluded, Progress, ReferSettings
from tests.support.tables import SPEC, read_table
from tests.support.transfers import START, TransferWalk

SITUATIONS = {row["situation"]: row for row in read_table(SPEC / "refer.md", "Situations")}
ROWS = read_table(SPEC / "refer.md", "State table")
TIMED = read_table(SPEC / "refer.md", "Timed outcomes")


class Recorder(TransferWalk):
    """A walk that writes down the effects of the last event as the table does."""

    def __init__(self) -> None:
        super().__init__(step=0.0, is_sent=False)
        self.effects: list[str] = []

    def take(self, effects: Sequence[Effect]) -> None:
        super().take(effects)
        self.effects += [describe(effect) for effect in effects]

    def apply(self, event: str) -> None:
        self.effects.clear()
        if is_timer(event):
            name = event.removeprefix("timer ")
            deadline = self.transfer.timers.deadline(name)
            assert deadline is not None
            for other in ("N", "expires", "verb", "linger", "T4"):
                if other != name:
                    self.transfer.timers.stop(other)
            self.now = deadline
            self.take(self.transfer.tick(deadline))
        elif event == "sent":
            self.take(self.transfer.sent(self.refer_cseq, self.now))
        else:
            self.run(event)


def is_timer(event: str) -> bool:
    """Tell whether *event* is a timer of the machine; Timer F is the transaction's."""
    return event.startswith("timer ") and event != "timer F"


def describe(effect: Effect) -> str:
    if isinstance(effect, AnswerNotify):
        return f"answer {effect.status}"
    if isinstance(effect, Progress):
        return f"progress {effect.code}"
    if isinstance(effect, Concluded):
        return f"outcome {effect.outcome.kind}"
    assert isinstance(effect, Terminated)
    return "terminated"


def reach(situation: str) -> Recorder:
    run = Recorder()
    for event in SITUATIONS[situation]["events"].split(";"):
        if event.strip() not in ("", "–"):
            run.apply(event.strip())
    return run


@pytest.mark.parametrize("situation", SITUATIONS)
def test_situation_is_reached_and_has_its_timers(situation: str) -> None:
    row = SITUATIONS[situation]
    run = reach(situation)
    assert run.transfer.state == row["state"]
    timers = {name for name in ("N", "expires", "verb", "linger", "T4") if name in run.transfer.timers}
    assert run.transfer.is_subscribed is (row["subscribed"] == "yes")
    assert timers == {name.strip() for name in row["timers"].split(",")} - {"–"}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_input_does_what_the_state_table_says(situation: str) -> None:
    """An input without a row changes nothing."""
    rows = {row["input"]: row for row in ROWS if row["situation"] == situation}
    timers = {f"timer {name.strip()}" for name in SITUATIONS[situation]["timers"].split(",")} - {"timer –"}
    plain = {row["input"] for row in ROWS if not is_timer(row["input"])}
    unchanged = {"next state": SITUATIONS[situation]["state"], "effects": "–"}
    assert {name for name in rows if is_timer(name)} <= timers
    for event in sorted(plain | timers):
        row = rows.get(event, unchanged)
        run = reach(situation)
        run.apply(event)
        assert run.transfer.state == row["next state"], event
        assert run.effects == ([] if row["effects"] == "–" else row["effects"].split(", ")), event
        assert (len(run.transfer.timers) == 0) or row["next state"] != "terminated"


@pytest.mark.parametrize("row", TIMED, ids=lambda row: row["row"])
def test_timed_outcome_comes_when_the_table_says(row: dict[str, str]) -> None:
    settings = ReferSettings(**{key: float(value) for key, _, value in (s.partition("=") for s in row["settings"].split()) if value})
    run = TransferWalk(settings, step=0.0).run(row["events"])
    assert len(run.outcomes) == 1
    assert round(run.concluded_at[0] - START, 3) == float(row["at"])
    outcome = run.outcomes[0]
    assert outcome.kind == row["kind"]
    assert (outcome.refer_code, outcome.notify_code) == (int(row["refer_code"]), int(row["notify_code"]))
    assert outcome.notified is (row["notified"] == "yes")
    assert run.answers == [int(code) for code in row["answers"].split() if code != "–"]
    run.wait(START + 5000)
    assert run.ended_at is not None
    assert round(run.ended_at - START, 3) == float(row["ends at"])


def test_timed_outcomes_cover_the_families_of_the_outcome_table() -> None:
    outcomes = {family(row["row"]) for row in read_table(SPEC / "refer-outcomes.md", "Outcomes")} - {"A1"}  # A1: no REFER is sent
    assert {family(row["row"]) for row in TIMED} == outcomes


def family(row: str) -> str:
    """``B12a`` belongs to ``B12``."""
    match = re.match(r"[A-E][0-9]+", row)
    assert match is not None
    return match[0]
