"""The pace of documents and the count of failures (docs/spec/engine.md, Errors)."""

from hypothesis import given
from hypothesis import strategies as st

from cxml.interpreter.pace import DOCUMENT_BURST, DOCUMENTS_PER_S, FAILURES_APART_S, MAX_FAILURES, Failures, Pace


def test_a_burst_runs_at_once_and_what_follows_waits_its_turn() -> None:
    pace = Pace()
    assert [pace.delay_s(7.0) for _ in range(DOCUMENT_BURST + 2)] == [0.0] * DOCUMENT_BURST + [1 / DOCUMENTS_PER_S, 2 / DOCUMENTS_PER_S]
    assert pace.delay_s(10_000.0) == 0.0


@given(st.lists(st.floats(0, 3), max_size=200))
def test_no_sequence_of_documents_is_faster_than_the_pace(gaps: list[float]) -> None:
    pace, now = Pace(), 0.0
    for ran, gap in enumerate(gaps, start=1):
        now += gap
        delay = pace.delay_s(now)
        assert delay <= 1 / DOCUMENTS_PER_S + 1e-6
        now += delay
        assert ran <= DOCUMENT_BURST + now * DOCUMENTS_PER_S + 1e-6


def test_failures_are_too_many_only_when_they_come_in_a_row() -> None:
    failures = Failures()
    assert [failures.are_too_many(0.0) for _ in range(MAX_FAILURES + 1)] == [False] * MAX_FAILURES + [True]
    assert not failures.are_too_many(FAILURES_APART_S)
    apart = Failures()
    assert not any(apart.are_too_many(number * FAILURES_APART_S) for number in range(100))
