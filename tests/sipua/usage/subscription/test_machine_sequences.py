"""No sequence of events breaks the rules of the subscriber (RFC 6665 §4.1)."""

from hypothesis import given
from hypothesis import strategies as st

from sipua.effects import Effect
from sipua.timers import Timing
from sipua.usage.subscription.machine import MAX_LIFETIME_S, AnswerNotify, Ended, SubscriberState, Subscription
from sipua.usage.subscription.package import NotifyInfo, Reading
from tests.support.strategies import NUMBERS, notifies

EVENTS = (
    st.tuples(st.sampled_from(["sent", "unanswered", "drop", "shorten", "tick"]), st.none())
    | st.tuples(st.just("response"), st.tuples(st.integers(100, 699), st.none() | NUMBERS))
    | st.tuples(st.sampled_from(["notify", "late"]), notifies())
)


class Words:
    event = "words"
    default_expires_s = 100

    def read(self, content_type: str | None, body: bytes) -> Reading[str]:
        if content_type != "text/plain":
            return Reading(415)
        return Reading(200, body.decode()) if body.isalpha() else Reading(400 if body else 200)


def feed(machine: Subscription[str], event: str, argument: object, now: float) -> list[Effect]:
    match event, argument:
        case "response", (int(status), expires):
            assert expires is None or isinstance(expires, int)
            return machine.response(status, now, expires)
        case "notify", NotifyInfo() as info:
            effects = machine.notify(info, now)
            assert [isinstance(effect, AnswerNotify) for effect in effects].count(True) == 1
            assert isinstance(effects[0], AnswerNotify)
            return effects
        case "late", NotifyInfo() as info:
            return machine.late(info, now)
        case "shorten", _:
            machine.shorten(now)
            return []
        case "sent", _:
            return machine.sent(now)
        case "unanswered", _:
            return machine.unanswered()
        case "drop", _:
            return machine.drop()
        case _:
            return machine.tick(now)


@given(st.lists(st.tuples(st.floats(0, 400), EVENTS), max_size=25))
def test_it_ends_once_and_leaves_no_timer(steps: list[tuple[float, tuple[str, object]]]) -> None:
    machine: Subscription[str] = Subscription(Words(), Timing())
    now, ended = 0.0, 0
    for wait_s, (event, argument) in steps:
        now += wait_s
        was_over = machine.is_over
        effects = feed(machine, event, argument, now)
        ended += sum(isinstance(effect, Ended) for effect in effects)
        assert ended <= 1
        if was_over:
            assert machine.is_over
            assert all(effect == AnswerNotify(481) for effect in effects)
        deadline = machine.timers.next_deadline
        if machine.is_over:
            assert (ended, deadline) == (1, None)
        elif machine.state is not SubscriberState.INIT:
            assert deadline is not None
            assert deadline <= now + MAX_LIFETIME_S
    if machine.state is not SubscriberState.INIT:
        assert ended + sum(isinstance(effect, Ended) for effect in machine.tick(now + MAX_LIFETIME_S + 1)) == 1
        assert machine.timers.next_deadline is None
