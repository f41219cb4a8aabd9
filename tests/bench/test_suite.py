"""A run of the bench as a whole: its order, and what is left of it when somebody breaks it off."""

import shutil
import sys
from pathlib import Path

import pytest

from bench import __main__ as command_line
from bench import suite
from bench.measure import Bench
from bench.rows import Row, Run
from bench.suite import Plan, measure
from bench.units.base import Unit
from bench.units.floor import Floor
from bench.units.ours import Ours

PLAN = Plan(rates=(100,), repeats=2, figures=("cpu", "memory"))
IN_ORDER = [
    "cxmld: cpu, 1 of 2",
    "floor: cpu, 1 of 2",
    "cxmld: cpu, 2 of 2",
    "floor: cpu, 2 of 2",
    "cxmld: memory, 1 of 1",
]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace what measures by what counts, but for the orders: an interrupt comes in the place of the one that is named first."""
    interrupted_at: list[str] = []

    def load(_bench: Bench, _unit: type[Unit], _plan: Plan, row: Row) -> None:
        tries = row.cpu_all_ms.setdefault(100, [])
        if interrupted_at and interrupted_at[0] == f"{row.name} {len(tries) + 1}":
            raise KeyboardInterrupt
        tries.append(1.5)

    def memory(_bench: Bench, _unit: type[Unit], _plan: Plan, row: Row) -> None:
        row.kib_per_dialog[1000] = 4.0

    monkeypatch.setattr(suite, "_load", load)
    monkeypatch.setattr(suite, "_memory", memory)
    monkeypatch.setattr(Floor, "figures", frozenset({"cpu"}))
    return interrupted_at


def test_the_tries_of_a_figure_go_round_the_units(steps: list[str]) -> None:
    said: list[str] = []
    rows, ended_at = measure([Ours, Floor], PLAN, said.append)
    assert said == IN_ORDER
    assert (ended_at, steps) == ("", [])
    assert [(row.cpu_ms, row.kib_per_dialog) for row in rows] == [({100: 1.5}, {1000: 4.0}), ({100: 1.5}, {})]


def test_an_interrupt_keeps_what_was_measured_until_then(steps: list[str]) -> None:
    """A figure that less than half of its tries were made of is none."""
    steps.append("floor 2")
    said: list[str] = []
    rows, ended_at = measure([Ours, Floor], PLAN, said.append)
    assert ended_at == "floor: cpu, 2 of 2"
    assert said == [*IN_ORDER[:4], "ended early, at floor: cpu, 2 of 2"]
    assert [(row.cpu_ms, row.cpu_all_ms, row.kib_per_dialog) for row in rows] == [
        ({100: 1.5}, {100: [1.5, 1.5]}, {}),
        ({}, {100: [1.5]}, {}),
    ]


def test_a_run_that_was_broken_off_is_kept_and_says_so(
    steps: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps.append("cxmld 2")
    monkeypatch.setattr(command_line, "RESULTS", tmp_path)
    words = ["--only", "cxmld", "--figures", "cpu", "--rates", "100", "--repeats", "3", "--save", "kept"]
    monkeypatch.setattr(sys, "argv", ["bench/run", *words])
    monkeypatch.setattr(shutil, "which", str)  # nothing of it is called
    assert command_line.main() == 130
    printed = capsys.readouterr().out
    assert "\nEnded early, at cxmld: cpu, 2 of 3: what was to come after it is missing.\n" in printed
    assert "others /" not in printed
    run = Run.load(tmp_path / "kept.json")
    assert (run.ended_at, run.rows[0].cpu_all_ms) == ("cxmld: cpu, 2 of 3", {100: [1.5]})
