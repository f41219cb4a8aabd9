"""Walks the ladders of ``docs/spec/refer-outcomes.md``, "Confidence": what PBXs send, at the times at which they send it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.usage.subscription.confidence import PROMPT_S, SILENT_FAILURE_S, Witness
from sipua.usage.subscription.outcome import Doubt, TransferKind
from sipua.usage.subscription.refer import ReferTransfer
from tests.support.raw_peer import PEER, raw_stage
from tests.support.tables import SPEC, read_table
from tests.support.transfers import START, TransferWalk

FILE = SPEC / "refer-outcomes.md"
ROWS = read_table(FILE, "What PBXs send")
INDISTINGUISHABLE = {"K6", "K8", "K9", "K11", "K22"}
"""Honest reports that have the ladder of a false one."""


def walk(ladder: str) -> TransferWalk:
    """Run the events of a row, each at its own time."""
    run = TransferWalk(step=0.0)
    for step in ladder.split(";"):
        first, _, rest = step.strip().partition(" ")
        try:
            at, event = float(first), rest
        except ValueError:
            at, event = run.now - START, step.strip()
        run.wait(START + at)
        run.run(event)
    return run


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["row"])
def test_ladder_gives_the_doubt_of_the_table(row: dict[str, str]) -> None:
    (outcome,) = walk(row["what the PBX sends, seconds after the REFER"]).outcomes
    assert outcome.kind.value == row["kind"]
    assert outcome.doubt.value == row["doubt"].replace("–", "")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["row"])
def test_false_reports_are_doubted_and_true_ones_believed(row: dict[str, str]) -> None:
    truth = row["the truth"].partition(":")[0]
    is_doubted = row["doubt"] != "–"
    assert is_doubted is (truth != "true" or row["row"] in INDISTINGUISHABLE)


def test_every_doubt_is_explained_and_has_a_row() -> None:
    explained = {row["doubt"] for row in read_table(FILE, "Confidence")}
    assert explained == {doubt.value or "–" for doubt in Doubt} == {row["doubt"] for row in ROWS}


def test_the_text_has_the_limits_of_the_code() -> None:
    text = {row["doubt"]: row["seen"] for row in read_table(FILE, "Confidence")}
    assert f"less than {PROMPT_S:g} s" in text["at_once"]
    assert f"less than {PROMPT_S:g} s" in text["ringing_cut_short"]
    assert f"more than {SILENT_FAILURE_S:g} s" in text["late_503"]


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(100, 699)), max_size=8),
    st.sampled_from(TransferKind),
    st.sampled_from([0, 200, 202, 403]),
)
def test_a_witness_takes_whatever_comes(reports: list[tuple[float, int]], kind: TransferKind, refer_code: int) -> None:
    witness = Witness()
    for at, code in sorted(reports):
        witness.reported(code, at)
    assert witness.doubt(kind, refer_code, reports[-1][1] if reports else 0) in set(Doubt)


@given(st.floats(0, 1000), st.floats(PROMPT_S + 0.001, 1000))
def test_a_success_that_takes_its_time_is_believed(accepted_at: float, waited_s: float) -> None:
    witness = Witness()
    witness.accepted(accepted_at)
    witness.reported(200, accepted_at + waited_s)
    assert witness.doubt(TransferKind.TRANSFERRED, 202, 200) is Doubt.NONE


@pytest.mark.parametrize(("may_have_arrived", "doubt"), [(False, Doubt.NONE), (True, Doubt.NOT_REPORTED)])
def test_a_refer_that_may_have_arrived_is_not_surely_lost(may_have_arrived: bool, doubt: Doubt) -> None:
    transfer = ReferTransfer()
    transfer.sent(1, 0.0)
    transfer.refer_transport_error(0.1, may_have_arrived=may_have_arrived)
    assert transfer.outcome is not None
    assert (transfer.outcome.kind, transfer.outcome.doubt) == (TransferKind.UNREACHABLE, doubt)


@pytest.mark.looptime
@pytest.mark.parametrize("is_read", [True, False])
async def test_a_connection_that_breaks_under_a_refer_leaves_its_outcome_open(is_read: bool) -> None:
    async with raw_stage(use_tcp=True) as stage:
        await stage.peer.connect()
        call, _ = await stage.established()
        running = stage.soon(call.transfer("sip:support@10.0.0.3"))
        if is_read:
            await stage.peer.request("REFER")
        else:
            stage.network.refuse_tcp(PEER)
        for stream in tuple(stage.peer.streams):
            stream.abort()
        outcome = await running
        assert outcome.kind is TransferKind.UNREACHABLE
        assert outcome.doubt is (Doubt.NOT_REPORTED if is_read else Doubt.NONE)
        await call.hangup()
        if is_read:
            stage.peer.reply(await stage.peer.request("BYE"), 200)
