"""The judging rules of the soak: what grows, what was not given back, and which calls did not come to what they had to."""

import asyncio
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.soak.judge import ALLOWED, HELD_BY_CALLS, LEAST_S, WARM_UP_S, Sample, left_over, trends
from bench.soak.kinds import KINDS
from bench.soak.ledger import MAX_EXAMPLES, Ledger
from bench.soak.run import STALL_AT_S, STALL_S, begun_by, stall

STEADY = {
    "memory_kib": 60_000.0,
    "tasks": 40.0,
    "transactions": 4000.0,
    "dialogs": 80.0,
    "connections": 3.0,
    "rtp_ports": 70.0,
    "descriptors": 160.0,
}


def samples(growth_per_s: Mapping[str, float] | None = None, seconds: int = 600) -> list[Sample]:
    """A sample each ten seconds; figures in *growth_per_s* grow by that much each second."""
    growth_per_s = growth_per_s or {}
    return [
        Sample(at_s, {name: value + growth_per_s.get(name, 0.0) * at_s for name, value in STEADY.items()})
        for at_s in range(10, seconds, 10)
    ]


def growing(taken: list[Sample], until_s: float = 600) -> set[str]:
    return {trend.figure for trend in trends(taken, until_s) if trend.grows}


def test_steady_figures_do_not_grow() -> None:
    assert growing(samples()) == set()


@pytest.mark.parametrize("figure", ALLOWED)
def test_a_figure_that_rises_all_the_time_grows(figure: str) -> None:
    """By half an hour's worth of the smallest rise that ten minutes can tell."""
    first = STEADY[figure]
    rise_per_s = (ALLOWED[figure].limit(first * 1.1) - first) / 200
    assert growing(samples({figure: rise_per_s})) == {figure}


@pytest.mark.parametrize("figure", ALLOWED)
def test_what_rises_in_the_warm_up_only_does_not_grow(figure: str) -> None:
    taken = [Sample(one.at_s, {**one.figures, figure: STEADY[figure] * min(1.0, one.at_s / 90)}) for one in samples()]
    assert growing(taken) == set()


def test_a_moment_of_many_calls_is_no_growth() -> None:
    taken = samples()
    for index in (-3, -9, -12):
        taken[index] = Sample(taken[index].at_s, dict.fromkeys(STEADY, 1e6))
    assert growing(taken) == set()


def test_samples_after_the_last_call_do_not_hide_growth() -> None:
    """Everything falls then."""
    taken = samples({"tasks": 0.1}) + [Sample(at_s, dict.fromkeys(STEADY, 0.0)) for at_s in range(600, 1500, 10)]
    assert growing(taken) == {"tasks"}


def test_a_soak_that_is_too_short_is_not_judged() -> None:
    assert trends(samples(seconds=int(LEAST_S) + 1), LEAST_S)
    with pytest.raises(ValueError, match="soak for longer"):
        trends(samples(seconds=160), 160)


@given(st.permutations(range(17)))
def test_the_order_within_a_third_is_of_no_account(order: list[int]) -> None:
    steady = [one for one in samples({"tasks": 0.2}) if one.at_s >= 90]
    assert len(steady) == 51
    shuffled = [Sample(steady[0].at_s, steady[index].figures) for index in order] + steady[17:]
    assert trends(shuffled, 600) == trends(steady, 600)


def test_everything_that_calls_hold_has_to_come_back() -> None:
    before = dict.fromkeys(HELD_BY_CALLS, 2.0)
    assert left_over(before, before) == {}
    assert left_over(before, {**before, "tasks": 1.0, "dialogs": 3.0}) == {"dialogs": (2.0, 3.0)}


def good_call(ledger: Ledger, number: int = 1) -> None:
    ledger.begin(number, "busy", "busy")
    ledger.asked(number)
    ledger.told(number, "busy")
    ledger.over(number)


def test_a_call_that_comes_to_what_it_had_to_leaves_nothing_behind() -> None:
    ledger = Ledger()
    good_call(ledger)
    ledger.finish()
    assert (ledger.open, ledger.problems, ledger.completed["busy"], ledger.outcomes["busy", "busy"]) == (0, {}, 1, 1)


def test_a_caller_may_hang_up_before_the_outcome_is_told() -> None:
    ledger = Ledger()
    ledger.begin(1, "hangs up", "peer_hangup")
    ledger.asked(1)
    ledger.over(1)
    assert ledger.open == 1
    ledger.told(1, "peer_hangup")
    ledger.finish()
    assert (ledger.open, ledger.problems) == (0, {})


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ("asked told:transferred over", "told transferred, was busy"),
        ("asked told:busy told:busy over", "told twice: busy, busy"),
        ("asked told:busy over told:busy", "told busy"),
        ("asked over", "no action request"),
        ("over", "no request for a document"),
        ("told:busy over", "no request for a document"),
        ("asked told:busy", "no end of the call"),
        ("asked asked told:busy over", "document requested twice"),
        ("asked told:busy over:no_BYE", "no_BYE"),
        ("", "no end of the call"),
    ],
)
def test_a_call_that_goes_wrong_is_a_problem(steps: str, problem: str) -> None:
    ledger = Ledger()
    ledger.begin(1, "busy", "busy")
    for step in steps.split():
        name, _, argument = step.partition(":")
        if name == "asked":
            ledger.asked(1)
        elif name == "told":
            ledger.told(1, argument)
        else:
            ledger.over(1, argument)
    ledger.finish()
    assert [text.partition(": ")[2] for text in ledger.problems] == [problem]


def test_requests_for_calls_that_never_were_are_problems() -> None:
    ledger = Ledger()
    ledger.asked(7)
    ledger.told(8, "busy")
    assert sum(ledger.problems.values()) == 2


def test_all_problems_are_counted_and_a_few_kept() -> None:
    ledger = Ledger()
    for number in range(100):
        ledger.begin(number, "busy", "busy")
    ledger.finish()
    assert sum(ledger.problems.values()) == 100
    assert len(ledger.examples) == MAX_EXAMPLES


def test_the_kinds_make_a_hundred_and_have_names_of_their_own() -> None:
    assert sum(kind.share for kind in KINDS) == 100
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_the_rate_of_calls_rises_evenly_up_to_what_it_is() -> None:
    assert [begun_by(at_s, 200, 0) for at_s in (0, 1, 3600)] == [0, 200, 720_000]
    assert [begun_by(at_s, 200, 60) for at_s in (0, 30, 60, 61, 3600)] == [0, 1500, 6000, 6200, 714_000]
    steps = [begun_by(at_s + 1, 200, 60) - begun_by(at_s, 200, 60) for at_s in range(60)]
    assert steps == sorted(steps)
    assert steps[-1] < 200


def test_the_daemon_is_stopped_within_the_warm_up() -> None:
    assert STALL_AT_S + STALL_S < WARM_UP_S


async def test_a_process_that_is_stopped_goes_on_even_when_the_soak_is_broken_off() -> None:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        stalled = asyncio.create_task(stall(process.pid, 0, 3600))
        assert await _comes_to(process.pid, "T")
        stalled.cancel()
        assert await _comes_to(process.pid, "S")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


async def _comes_to(pid: int, state: str) -> bool:
    """Return whether the kernel shows *pid* in *state* within ten seconds."""
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] != state:
            await asyncio.sleep(0.001)
    return True
