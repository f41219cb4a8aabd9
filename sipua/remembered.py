"""Pure. Results of pure functions, kept for the next time: :func:`functools.lru_cache`, or its like for PyPy, where that one is slow.

On PyPy ``lru_cache`` is Python: a lock, a chain of lists and a key object for each question, a twenty-fifth of a call's time in all.
"""

import functools
import sys
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_UNKNOWN: Final = object()


def remembered(max_kept: int) -> Callable[[Function], Function]:
    """Return a decorator that keeps about the last *max_kept* results of a function, never its exceptions.

    The arguments are hashable and given by position; equal ones count as the same.
    """
    return _plain(max_kept) if sys.implementation.name == "pypy" else functools.lru_cache(max_kept)  # type: ignore[return-value]


def _plain(max_kept: int) -> Callable[[Function], Function]:
    """Return :func:`remembered` with two dictionaries: when the newer is half of all it becomes the older, which is forgotten.

    What is asked for moves up. Two threads that ask at once may both compute, or forget a result.
    """

    def decorate(function: Function) -> Function:
        if function.__code__.co_argcount == 1:  # it is a plain function
            return _plain_of_one(function, max_kept)

        def compute(key: tuple[Hashable, ...]) -> Any:  # what the function returns
            return function(*key)

        of_all = _plain_of_one(compute, max_kept)

        @functools.wraps(function)
        def known(*key: Hashable) -> Any:  # what the function returns
            return of_all(key)

        return known  # type: ignore[return-value]

    return decorate


def _plain_of_one(function: Function, max_kept: int) -> Function:
    """Do that for a function of one argument, which is its own key: PyPy hashes a tuple of texts anew for each question."""
    newer: dict[Hashable, Any] = {}
    older: dict[Hashable, Any] = {}

    @functools.wraps(function)
    def known(key: Hashable) -> Any:  # what the function returns
        nonlocal newer, older
        result = newer.get(key, _UNKNOWN)
        if result is _UNKNOWN:
            result = older.get(key, _UNKNOWN)
            if result is _UNKNOWN:
                result = function(key)
            if len(newer) >= (max_kept + 1) // 2:
                older, newer = newer, {}
            newer[key] = result
        return result

    return known  # type: ignore[return-value]
