"""What fuzzing found stays mended: each kept input is given to its target, and so is what the suite has besides."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.support.tree import ROOT

CORPUS = Path(__file__).parent / "corpus"
MAX_INPUT_BYTES = 4096  # an input that is kept is a small one
MAX_INPUTS = 400
SEEDS = {
    "datagram": "tests/conformance/messages/**/*.sip",
    "stream": "tests/conformance/messages/**/*.sip",
    "document": "tests/golden/*.cxml",
}


def inputs(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_kept_inputs_find_no_defect(target: str) -> None:
    for path in inputs(target):
        TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", SEEDS)
def test_seeds_find_no_defect(target: str) -> None:
    paths = sorted(ROOT.glob(SEEDS[target]))
    assert paths
    for path in paths:
        TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_of_each_target_is_there_and_small(target: str) -> None:
    sizes = [path.stat().st_size for path in inputs(target)]
    assert 0 < len(sizes) <= MAX_INPUTS
    assert max(sizes) <= MAX_INPUT_BYTES


def test_no_corpus_lacks_its_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
