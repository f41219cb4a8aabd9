"""The subscriber machine against the table of ``docs/spec/subscription.md``."""

import pytest

from sipua.effects import Effect
from sipua.timers import TimerSet, Timing
from sipua.usage.subscription.machine import AnswerNotify, Delivered, EndCause, Ended, Entered, SubscriberState, Subscription
from sipua.usage.subscription.package import NotifyInfo, Reading
from tests.support.tables import SPEC, read_table

ROWS = read_table(SPEC / "subscription.md", "Subscriber states")
INPUTS = sorted({row["input"] for row in ROWS if not row["input"].startswith("timer")} | {"response 200", "sent", "unanswered"})
PATHS = {
    "init": [],
    "notify_wait": ["sent"],
    "pending": ["sent", "NOTIFY pending"],
    "active": ["sent", "response 200", "NOTIFY active"],
    "terminated": ["sent", "NOTIFY terminated"],
}
TIMERS = {"init": set[str](), "notify_wait": {"N"}, "pending": {"expires"}, "active": {"expires"}, "terminated": set[str]()}
NOW = 50.0


class Words:
    """A package whose bodies are words."""

    event = "words"
    default_expires_s = 100

    def read(self, content_type: str | None, body: bytes) -> Reading[str]:
        if not body:
            return Reading(200)
        if content_type != "text/plain":
            return Reading(415, None, (("Accept", "text/plain"),))
        return Reading(200, body.decode()) if body.isalpha() else Reading(400)


def notify(words: str) -> NotifyInfo:
    state, _, body = words.partition(" ")
    content_type, content = {
        "broken": ("text/plain", b"&"),
        "wrong type": ("text/html", b"word"),
        "empty": (None, b""),
    }.get(body, ("text/plain", b"word"))
    cseq = -1 if body == "older" else 5
    return NotifyInfo(cseq, None, None if state == "none" else state, None, "giveup", content_type, content)


def apply(machine: Subscription[str], event: str, now: float = NOW) -> list[Effect]:
    word, _, rest = event.partition(" ")
    match word:
        case "sent":
            return machine.sent(now)
        case "response":
            return machine.response(int(rest), now)
        case "unanswered":
            return machine.unanswered()
        case "drop":
            return machine.drop()
        case "NOTIFY":
            return machine.notify(notify(rest), now)
        case "late":
            return machine.late(notify(rest), now)
    deadline = machine.timers.deadline(rest)
    assert deadline is not None
    return machine.tick(deadline)


def describe(effect: Effect) -> str:
    match effect:
        case AnswerNotify(status):
            return f"answer {status}"
        case Delivered(payload):
            assert payload == "word"
            return "delivered"
        case Entered(state):
            return f"entered {state}"
        case Ended(cause, reason):
            assert reason == ("giveup" if cause is EndCause.NOTIFIER else "")
            return f"ended {cause}"
    raise AssertionError(effect)


def reach(state: str) -> Subscription[str]:
    machine = Subscription[str](Words(), Timing())
    for event in PATHS[state]:
        apply(machine, event)
    assert machine.state == state
    return machine


def timer_names(timers: TimerSet) -> set[str]:
    return {name for name in ("N", "expires") if name in timers}


@pytest.mark.parametrize("state", PATHS)
def test_every_input_does_what_the_state_table_says(state: str) -> None:
    rows = {row["input"]: row for row in ROWS if row["state"] == state}
    timers = {f"timer {name}" for name in TIMERS[state]}
    assert {name for name in rows if name.startswith("timer")} == timers
    for event in [*INPUTS, *sorted(timers)]:
        row = rows.get(event, {"next state": state, "effects": "–"})
        machine = reach(state)
        effects = apply(machine, event)
        assert machine.state == row["next state"], event
        assert [describe(effect) for effect in effects] == ([] if row["effects"] == "–" else row["effects"].split(", ")), event
        assert timer_names(machine.timers) == TIMERS[row["next state"]], event


def test_table_names_every_state_and_cause() -> None:
    assert set(PATHS) == {state.value for state in SubscriberState}
    ends = {word.removeprefix("ended ") for row in ROWS for word in row["effects"].split(", ") if word.startswith("ended ")}
    assert ends == {cause.value for cause in EndCause}


def test_timer_n_runs_from_sending_and_starts_again_with_each_try() -> None:
    """RFC 6665 §4.1.2.4: 64*T1 from the request, not from its 2xx."""
    machine = Subscription[str](Words(), Timing())
    machine.sent(0.0)
    machine.response(202, 20.0)
    assert machine.timers.next_deadline == 32.0
    machine.sent(21.0)
    assert machine.tick(52.9) == []
    assert machine.tick(53.0) == [Ended(EndCause.NO_NOTIFY)]


@pytest.mark.parametrize(
    ("granted", "deadline"),
    [(60, 92.0), (0, 32.0), (None, 132.0), (2**32 - 1, 900.0)],
)
def test_subscription_outlives_what_was_granted_by_some_grace(granted: int | None, deadline: float) -> None:
    machine = Subscription[str](Words(), Timing())
    machine.sent(0.0)
    machine.notify(NotifyInfo(1, None, "active", granted), 0.0)
    assert machine.timers.next_deadline == deadline


def test_expires_of_the_response_holds_until_the_notifier_says_otherwise() -> None:
    machine = Subscription[str](Words(), Timing())
    machine.sent(0.0)
    machine.response(202, 1.0, 600)
    machine.notify(NotifyInfo(1, None, "active"), 2.0)
    assert machine.expires_at == 601.0
    machine.notify(NotifyInfo(2, None, "active", 10), 5.0)
    machine.notify(NotifyInfo(3, None, "active"), 6.0)
    assert machine.expires_at == 15.0
    assert machine.timers.next_deadline == 47.0


def test_shortened_subscription_ends_64_t1_later_unless_it_ends_sooner() -> None:
    machine = reach("active")
    machine.shorten(NOW)
    assert machine.timers.next_deadline == NOW + 32
    machine.shorten(NOW + 10)
    assert machine.timers.next_deadline == NOW + 32
    ended = reach("terminated")
    ended.shorten(NOW)
    assert ended.timers.next_deadline is None


def test_what_was_shortened_is_not_granted_again() -> None:
    machine = reach("active")
    machine.shorten(NOW, 50.0)
    for number in range(2, 100):
        machine.notify(NotifyInfo(number, None, "active", 600), NOW + number / 10)
    assert machine.timers.next_deadline == NOW + 50
    waiting = reach("notify_wait")
    waiting.shorten(NOW)
    waiting.notify(NotifyInfo(2, None, "active", 600), NOW + 1)
    assert waiting.timers.next_deadline == NOW + 32


def test_415_says_what_is_accepted() -> None:
    assert reach("active").notify(notify("active wrong type"), NOW)[0] == AnswerNotify(415, (("Accept", "text/plain"),))


def test_timers_shared_with_an_owner_keep_the_owners_own() -> None:
    timers = TimerSet()
    timers.start("mine", 99.0)
    machine = Subscription[str](Words(), Timing(), timers)
    machine.sent(0.0)
    machine.drop()
    assert timers.next_deadline == 99.0
    assert machine.fire("mine") == []
