"""The plot of a kept run; needs the extra ``bench``."""

import pytest

from bench.__main__ import UNITS
from bench.rows import Row, Run

plot = pytest.importorskip("bench.plot", reason="no matplotlib: it comes with the extra bench", exc_type=ImportError)


def test_each_unit_has_a_colour_and_a_bar_and_those_on_shares_have_none() -> None:
    rows = [
        Row(
            unit.name,
            unit.job,
            cpu_ms={100: 1.0},
            sustained=[500],
            answer_ms={100: {50: 1.0, 99: 2.0}},
            kib_per_dialog={1000: 8.0},
            workers=unit.workers,
            share=unit.share,
        )
        for unit in UNITS.values()
    ]
    rows.append(Row("gone", "SIP", missing="not here"))
    machine = {"processor": "P", "cores": "2", "kernel": "6", "Python": "3.11"}
    figure = plot.draw(Run(machine, {"rates": [100]}, rows))
    cpu, sustained, answer, memory = figure.axes
    whole = [unit.name for unit in UNITS.values() if unit.share == 1]
    assert [len(panel.patches) for panel in (cpu, sustained, answer, memory)] == [len(whole)] * 4
    assert [label.get_text() for label in sustained.get_yticklabels()] == whole[::-1]
    assert len({patch.get_facecolor() for patch in cpu.patches}) == len(whole)
    assert "2 cores" in figure._suptitle.get_text()


def test_a_unit_without_a_figure_has_no_bar_there() -> None:
    rows = [Row("one", "full", cpu_ms={100: 1.0}), Row("two", "SIP", sustained=[300])]
    figure = plot.draw(Run({"processor": "P", "cores": "2", "kernel": "6", "Python": "3.11"}, {"rates": [100, 400]}, rows))
    assert [len(panel.patches) for panel in figure.axes] == [1, 1, 0, 0]
