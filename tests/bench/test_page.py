"""What is published of a run: docs/performance.md has the numbers that were measured, and no file tells where."""

import json
import sys
from pathlib import Path

import pytest

from bench.flame import published
from bench.page import BEGIN, END, WARM_UP_CALLS, WARM_UP_S, written
from bench.rows import RESULTS, Row, Run
from tests.support.tree import ROOT

PAGE = ROOT / "docs" / "performance.md"
EMPTY = f"# Title\n\n{BEGIN}old\n{END}\nmore\n"


def test_the_page_has_the_figures_of_the_kept_runs() -> None:
    """``make docs`` writes them."""
    text = PAGE.read_text(encoding="utf-8")
    assert written(text) == text


def test_between_the_marks_stand_the_run_and_the_soak(tmp_path: Path) -> None:
    ours = Row("cxmld", "full", cpu_ms={100: 1.25})
    Run({"cores": "2"}, {"rates": [100], "repeats": 3, "seconds": 10}, [ours]).save(tmp_path / "performance.json")
    soak = {"seconds": 600, "rate": 20, "calls": {"busy": 2000, "TCP": 10_000}, "faults": []}
    soak["trends"] = [{"figure": "memory_kib", "first": 84976, "last": 85240, "limit": 90000}]
    (tmp_path / "soak.json").write_text(json.dumps({"machine": {}, "soak": soak}))
    page = written(EMPTY, tmp_path)
    assert page.startswith(f"# Title\n\n{BEGIN}\n## The run")
    assert page.endswith(f"{END}\nmore\n")
    assert "old" not in page
    assert "3 tries of 10 s" in page
    assert "| cxmld | full | 1.250 | – | – |" in page
    assert "600 s at 20 calls a second: 12,000 calls, each with the outcome that it had to have; nothing grew." in page
    assert "| memory, KiB | 84,976 | 85,240 |" in page
    assert written(page, tmp_path) == page


def test_the_run_on_pypy_has_a_part_of_its_own_that_tells_of_the_warm_up(tmp_path: Path) -> None:
    rows = [Row("cxmld on PyPy", "full", cpu_ms={400: 0.5}), Row("cxmld", "full", cpu_ms={400: 1.5})]
    Run({"cores": "2"}, {"rates": [400], "repeats": 3, "seconds": 4}, rows).save(tmp_path / "pypy.json")
    page = written(EMPTY, tmp_path)
    assert "## On PyPy\n\nA run of its own, 3 tries of 4 s" in page
    assert f"had made {WARM_UP_CALLS:,} transfers before each try, in {WARM_UP_S} s" in page
    assert "| cxmld on PyPy | full | 0.500 | – | – |" in page
    assert "pypy.svg" not in page
    (tmp_path / "pypy.svg").touch()
    assert "](../bench/results/pypy.svg)" in written(EMPTY, tmp_path)


def test_a_soak_with_faults_says_so(tmp_path: Path) -> None:
    soak = {"seconds": 600, "rate": 20, "calls": {"busy": 2000}, "faults": ["one", "two"], "trends": []}
    (tmp_path / "soak.json").write_text(json.dumps({"machine": {}, "soak": soak}))
    assert "2,000 calls; it failed: one; two." in written(EMPTY, tmp_path)
    (tmp_path / "soak-pypy.json").write_text(json.dumps({"machine": {}, "soak": soak | {"rate": 30, "faults": []}}))
    assert "## The soak on PyPy\n\n600 s at 30 calls a second" in written(EMPTY, tmp_path)
    assert "Others took" not in written(EMPTY, tmp_path)
    (tmp_path / "soak.json").write_text(json.dumps({"machine": {}, "soak": soak | {"foreign": 0.34}}))
    assert "it failed: one; two. Others took up to 34% of its core.\n" in written(EMPTY, tmp_path)


def test_without_a_run_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    assert "make bench" in written(EMPTY, tmp_path)
    with pytest.raises(ValueError, match="marks"):
        written("# Title\n", tmp_path)


def test_a_flame_graph_tells_no_folder_of_the_machine() -> None:
    title = f"<title>f ({ROOT}/sipua/a.py:3)</title><title>g ({sys.prefix}/lib/b.py)</title>"
    svg = f"<text>py-spy record --pid 7 --output /x/y.svg</text>{title}"
    assert published(svg, "a title") == "<text>a title</text><title>f (sipua/a.py:3)</title><title>g (lib/b.py)</title>"


def test_no_kept_file_tells_a_folder_of_a_machine() -> None:
    kept = [path for path in RESULTS.glob("*") if path.suffix in (".json", ".svg") and not path.name.startswith("quick")]
    assert [path.name for path in kept for place in ("tmp", "home", "root") if f"/{place}/" in path.read_text(encoding="utf-8")] == []
