"""Results that are kept: by functools on CPython, by two dictionaries on PyPy. Both are tried on either."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import pytest

from sipua import remembered as module
from sipua.remembered import remembered


class Kind(Protocol):
    """Makes a decorator."""

    def __call__(self, max_kept: int, /) -> Callable[[Any], Any]:
        """Return what keeps *max_kept* results."""


plain: Kind = vars(module)["_plain"]
kinds = pytest.mark.parametrize("kind", [remembered, plain, lru_cache])


@kinds
def test_computes_once(kind: Kind) -> None:
    asked: list[tuple[str, int]] = []

    @kind(8)
    def pair(name: str, number: int) -> tuple[str, int]:
        """Return both."""
        asked.append((name, number))
        return name, number

    assert [pair("a", 1), pair("a", 1), pair("a", 2), pair("a", 1)] == [("a", 1), ("a", 1), ("a", 2), ("a", 1)]
    assert asked == [("a", 1), ("a", 2)]
    assert pair.__name__ == "pair"
    assert pair.__doc__ == "Return both."


@kinds
def test_keeps_results_that_are_none_or_false(kind: Kind) -> None:
    asked: list[str] = []

    @kind(8)
    def nothing(text: str) -> bool | None:
        asked.append(text)
        return None if text == "none" else False

    for _ in range(3):
        assert nothing("none") is None
        assert nothing("false") is False
    assert asked == ["none", "false"]


@kinds
def test_an_exception_is_raised_each_time(kind: Kind) -> None:
    asked: list[str] = []

    @kind(8)
    def number(text: str) -> int:
        asked.append(text)
        return int(text)

    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            number("x")
    assert asked == ["x", "x"]
    assert number("7") == 7


@kinds
def test_what_is_asked_for_stays_while_others_come_and_go(kind: Kind) -> None:
    asked: list[int] = []

    @kind(16)
    def double(number: int) -> int:
        asked.append(number)
        return 2 * number

    for number in range(1, 1000):
        assert double(0) == 0
        assert double(number) == 2 * number
    assert asked.count(0) == 1
    assert double(1) == 2
    assert asked.count(1) == 2, "the first of a thousand is still kept: nothing bounds what is remembered"


@pytest.mark.parametrize("max_kept", [1, 2, 7, 64])
def test_two_dictionaries_keep_no_more_than_they_may(max_kept: int) -> None:
    @plain(max_kept)
    def same(number: int) -> int:
        return number

    cells = dict(zip(same.__code__.co_freevars, same.__closure__ or (), strict=True))
    kept = 0
    for number in range(10 * max_kept):
        same(number)
        kept = len(cells["newer"].cell_contents) + len(cells["older"].cell_contents)
        assert kept <= max_kept + 1
    assert kept > max_kept // 2


def test_a_method_keeps_for_one_object() -> None:
    class Adder:
        def __init__(self, by: int) -> None:
            self.by = by
            self.add = remembered(4)(self._add)

        def _add(self, number: int) -> int:
            return number + self.by

    assert (Adder(1).add(1), Adder(2).add(1)) == (2, 3)
