"""Walks ``docs/spec/refer-outcomes.md``: the verb's half of it, from the result to the parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.interpreter.context import OnBye
from cxml.interpreter.ports import TransferKind, TransferResult
from cxml.verbs.refer import action_parameters, call_status
from sipua.usage.subscription.outcome import Doubt
from tests.support.tables import SPEC, read_table

FILE = SPEC / "refer-outcomes.md"
OUTCOMES = read_table(FILE, "Outcomes")
ROWS = OUTCOMES + read_table(FILE, "Forked subscriptions") + read_table(FILE, "After a restart")
KINDS = {kind: row["ReferCallStatus"] for row in read_table(FILE, "From kind to ReferCallStatus") for kind in row["kind"].split(", ")}
STATUSES = {"in-progress", "busy", "no-answer", "canceled", "failed"}
VENDORS = ("ReferCallStatus", "ReferSipResponseCode", "NotifySipResponseCode")


def result_of(row: dict[str, str]) -> TransferResult:
    return TransferResult(TransferKind(row["kind"]), int(row["refer code"]), int(row["notify code"]), notified=row["notified"] == "yes")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["row"])
def test_row_gives_the_parameters_of_the_table(row: dict[str, str]) -> None:
    expected = {name: row[name] for name in VENDORS if row[name] != "–"}
    assert action_parameters(result_of(row)) == {"CxmldReferOutcome": row["kind"], "CxmldReferConfidence": "high", **expected}


def test_every_row_has_a_name_of_its_own() -> None:
    names = [row["row"] for row in ROWS]
    assert len(set(names)) == len(names)


def test_every_kind_has_a_row_and_a_status() -> None:
    assert {row["kind"] for row in ROWS} == set(TransferKind)
    assert set(KINDS) == set(TransferKind)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["row"])
def test_row_agrees_with_the_rule_for_its_kind(row: dict[str, str]) -> None:
    code = row["refer code"]
    accepted = code.startswith("2") or (code == "0" and row["notified"] == "yes")
    rule = {
        "canceled when accepted, else failed": "canceled" if accepted else "failed",
        "failed when any NOTIFY arrived, else absent": "failed" if row["notified"] == "yes" else "–",
        "absent": "–",
    }
    told = KINDS[row["kind"]]
    assert row["ReferCallStatus"] == rule.get(told, told)


@pytest.mark.parametrize(("on_bye", "status"), [("canceled", "canceled"), ("success", "in-progress"), ("unknown", None)])
def test_on_bye_decides_what_an_accepted_transfer_reports_after_the_peers_bye(on_bye: str, status: str | None) -> None:
    parameters = action_parameters(TransferResult(TransferKind.PEER_HANGUP, 202), OnBye(on_bye))
    assert parameters.get("ReferCallStatus") == status
    assert parameters["CxmldReferOutcome"] == "peer_hangup"


@pytest.mark.parametrize("on_bye", OnBye)
def test_on_bye_changes_nothing_when_the_refer_was_not_accepted_or_we_hung_up(on_bye: OnBye) -> None:
    assert call_status(TransferResult(TransferKind.PEER_HANGUP), on_bye) == "failed"
    assert call_status(TransferResult(TransferKind.LOCAL_HANGUP, 202), on_bye) == "canceled"
    assert call_status(TransferResult(TransferKind.CALL_LOST, 202), on_bye) == "canceled"


@given(
    st.builds(
        TransferResult,
        st.sampled_from(TransferKind),
        st.just(0) | st.integers(200, 699),
        st.just(0) | st.integers(100, 699),
        st.booleans(),
        st.just("x"),
        st.sampled_from(["", *Doubt]),
    ),
    st.sampled_from(OnBye),
)
def test_any_result_gives_only_documented_parameters(result: TransferResult, on_bye: OnBye) -> None:
    parameters = action_parameters(result, on_bye)
    assert parameters.pop("CxmldReferOutcome") == result.kind.value
    assert parameters.pop("CxmldReferConfidence") == ("low" if result.doubt else "high")
    assert set(parameters) <= set(VENDORS)
    assert parameters.get("ReferCallStatus", "failed") in STATUSES
    assert ("NotifySipResponseCode" in parameters) == (result.notify_code > 0)
    assert ("ReferSipResponseCode" in parameters) == (result.refer_code > 0)
