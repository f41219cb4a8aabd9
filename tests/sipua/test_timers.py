"""Timer values and deadlines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.timers import TimerSet, Timing


def test_the_defaults_are_those_of_rfc_3261() -> None:
    timing = Timing()
    assert (timing.t1, timing.t2, timing.t4, timing.timeout, timing.linger) == (0.5, 4.0, 5.0, 32.0, 5.0)


def test_a_shorter_t1_shortens_the_timeout() -> None:
    assert Timing(t1=0.01).timeout == pytest.approx(0.64)


def test_due_timers_come_in_the_order_of_their_deadlines_and_once() -> None:
    timers = TimerSet()
    timers.start("B", 3.0)
    timers.start("A", 1.0)
    timers.start("C", 2.0)
    timers.start("D", 9.0)
    assert timers.next_deadline == 1.0
    assert timers.due(0.9) == []
    assert timers.due(3.0) == ["A", "C", "B"]
    assert timers.due(3.0) == []
    assert timers.next_deadline == 9.0
    assert len(timers) == 1


def test_a_second_start_replaces_the_deadline() -> None:
    timers = TimerSet()
    timers.start("A", 1.0)
    timers.start("A", 5.0)
    assert timers.deadline("A") == 5.0
    assert timers.due(4.0) == []
    assert "A" in timers
    assert repr(timers) == "TimerSet({'A': 5.0})"


@given(st.lists(st.tuples(st.sampled_from(["start", "stop", "due"]), st.sampled_from("ABC"), st.floats(0, 10)), max_size=30))
def test_it_is_a_dictionary_of_deadlines(steps: list[tuple[str, str, float]]) -> None:
    timers, known = TimerSet(), dict[str, float]()
    for step, name, time in steps:
        if step == "start":
            timers.start(name, time)
            known[name] = time
        elif step == "stop":
            timers.stop(name)
            known.pop(name, None)
        else:
            fired = sorted((deadline, each) for each, deadline in known.items() if deadline <= time)
            assert timers.due(time) == [each for _, each in fired]
            for _, each in fired:
                del known[each]
        assert timers.next_deadline == min(known.values(), default=None)
        assert {each: timers.deadline(each) for each in known} == known
        assert len(timers) == len(known)


def test_stopping_is_always_fine() -> None:
    timers = TimerSet()
    timers.stop("A")
    timers.start("A", 1.0)
    timers.start("B", 1.0)
    timers.stop("A")
    assert timers.deadline("A") is None
    timers.clear()
    assert timers.next_deadline is None
    assert timers.due(100.0) == []
    assert len(timers) == 0
