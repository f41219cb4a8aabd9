import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.services.fragment import Overrides, parse_fragment
from cxml.services.retry import RetryOn, RetryPolicy


@pytest.mark.parametrize("fragment", ["", "top", "a&b", "chapter-2"])
def test_an_ordinary_anchor_overrides_nothing(fragment: str) -> None:
    assert parse_fragment(fragment) == Overrides()


def test_times_are_milliseconds_and_both_words_for_connect_are_understood() -> None:
    assert parse_fragment("ct=500&rt=2500&tt=9000") == Overrides(0.5, 2.5, 9.0)
    assert parse_fragment("ot=500").connect_s == 0.5


@pytest.mark.parametrize(("fragment", "seconds"), [("ct=99", 0.1), ("ct=100", 0.1), ("ct=10000", 10.0), ("ct=10001", 10.0), ("ct=0", 0.1)])
def test_a_connect_time_out_is_moved_into_its_range(fragment: str, seconds: float) -> None:
    found = parse_fragment(fragment)
    assert found.connect_s == seconds
    assert bool(found.problem) == (fragment not in {"ct=100", "ct=10000"})


@pytest.mark.parametrize(("fragment", "seconds"), [("99", 0.1), ("15000", 15.0), ("15001", 15.0), ("999999999", 15.0)])
def test_read_and_total_time_outs_are_moved_into_their_range(fragment: str, seconds: float) -> None:
    found = parse_fragment(f"rt={fragment}&tt={fragment}")
    assert (found.read_s, found.total_s) == (seconds, seconds)


@pytest.mark.parametrize("part", ["rt=", "rt=abc", "rt=-1", "rt=1.5", "rt=+5", "rt=٣", "rt=1000000000", "rc=x", "sni=y", "e=z"])
def test_what_is_not_understood_is_ignored_with_a_problem(part: str) -> None:
    found = parse_fragment(part)
    assert (found.connect_s, found.read_s, found.total_s, found.retry) == (None, None, None, RetryPolicy())
    assert "ignored" in found.problem


def test_several_problems_make_one_line() -> None:
    found = parse_fragment("ct=1&zz=2&rt=300")
    assert found == Overrides(0.1, 0.3, None, RetryPolicy(), "'ct=1' is outside 100 to 10000, 100 used, 'zz=2' ignored")


@pytest.mark.parametrize(
    ("fragment", "policy"),
    [
        ("ct=500", RetryPolicy(0)),
        ("rc=2", RetryPolicy(2, frozenset({RetryOn.CONNECT}))),
        ("rc=9", RetryPolicy(5)),
        ("rc=0&rp=all", RetryPolicy(0, frozenset(RetryOn))),
        ("rp=5xx", RetryPolicy(1, frozenset({RetryOn.STATUS_5XX}))),
        ("rc=3&rp=4xx,rt", RetryPolicy(3, frozenset({RetryOn.STATUS_4XX, RetryOn.READ}))),
        ("rc=3&rp=4xx%2Crt", RetryPolicy(3, frozenset({RetryOn.STATUS_4XX, RetryOn.READ}))),
        ("rc=3&rp=nonsense", RetryPolicy(3)),
    ],
)
def test_retries_are_read(fragment: str, policy: RetryPolicy) -> None:
    assert parse_fragment(fragment).retry == policy


@given(st.text(alphabet="ctorp=&,0123456789xal%#é\n", max_size=60))
def test_any_fragment_gives_values_in_range(fragment: str) -> None:
    found = parse_fragment(fragment)
    assert found.connect_s is None or 0.1 <= found.connect_s <= 10
    assert found.read_s is None or 0.1 <= found.read_s <= 15
    assert found.total_s is None or 0.1 <= found.total_s <= 15
    assert 0 <= found.retry.retries <= 5
    assert "\n" not in found.problem
