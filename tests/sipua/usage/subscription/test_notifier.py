"""The notifier machine against the table of ``docs/spec/subscription.md``, and the check of a REFER."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.effects import Effect, Terminated
from sipua.message import Headers, Request, Uri
from sipua.usage.subscription.machine import AnswerNotify
from sipua.usage.subscription.notifier import (
    DESTROYING_CODES,
    ReferNotifier,
    ReferRequest,
    Refusal,
    Respond,
    SendNotify,
    check_refer,
)
from sipua.usage.subscription.package import NotifyInfo
from sipua.usage.subscription.refer import Progress, ReferTransfer
from tests.support.tables import SPEC, read_table

SITUATIONS = {row["situation"]: row for row in read_table(SPEC / "subscription.md", "Notifier situations")}
ROWS = read_table(SPEC / "subscription.md", "Notifier states")
INPUTS = sorted({row["input"] for row in ROWS if not row["input"].startswith("timer")} | {"progress 180", "progress 183", "answer 100"})


def apply(machine: ReferNotifier, event: str, now: float = 10.0) -> list[Effect]:
    word, _, rest = event.partition(" ")
    match word:
        case "accept":
            return machine.accept(now, subscribe=rest != "silent")
        case "progress":
            return machine.progress(int(rest), now)
        case "finish":
            return machine.finish(int(rest), now)
        case "subscribe":
            return machine.subscribe(int(rest), now)
        case "answer":
            return machine.notify_response(int(rest), now)
        case "failed":
            return machine.notify_failed()
        case "drop":
            return machine.drop()
    deadline = machine.timers.deadline(rest)
    assert deadline is not None
    if rest == "expires":
        machine.timers.stop("pace")
    return machine.tick(deadline)


def describe(effect: Effect) -> str:
    match effect:
        case Respond(status):
            return f"respond {status}"
        case SendNotify("refer", state, body):
            state, _, parameter = state.partition(";")
            name, _, value = parameter.partition("=")
            assert name == ("expires" if state == "active" else "reason")
            assert body.startswith(b"SIP/2.0 ")
            return f"notify {body.split()[1].decode()} {state}" + ("" if state == "active" else f" {value}")
        case Terminated():
            return "terminated"
    raise AssertionError(effect)


def reach(situation: str) -> ReferNotifier:
    machine = ReferNotifier()
    for event in SITUATIONS[situation]["inputs so far"].split(";"):
        if event.strip() != "–":
            apply(machine, event.strip())
    return machine


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_input_does_what_the_table_says(situation: str) -> None:
    machine = reach(situation)
    assert machine.state == SITUATIONS[situation]["state"]
    names = {name.strip() for name in SITUATIONS[situation]["timers"].split(",")} - {"–"}
    assert {name for name in ("pace", "expires") if name in machine.timers} == names
    rows = {row["input"]: row for row in ROWS if row["situation"] == situation}
    for event in [*INPUTS, *(f"timer {name}" for name in sorted(names))]:
        row = rows.get(event, {"next state": SITUATIONS[situation]["state"], "effects": "–"})
        machine = reach(situation)
        effects = apply(machine, event)
        assert machine.state == row["next state"], event
        assert [describe(effect) for effect in effects] == ([] if row["effects"] == "–" else row["effects"].split(", ")), event


def test_notifies_of_a_transfer_that_is_answered() -> None:
    machine = ReferNotifier(event_id=93809824, expires=60)
    assert machine.accept(0.0) == [
        Respond(202, (("Expires", "60"),)),
        SendNotify("refer;id=93809824", "active;expires=60", b"SIP/2.0 100 Trying\r\n", "message/sipfrag;version=2.0"),
    ]
    assert machine.notify_response(200, 0.1) == []
    assert machine.progress(180, 2.0) == [SendNotify("refer;id=93809824", "active;expires=58", b"SIP/2.0 180 Ringing\r\n")]
    assert machine.finish(200, 2.1) == []
    assert machine.notify_response(200, 2.2) == [SendNotify("refer;id=93809824", "terminated;reason=noresource", b"SIP/2.0 200 OK\r\n")]
    assert machine.notify_response(200, 2.3) == [Terminated()]


def test_provisional_statuses_are_sent_once_a_second_and_only_the_newest() -> None:
    """RFC 3515 §3.10."""
    machine = ReferNotifier()
    machine.accept(0.0)
    machine.progress(180, 0.1)
    assert machine.notify_response(200, 0.2) == []
    assert machine.progress(183, 0.3) == []
    assert machine.tick(0.9) == []
    assert [describe(effect) for effect in machine.tick(1.0)] == ["notify 183 active"]
    assert machine.notify_response(200, 1.1) == []
    assert machine.progress(183, 5.0) == []


def test_final_status_does_not_wait_for_the_second_to_pass() -> None:
    machine = ReferNotifier()
    machine.accept(0.0)
    machine.notify_response(200, 0.1)
    assert [describe(effect) for effect in machine.finish(603, 0.2)] == ["notify 603 terminated noresource"]


@pytest.mark.parametrize("status", sorted(DESTROYING_CODES))
def test_answer_that_destroys_ends_the_subscription(status: int) -> None:
    """RFC 6665 §4.2.2."""
    machine = ReferNotifier()
    machine.accept(0.0)
    assert machine.notify_response(status, 1.0) == [Terminated()]
    assert machine.finish(200, 2.0) == []


@pytest.mark.parametrize("status", [400, 415, 500])
def test_other_errors_leave_the_subscription_alive(status: int) -> None:
    machine = ReferNotifier()
    machine.accept(0.0)
    assert machine.notify_response(status, 1.0) == []
    assert [describe(effect) for effect in machine.finish(200, 2.0)] == ["notify 200 terminated noresource"]


def test_pace_and_expiry_due_at_once_end_with_the_newest_status() -> None:
    machine = ReferNotifier(expires=1)
    machine.accept(0.0)
    machine.notify_response(200, 0.1)
    machine.progress(180, 0.5)
    sent = [describe(effect) for effect in machine.tick(1.0)]
    assert sent in (["notify 180 terminated timeout"], ["notify 180 active"])
    assert machine.state == "finished"


def test_subscribe_never_grants_more_than_at_first() -> None:
    machine = ReferNotifier(expires=60)
    machine.accept(0.0)
    assert machine.subscribe(3600, 10.0) == [Respond(200, (("Expires", "60"),))]
    assert machine.timers.deadline("expires") == 70.0
    assert machine.notify_response(200, 11.0) == [SendNotify("refer", "active;expires=59", b"SIP/2.0 100 Trying\r\n")]


def test_finish_refuses_what_is_no_final_status() -> None:
    machine = ReferNotifier()
    machine.accept(0.0)
    with pytest.raises(ValueError, match="180"):
        machine.finish(180, 1.0)


STEPS = st.sampled_from([*INPUTS, "tick"])


@given(st.lists(st.tuples(STEPS, st.floats(0, 3)), max_size=40))
def test_whatever_happens_one_notify_is_unanswered_at_most_and_it_ends_once(steps: list[tuple[str, float]]) -> None:
    machine = ReferNotifier(expires=20)
    now, unanswered, ends = 0.0, 0, 0
    machine_effects: list[Effect] = machine.accept(now)
    for event, delay in [*steps, ("tick", 30.0), ("answer 200", 0.0), ("answer 200", 0.0)]:
        for effect in machine_effects:
            assert ends == 0
            unanswered += isinstance(effect, SendNotify)
            ends += isinstance(effect, Terminated)
        assert unanswered <= 1
        now += delay
        if event in ("answer 200", "answer 400", "answer 481", "failed"):
            unanswered = 0
        machine_effects = machine.tick(now) if event == "tick" else apply(machine, event, now)
    ends += sum(isinstance(effect, Terminated) for effect in machine_effects)
    assert ends == 1
    assert len(machine.timers) == 0


def refer(*lines: tuple[str, str]) -> Request:
    return Request("REFER", "sip:b@b.example", Headers(lines))


def test_check_takes_the_target_without_its_headers() -> None:
    found = check_refer(
        refer(
            ("Refer-To", "<sip:c@c.example;method=INVITE?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&Subject=x>"),
            ("Referred-By", "<sip:a@a.example>"),
        )
    )
    assert found == ReferRequest(Uri.parse("sip:c@c.example"), "a@b;to-tag=1;from-tag=2", "<sip:a@a.example>")


def test_check_notes_that_no_subscription_is_wanted() -> None:
    found = check_refer(refer(("Refer-To", "sip:c@c.example"), ("Refer-Sub", "FALSE")))
    assert found == ReferRequest(Uri.parse("sip:c@c.example"), wants_no_subscription=True)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([], 400),
        ([("Refer-To", "<sip:c@c>"), ("Refer-To", "<sip:d@d>")], 400),
        ([("Refer-To", "<sip:c@c>, <sip:d@d>")], 400),
        ([("Refer-To", "<sip:c@@c>")], 400),
        ([("Refer-To", "")], 400),
        ([("Refer-To", "nonsense")], 400),
        ([("Refer-To", "<tel:+1555>")], 416),
        ([("Refer-To", "<http://c.example/>")], 416),
        ([("Refer-To", "<sip:c@c;method=BYE>")], 403),
    ],
)
def test_check_refuses(lines: list[tuple[str, str]], status: int) -> None:
    found = check_refer(refer(*lines))
    assert isinstance(found, Refusal)
    assert found.status == status


def test_line_breaks_hidden_in_replaces_are_not_taken() -> None:
    found = check_refer(refer(("Refer-To", "<sip:c@c?Replaces=a%0d%0aEvil:%20x>")))
    assert isinstance(found, ReferRequest)
    assert found.replaces is None


@given(st.text(st.characters(blacklist_characters="\r\n"), max_size=60))
def test_check_never_raises(value: str) -> None:
    request = Request("REFER", "sip:b@b.example")
    request.headers.add("Refer-To", value)
    assert isinstance(check_refer(request), ReferRequest | Refusal)


@pytest.mark.parametrize(("code", "kind"), [(200, "transferred"), (486, "busy"), (487, "no_answer"), (603, "declined"), (500, "failed")])
def test_transferor_learns_what_the_transferee_reports(code: int, kind: str) -> None:
    """Both machines together, each NOTIFY answered a moment later."""
    transferee, transferor = ReferNotifier(event_id=7), ReferTransfer()
    transferor.sent(7, 0.0)
    cseq = iter(range(10, 20))
    progress: list[int] = []

    def carry(effects: list[Effect], now: float) -> None:
        for effect in effects:
            if isinstance(effect, Respond):
                transferor.refer_response(effect.status, now)
            elif isinstance(effect, SendNotify):
                headers = Headers([("CSeq", f"{next(cseq)} NOTIFY"), ("Event", effect.event)])
                headers.add("Subscription-State", effect.subscription_state)
                headers.add("Content-Type", effect.content_type)
                info = NotifyInfo.from_request(Request("NOTIFY", "sip:a@a.example", headers, effect.body))
                assert transferor.matches(info.event_id)
                answer, *others = transferor.notify(info, now)
                assert answer == AnswerNotify(200)
                progress.extend(other.code for other in others if isinstance(other, Progress))
                carry(transferee.notify_response(200, now + 0.1), now + 0.1)

    carry(transferee.accept(0.0), 0.0)
    carry(transferee.progress(180, 2.0), 2.0)
    carry(transferee.finish(code, 9.0), 9.0)
    assert progress == [100, 180]
    assert transferor.outcome is not None
    assert (transferor.outcome.kind, transferor.outcome.notify_code) == (kind, code)
    assert (transferor.state, transferee.state) == ("terminated", "terminated")
