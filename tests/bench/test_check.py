"""The check of CI: which tries are good enough against the ratio that is kept."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import __main__, check
from bench.caller import BenchError, Calls
from bench.check import BASELINE, Baseline, Try, problem_of, ratio_of, read_baseline, verdict

KEPT = Baseline(10.0)


def tried(ratio: float, problem: str = "") -> Try:
    return Try(ratio, ratio / 10, 0.1, problem)


def test_the_median_slice_is_the_ratio_of_a_try() -> None:
    """One slice in which somebody else took the core says nothing."""
    assert ratio_of([1.0, 1.2, 9.0, 1.1], [0.1, 0.1, 0.1, 0.1]) == pytest.approx(11.5)
    assert ratio_of([1.0, 1.0], [0.0, 0.1]) == pytest.approx(10.0)
    with pytest.raises(BenchError):
        ratio_of([1.0], [0.0])


@pytest.mark.parametrize(
    ("tries", "is_good", "word"),
    [
        ([tried(10.0)], True, "+0%"),
        ([tried(12.5)], True, "+25%"),
        ([tried(12.6)], False, "too much"),
        ([tried(20.0), tried(19.0), tried(12.4)], True, "+24%"),
        ([tried(12.7), tried(20.0), tried(19.0)], False, "+27%"),
        ([tried(1.0, "3 of 9 calls of the daemon were not transferred")], False, "3 of 9"),
        ([tried(1.0, "3 of 9 calls of the daemon were not transferred"), tried(11.0)], True, "+10%"),
        ([tried(7.6)], True, "-24%"),
        ([tried(7.4)], True, "--write-baseline"),
    ],
)
def test_the_best_try_that_counts_decides(tries: Sequence[Try], is_good: bool, word: str) -> None:
    good, text = verdict(tries, KEPT)
    assert good is is_good
    assert word in text


def test_a_try_with_a_call_that_was_not_transferred_does_not_count() -> None:
    well, badly = Calls(100, 100, 0, 90, 1.0), Calls(100, 97, 3, 0, 1.0)
    assert problem_of([well, well]) == ""
    assert problem_of([well, badly]) == "3 of 100 calls of the floor were not transferred"
    assert "the daemon" in problem_of([badly, well])
    assert problem_of([Calls(0, 0, 0, 0, 0.0), well])


def test_tries_end_with_the_first_that_is_good_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "baseline.json"
    path.write_text('{"ratio": 10.0}')
    left = [tried(30.0), tried(12.0), tried(11.0)]
    monkeypatch.setattr(check, "one_try", lambda: left.pop(0))
    said: list[str] = []
    assert check.check(said.append, path)
    assert len(left) == 1
    assert said[-1].startswith("12.00 times")
    left[:] = [tried(13.0), tried(14.0), tried(15.0), tried(1.0)]
    assert not check.check(said.append, path)
    assert len(left) == 1


def test_a_baseline_is_the_highest_of_the_tries_with_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "baseline.json"
    left = [tried(30.0), tried(12.0), tried(11.0)]
    monkeypatch.setattr(check, "one_try", lambda: left.pop(0))
    check.write_baseline(lambda text: None, path)
    assert read_baseline(path).ratio == 30.0
    assert "processor" in json.loads(path.read_text())["machine"]
    left[:] = [tried(30.0, "calls failed")]
    with pytest.raises(BenchError, match="calls failed"):
        check.write_baseline(lambda text: None, path)


@pytest.mark.parametrize("text", ["", "{}", '{"ratio": 0}', "[1]", '{"ratio": 1, "more": 2}'])
def test_a_broken_baseline_is_told_with_the_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(BenchError, match=r"baseline\.json"):
        read_baseline(path)


def test_the_project_keeps_a_baseline() -> None:
    assert read_baseline(BASELINE).ratio > 0


@pytest.mark.parametrize(("argument", "status"), [("--check", 0), ("--write-baseline", 2)])
def test_without_sipp_only_the_check_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argument: str, status: int
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.argv", ["bench/run", argument])
    assert __main__.main() == status
    assert "needs SIPp" in capsys.readouterr().err
