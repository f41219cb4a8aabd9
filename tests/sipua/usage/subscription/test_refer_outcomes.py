"""Drives a transfer through every row of ``docs/spec/refer-outcomes.md`` and compares the outcome."""

import pytest

from sipua.usage.subscription.outcome import TransferKind
from sipua.usage.subscription.refer import ReferState
from tests.support.tables import SPEC, read_table
from tests.support.transfers import TransferWalk

ROWS = [row for row in read_table(SPEC / "refer-outcomes.md", "Outcomes") if row["sip events"] != "not sent"]
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row["row"])


@every_row
def test_outcome_is_the_one_of_the_table(row: dict[str, str]) -> None:
    run = TransferWalk().run(row["sip events"])
    assert len(run.outcomes) == 1
    outcome = run.outcomes[0]
    assert outcome.kind == row["kind"]
    assert outcome.refer_code == int(row["refer code"])
    assert outcome.notify_code == int(row["notify code"])
    assert outcome.notified is (row["notified"] == "yes")
    assert outcome.call_lost is (row["kind"] == "call_lost")
    assert outcome.detail.isprintable()
    assert outcome.detail
    assert run.transfer.outcome is outcome


@every_row
def test_outcome_needs_the_last_event_of_its_row(row: dict[str, str]) -> None:
    """Rows that end with what comes too late (a second result, BYE after success) aside, nothing is reported early."""
    *before, _ = row["sip events"].split(";")
    if row["row"] in ("B13", "D4", "E2") or not before:
        return
    if before[-1].strip() == "retry":
        before = before[:-2]
    assert TransferWalk().run(";".join(before)).outcomes == []


@every_row
def test_transfer_ends_with_no_timer_left(row: dict[str, str]) -> None:
    run = TransferWalk().run(row["sip events"])
    run.wait(run.now + 2000)
    assert run.ended_at is not None
    assert run.transfer.state is ReferState.TERMINATED
    assert len(run.transfer.timers) == 0
    assert not run.transfer.matches(None)
    assert len(run.outcomes) == 1


def test_kinds_are_those_of_the_table() -> None:
    rows = read_table(SPEC / "refer-outcomes.md", "From kind to ReferCallStatus")
    named = {kind.strip() for row in rows for kind in row["kind"].split(",")}
    assert named == {kind.value for kind in TransferKind}
