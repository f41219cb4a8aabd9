"""The registration machine against docs/spec/registration.md, its times, and its invariants."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.effects import Effect, Terminated
from sipua.usage.registration.answer import Answer, Verdict
from sipua.usage.registration.machine import (
    BACKOFF_CAP_S,
    MAX_DETOURS,
    MAX_RETRY_AFTER_S,
    REFUSED_RETRY_S,
    Changed,
    RegistrationMachine,
    RegistrationState,
    SendRegister,
)
from tests.support.tables import SPEC, read_table

TABLE = SPEC / "registration.md"
TRANSITIONS = read_table(TABLE, "Transitions")
STOP_LIMIT_S = 4.0
NOW = 1000.0

BOUND = Answer(Verdict.BOUND, 200, 300)
TEMPORARY = Answer(Verdict.TEMPORARY, 503)
REFUSED = Answer(Verdict.REFUSED, 403)
MOVED = Answer(Verdict.MOVED, 302, target="sip:elsewhere.example")
ANSWERS = {
    "bound 300": BOUND,
    "temporary 503": TEMPORARY,
    "refused 403": REFUSED,
    "too brief 600": Answer(Verdict.TOO_BRIEF, 423, 600),
    "too brief 300": Answer(Verdict.TOO_BRIEF, 423, 300),
    "too brief 86401": Answer(Verdict.TOO_BRIEF, 423, 86401),
    "moved": MOVED,
}
TIMERS = ("refresh", "retry", "limit")
EVENTS = ("start", "stop", "refresh", *ANSWERS, *(f"timer {name}" for name in TIMERS))


def machine(uniform: Callable[[float, float], float] = lambda low, high: high) -> RegistrationMachine:
    return RegistrationMachine(300, STOP_LIMIT_S, uniform)


def play(made: RegistrationMachine, event: str, now: float = NOW) -> list[Effect]:
    if event == "start":
        return made.start()
    if event == "stop":
        return made.stop(now)
    if event == "refresh":
        return made.refresh()
    if event in ANSWERS:
        return made.answered(ANSWERS[event], now)
    deadline = made.timers.deadline(event.removeprefix("timer "))
    return [] if deadline is None else made.tick(deadline)


WAYS: dict[tuple[str, str], tuple[str, ...]] = {
    ("idle", "no"): (),
    ("registering", "yes"): ("start",),
    ("registered", "no"): ("start", "bound 300"),
    ("registered", "yes"): ("start", "bound 300", "timer refresh"),
    ("waiting", "no"): ("start", "temporary 503"),
    ("waiting", "yes"): ("start", "temporary 503", "timer retry"),
    ("refused", "no"): ("start", "refused 403"),
    ("refused", "yes"): ("start", "refused 403", "timer retry"),
    ("finishing", "yes"): ("start", "stop"),
    ("unregistering", "yes"): ("start", "bound 300", "stop"),
    ("ended", "no"): ("stop",),
}


def reached(state: str, busy: str) -> RegistrationMachine:
    made = machine()
    for event in WAYS[state, busy]:
        play(made, event)
    assert snapshot(made)[:2] == (state, busy)
    return made


def snapshot(made: RegistrationMachine) -> tuple[str, str, str]:
    timers = ", ".join(name for name in TIMERS if name in made.timers) or "–"
    return made.state.value, "yes" if made.is_busy else "no", timers


def spelled(effects: list[Effect]) -> str:
    return ", ".join(spell(effect) for effect in effects) or "–"


def spell(effect: Effect) -> str:
    match effect:
        case SendRegister(seconds, target):
            return f"Send {seconds}{' elsewhere' if target else ''}"
        case Changed(state):
            return f"Changed {state}"
        case Terminated():
            return "Terminated"
    raise AssertionError(effect)


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row['State']}-{row['Busy']}-{row['Event']}")
def test_every_row_of_the_table_holds(row: dict[str, str]) -> None:
    made = reached(row["State"], row["Busy"])
    effects = play(made, row["Event"])
    assert spelled(effects) == row["Effects"]
    assert snapshot(made) == (row["Next state"], row["Busy after"], row["Timers"])


@pytest.mark.parametrize("place", WAYS, ids="-".join)
def test_an_event_without_a_row_has_no_effect(place: tuple[str, str]) -> None:
    known = {row["Event"] for row in TRANSITIONS if (row["State"], row["Busy"]) == place}
    for event in set(EVENTS) - known:
        made = reached(*place)
        before = snapshot(made)
        assert play(made, event) == [], event
        assert snapshot(made) == before, event


def test_the_table_names_every_state() -> None:
    assert {row["State"] for row in read_table(TABLE, "States")} == {state.value for state in RegistrationState}
    assert {state for state, _ in WAYS} == {state.value for state in RegistrationState}


@pytest.mark.parametrize(("granted", "after"), [(300, 240), (120, 60), (100, 50), (3600, 3540), (2, 1), (1, 1)])
def test_a_refresh_comes_at_half_the_expiry_or_a_minute_before_its_end_whichever_is_later(granted: int, after: float) -> None:
    made = machine()
    made.start()
    made.answered(Answer(Verdict.BOUND, 200, granted), NOW)
    assert made.timers.next_deadline == NOW + after


def test_a_refresh_comes_up_to_a_tenth_earlier() -> None:
    made = machine(lambda low, high: low)
    made.start()
    made.answered(BOUND, NOW)
    assert made.timers.next_deadline == NOW + 216


def waits(made: RegistrationMachine, answers: int) -> list[float]:
    found = []
    made.start()
    for _ in range(answers):
        made.answered(TEMPORARY, NOW)
        found.append((made.timers.next_deadline or 0) - NOW)
        play(made, "timer retry")
    return found


def test_failures_back_off_to_five_minutes() -> None:
    assert waits(machine(), 9) == [4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert waits(machine(lambda low, high: low), 3) == [2, 4, 8]
    assert waits(machine(), 2000)[-1] == BACKOFF_CAP_S


def test_a_success_or_a_refusal_starts_the_back_off_anew() -> None:
    for between in (BOUND, REFUSED):
        made = machine()
        waits(made, 5)
        made.answered(between, NOW)
        made.refresh()
        made.answered(TEMPORARY, NOW)
        assert made.timers.next_deadline == NOW + 4


@pytest.mark.parametrize(("asked", "waited"), [(120, 120), (0, 1), (10**9, MAX_RETRY_AFTER_S)])
def test_retry_after_is_honoured_within_bounds(asked: int, waited: float) -> None:
    made = machine(lambda low, high: low)
    made.start()
    assert made.answered(Answer(Verdict.TEMPORARY, 503, asked), NOW) == [Changed(RegistrationState.WAITING, 503, waited)]
    assert made.timers.next_deadline == NOW + waited


def test_a_refusal_is_tried_again_every_five_minutes_and_told_each_time() -> None:
    made = machine()
    made.start()
    for _ in range(3):
        assert made.answered(REFUSED, NOW) == [Changed(RegistrationState.REFUSED, 403, REFUSED_RETRY_S)]
        assert made.timers.next_deadline == NOW + REFUSED_RETRY_S
        assert play(made, "timer retry") == [SendRegister(300)]


def test_the_expiry_that_a_423_asked_for_stays() -> None:
    made = machine()
    made.start()
    made.answered(ANSWERS["too brief 600"], NOW)
    made.answered(Answer(Verdict.BOUND, 200, 600), NOW)
    assert play(made, "timer refresh") == [SendRegister(600)]


def test_detours_in_a_row_are_limited_and_counted_anew_for_each_try() -> None:
    made = machine()
    made.start()
    for _ in range(2):
        for _ in range(MAX_DETOURS):
            assert made.answered(MOVED, NOW) == [SendRegister(300, "sip:elsewhere.example")]
        assert made.answered(MOVED, NOW) == [Changed(RegistrationState.REFUSED, 302, REFUSED_RETRY_S)]
        play(made, "timer retry")


def test_a_removal_follows_redirections_only_so_often() -> None:
    made = reached("unregistering", "yes")
    for _ in range(MAX_DETOURS):
        assert made.answered(MOVED, NOW) == [SendRegister(0, "sip:elsewhere.example")]
    assert spelled(made.answered(MOVED, NOW)) == "Changed ended, Terminated"


def test_the_limit_runs_from_the_stop_also_when_the_removal_leaves_later() -> None:
    made = reached("registering", "yes")
    made.stop(NOW)
    made.answered(BOUND, NOW + 3)
    assert made.timers.next_deadline == NOW + STOP_LIMIT_S


STEPS = st.one_of(
    st.sampled_from(EVENTS), st.builds(Answer, st.sampled_from(Verdict), st.integers(100, 699), st.none() | st.integers(0, 2**32))
)


@given(st.lists(STEPS, max_size=40), st.floats(0.0, 1.0))
def test_no_sequence_of_events_breaks_the_rules(steps: list[str | Answer], chance: float) -> None:
    made = machine(lambda low, high: low + (high - low) * chance)
    under_way = ended = 0
    told = RegistrationState.IDLE
    for step in steps:
        now = NOW
        was_busy = made.is_busy
        effects = play(made, step, now) if isinstance(step, str) else made.answered(step, now)
        if was_busy and (isinstance(step, Answer) or step in ANSWERS):
            under_way -= 1
        for effect in effects:
            assert ended == 0
            if isinstance(effect, SendRegister):
                under_way += 1
                assert effect.expires_s >= 0
            elif isinstance(effect, Changed):
                assert effect.state is not told or told is RegistrationState.REFUSED
                told = effect.state
            elif isinstance(effect, Terminated):
                ended += 1
        assert told is made.state
        assert under_way <= 1
        if made.state is RegistrationState.ENDED:
            assert not made.timers
            under_way = 0
        else:
            # something always goes on: a request under way, or a timer, unless it hasn't begun
            assert made.is_busy or len(made.timers) == 1 or made.state is RegistrationState.IDLE
            assert all((made.timers.deadline(name) or NOW + 1) > NOW for name in TIMERS)
