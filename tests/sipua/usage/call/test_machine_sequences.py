"""The machines of a call under any sequence of events (docs/spec/invite.md)."""

from hypothesis import given
from hypothesis import strategies as st

from sipua.effects import Effect
from sipua.timers import Timing
from sipua.usage.call.machine.ackwait import ReinviteAck
from sipua.usage.call.machine.effects import Ack, Bye, Cancel, Confirmed, Established, Failed, Over, Progress, Respond, SendBye
from sipua.usage.call.machine.uac import OutgoingInvite, OutgoingState
from sipua.usage.call.machine.uas import IncomingInvite, IncomingState
from tests.support.call_machines import INCOMING_EVENTS, NOW, OUTGOING_EVENTS, RING_LIMIT_S, Machine, play_incoming, play_outgoing

STEPS = st.tuples(st.floats(0, 40), st.sampled_from([*INCOMING_EVENTS, "tick", "reject 302", "ring 199"]))


@given(st.lists(STEPS, max_size=40))
def test_no_sequence_of_events_breaks_the_rules_of_an_incoming_invite(steps: list[tuple[float, str]]) -> None:
    made = IncomingInvite(Timing())
    now = NOW
    finals: list[int] = []
    confirmed = byes = overs = 0
    for wait, event in steps:
        now += wait
        was_accepted = made.state in (IncomingState.ACCEPTED, IncomingState.CLOSING)
        effects = made.tick(now) if event == "tick" or event.startswith("timer") else play_incoming(made, event, now)
        for effect in effects:
            assert overs == 0, "nothing after the end"
            match effect:
                case Respond(status) if status >= 200:
                    # one final answer; only a 2xx is repeated, and only until its ACK
                    assert not finals or (finals[-1] == status == 200 and was_accepted and confirmed == 0)
                    finals.append(status)
                case Respond(status):
                    assert not finals
                    assert status > 100
                case Confirmed():
                    assert finals[-1] == 200
                    confirmed += 1
                case SendBye():
                    # RFC 3261 §15: a callee sends no BYE before the ACK or its time-out, unless the dialog is lost
                    assert confirmed == 1 or event == "lost"
                    byes += 1
                case Over():
                    overs += 1
        assert confirmed <= 1
        assert byes <= 1
        check_end(made, made.state is IncomingState.ENDED, overs)
        if event == "tick":
            assert (made.timers.next_deadline or now + 1) > now
    assert made.state is not IncomingState.ENDED or finals


def check_end(made: Machine, is_ended: bool, overs: int) -> None:
    assert overs == int(is_ended)
    if is_ended:
        assert not len(made.timers)


SINGLE_EVENTS = [event for event in OUTGOING_EVENTS if not event.endswith(" again")]


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from([*SINGLE_EVENTS, "tick", "1xx ", "2xx "])), max_size=40))
def test_no_sequence_of_events_breaks_the_rules_of_an_outgoing_invite(steps: list[tuple[float, str]]) -> None:
    made = OutgoingInvite(RING_LIMIT_S)
    now = NOW
    established: list[str] = []
    ended: set[str] = set()
    cancels = byes = ends = 0
    for wait, event in steps:
        now += wait
        effects = made.tick(now) if event == "tick" or event.startswith("timer") else play_outgoing(made, event, now)
        if event.startswith("2xx"):
            # RFC 3261 §13.2.2.4: every 2xx is acknowledged, whatever the state, and a surplus dialog gets its BYE, once
            tag = event.removeprefix("2xx ")
            assert effects[0] == Ack(tag)
            assert (Bye(tag) in effects) is (established != [tag] and tag not in ended and Established(tag) not in effects)
        for effect in effects:
            match effect:
                case Established(tag):
                    assert not established
                    assert ends == 0
                    established.append(tag)
                case Bye(tag):
                    assert tag not in ended
                    ended.add(tag)
                case Cancel():
                    assert not established
                    cancels += 1
                case Progress():
                    assert not established
                    assert not cancels
                case Failed():
                    assert not established
                    ends += 1
                case Over():
                    assert established
                    ends += 1
                case SendBye():
                    assert established
                    byes += 1
        assert cancels <= 1
        assert byes <= 1
        check_end(made, made.state is OutgoingState.ENDED, ends)


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["start", "ack", "stop", "tick"])), max_size=30))
def test_no_sequence_of_events_breaks_the_rules_of_a_reinvites_ack(steps: list[tuple[float, str]]) -> None:
    made = ReinviteAck(Timing())
    now = NOW
    for wait, event in steps:
        now += wait
        was_waiting = made.is_waiting
        effects: list[Effect] = []
        match event:
            case "start":
                effects = made.start(now)
            case "ack":
                effects = made.ack()
            case "stop":
                made.stop()
            case _:
                effects = made.tick(now)
        if event in ("ack", "tick") and not was_waiting:
            assert effects == []
        if Confirmed() in effects:
            assert not made.is_waiting
        assert made.is_waiting is bool(len(made.timers))
        if effects == [Respond(200)]:
            assert "ack" in made.timers
            assert "retransmit" in made.timers
