"""Pure. Time-outs and retries for one URL, given in its fragment: ``https://example.com/voice#ct=500&rt=2000&rc=2&rp=5xx``.

The union of what the vendors accept: ``ct`` or ``ot`` (connect), ``rt`` (read), ``tt`` (total), all in milliseconds, ``rc`` (retries)
and ``rp`` (which failures are retried). The fragment is neither signed nor sent.
"""

from dataclasses import dataclass, field
from urllib.parse import unquote

from cxml.services.retry import RetryOn, RetryPolicy

_TIMES = {"ct": (100, 10_000), "ot": (100, 10_000), "rt": (100, 15_000), "tt": (100, 15_000)}  # milliseconds
_RETRIES = (0, 5)
_MAX_DIGITS = 9  # a longer number is no time, and int() of thousands of digits is slow
_MAX_SHOWN = 40  # characters of a wrong part that the warning repeats


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a fragment asks for; None leaves the setting alone. *problem* is empty or one line about parts that were changed or ignored."""

    connect_s: float | None = None
    read_s: float | None = None
    total_s: float | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    problem: str = ""


def parse_fragment(fragment: str) -> Overrides:
    """Read *fragment* (without ``#``). Never fails: a value out of range is moved into it, an unknown part ignored, both noted."""
    if "=" not in fragment:
        return Overrides()  # an ordinary anchor
    problems: list[str] = []
    times: dict[str, float] = {}
    retries: int | None = None
    on: frozenset[RetryOn] | None = None
    for part in fragment.split("&"):
        name, _, value = part.partition("=")
        if name in _TIMES:
            millis = _number(part, value, _TIMES[name], problems)
            if millis is not None:
                times["ct" if name == "ot" else name] = millis / 1000
        elif name == "rc":
            retries = _number(part, value, _RETRIES, problems)
        elif name == "rp":
            on = _classes(part, unquote(value), problems)
        elif part:
            problems.append(f"{_shown(part)} ignored")
    default = RetryPolicy()
    if on is not None and retries is None:
        retries = 1  # who names failures to retry wants a retry
    policy = RetryPolicy(default.retries if retries is None else retries, default.on if on is None else on)
    return Overrides(times.get("ct"), times.get("rt"), times.get("tt"), policy, ", ".join(problems))


def _number(part: str, value: str, limits: tuple[int, int], problems: list[str]) -> int | None:
    if not (value.isascii() and value.isdigit()) or len(value) > _MAX_DIGITS:
        problems.append(f"{_shown(part)} ignored")
        return None
    low, high = limits
    number = min(max(int(value), low), high)
    if number != int(value):
        problems.append(f"{_shown(part)} is outside {low} to {high}, {number} used")
    return number


def _classes(part: str, value: str, problems: list[str]) -> frozenset[RetryOn] | None:
    words = value.split(",")
    if "all" in words:
        return frozenset(RetryOn)
    known = frozenset(RetryOn(word) for word in words if word in set(RetryOn))
    if len(known) < len(set(words)):
        problems.append(f"{_shown(part)} has unknown words")
    return known or None


def _shown(part: str) -> str:
    return ascii(part[:_MAX_SHOWN])
