"""The machines of a call against docs/spec/invite.md, row by row, and their times."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sipua.message import Response
from sipua.sdp import LocalMedia, OfferAnswer, parse_sdp
from sipua.timers import Timing
from sipua.usage.call.machine.ackwait import ReinviteAck
from sipua.usage.call.machine.effects import (
    Ack,
    Bye,
    Cancel,
    Confirmed,
    EndedBy,
    Failed,
    Over,
    Respond,
)
from sipua.usage.call.machine.glare import OTHER_WAIT_S, OWNER_WAIT_S, RETRY_AFTER_S, Pending, answer_invite, may_send_invite, wait_range
from sipua.usage.call.machine.uac import MAX_SURPLUS, OutgoingInvite, OutgoingState
from sipua.usage.call.machine.uas import PROGRESS_INTERVAL_S, IncomingInvite, IncomingState
from sipua.usage.call.reinvite import Reinvites
from tests.support.call_machines import (
    INCOMING_EVENTS,
    NOW,
    OUTGOING_EVENTS,
    RING_LIMIT_S,
    play_incoming,
    play_outgoing,
    spell,
    spelled,
    timers,
)
from tests.support.messages import request
from tests.support.tables import SPEC, read_table

TABLE = SPEC / "invite.md"
INCOMING = read_table(TABLE, "Incoming INVITE")
OUTGOING = read_table(TABLE, "Outgoing INVITE")
GLARE = read_table(TABLE, "re-INVITE and UPDATE")
INCOMING_WAYS: dict[str, tuple[str, ...]] = {
    "received": (),
    "ringing": ("ring 180",),
    "ringing, expires": ("ring 180", "expire"),
    "accepted": ("accept",),
    "closing": ("accept", "hangup"),
    "confirmed": ("accept", "ack"),
    "ended": ("accept", "ack", "bye"),
}
OUTGOING_WAYS: dict[str, tuple[str, ...]] = {
    "calling": (),
    "proceeding": ("1xx a",),
    "canceling": ("1xx a", "cancel"),
    "confirmed": ("2xx a",),
    "ended": ("2xx a", "bye"),
}


def incoming(state: str) -> IncomingInvite:
    made = IncomingInvite(Timing())
    for event in INCOMING_WAYS[state]:
        play_incoming(made, event)
    assert made.state.value == state.partition(",")[0]
    return made


def outgoing(state: str) -> OutgoingInvite:
    made = OutgoingInvite(RING_LIMIT_S)
    for event in OUTGOING_WAYS[state]:
        play_outgoing(made, event)
    assert made.state.value == state
    return made


def row_id(row: dict[str, str]) -> str:
    return f"{row['State']}-{row['Event']}"


@pytest.mark.parametrize("row", INCOMING, ids=row_id)
def test_every_row_of_the_incoming_invite_holds(row: dict[str, str]) -> None:
    made = incoming(row["State"])
    assert spelled(play_incoming(made, row["Event"])) == row["Effects"]
    assert (made.state.value, timers(made)) == (row["Next state"], row["Timers"])


@pytest.mark.parametrize("row", OUTGOING, ids=row_id)
def test_every_row_of_the_outgoing_invite_holds(row: dict[str, str]) -> None:
    made = outgoing(row["State"])
    assert spelled(play_outgoing(made, row["Event"])) == row["Effects"]
    assert (made.state.value, timers(made)) == (row["Next state"], row["Timers"])


def kinds(rows: list[dict[str, str]], state: str) -> set[str]:
    """Events that a state has a row for; a status or a fork that the row names stands for all of its kind."""
    return {row["Event"].split()[0] if row["Event"][0] in "rf" else row["Event"] for row in rows if row["State"] == state}


@pytest.mark.parametrize("state", [state for state in INCOMING_WAYS if "," not in state])
def test_an_event_without_a_row_does_nothing_to_an_incoming_invite(state: str) -> None:
    known = kinds(INCOMING, state)
    for event in INCOMING_EVENTS:
        if event in known or event.split()[0] in known:
            continue
        made = incoming(state)
        before = timers(made)
        assert play_incoming(made, event) == [], event
        assert (made.state.value, timers(made)) == (state, before), event


@pytest.mark.parametrize("state", OUTGOING_WAYS)
def test_an_event_without_a_row_does_nothing_to_an_outgoing_invite(state: str) -> None:
    known = kinds(OUTGOING, state)
    forks = {event.split()[0] for event in known if event.startswith(("1xx", "2xx"))}
    for event in OUTGOING_EVENTS:
        if event in known or event.split()[0] in known | forks:
            continue
        made = outgoing(state)
        before = timers(made)
        assert play_outgoing(made, event) == [], event
        assert (made.state.value, timers(made)) == (state, before), event


def test_the_tables_name_every_state() -> None:
    assert {row["State"].partition(",")[0] for row in INCOMING} == {state.value for state in IncomingState}
    assert {row["State"] for row in OUTGOING} == {state.value for state in OutgoingState}


@pytest.mark.parametrize("way", [("failure 486",), ("cancel", "failure 487"), ("1xx a", "cancel", "2xx a")], ids=", ".join)
def test_a_call_that_was_never_established_answers_every_fork_with_ack_and_one_bye(way: tuple[str, ...]) -> None:
    made = OutgoingInvite(RING_LIMIT_S)
    for event in way:
        play_outgoing(made, event)
    assert made.state is OutgoingState.ENDED
    for tag in ("b", "c"):
        assert made.success(tag) == [Ack(tag), Bye(tag)]
        assert made.success(tag) == [Ack(tag)]


def test_a_flood_of_forks_that_answer_is_passed_over_beyond_the_limit() -> None:
    made = OutgoingInvite(RING_LIMIT_S)
    made.success("ours")
    for number in range(MAX_SURPLUS):
        assert not made.ignores(str(number))
        assert made.success(str(number)) == [Ack(str(number)), Bye(str(number))]
    assert made.ignores("one more")
    assert made.success("one more") == []
    for tag in ("ours", "0"):
        assert not made.ignores(tag)
        assert made.success(tag) == [Ack(tag)]


def sent_at(made: IncomingInvite | ReinviteAck, until: float) -> list[tuple[float, str]]:
    found = []
    while (deadline := made.timers.next_deadline) is not None and deadline <= until:
        found += [(deadline - NOW, spell(effect)) for effect in made.tick(deadline)]
    return found


def test_a_2xx_is_repeated_from_t1_to_t2_until_64_t1_have_passed() -> None:
    made = IncomingInvite(Timing())
    made.accept(NOW)
    times = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    end = [(32.0, "Confirmed"), (32.0, "SendBye"), (32.0, "Over no-ack")]
    assert sent_at(made, NOW + 100) == [*((time, "Respond 200") for time in times), *end]


def test_timers_keep_their_ratios_when_t1_is_short() -> None:
    made = IncomingInvite(Timing(t1=0.01, t2=0.08))
    made.accept(NOW)
    assert len(sent_at(made, NOW + 0.65)) == 13
    assert made.state is IncomingState.ENDED


def test_a_provisional_answer_is_repeated_every_minute() -> None:
    made = IncomingInvite(Timing())
    made.ring(183, NOW)
    assert sent_at(made, NOW + 200) == [(minute * PROGRESS_INTERVAL_S, "Respond 183") for minute in (1, 2, 3)]


def test_the_limit_on_ringing_runs_from_the_first_provisional_response() -> None:
    made = OutgoingInvite(RING_LIMIT_S)
    assert made.provisional(100, "", NOW) == []
    made.provisional(180, "a", NOW + 10)
    made.provisional(183, "b", NOW + 20)
    assert made.timers.next_deadline == NOW + RING_LIMIT_S
    assert made.tick(NOW + RING_LIMIT_S - 1) == []
    assert made.tick(NOW + RING_LIMIT_S) == [Cancel()]


def test_reasons_are_passed_on() -> None:
    assert IncomingInvite(Timing()).reject(603, "No Thanks") == [Respond(603, "No Thanks"), Over(EndedBy.LOCAL)]
    assert IncomingInvite(Timing()).hangup(503)[0] == Respond(503)
    assert OutgoingInvite(RING_LIMIT_S).failure(486, "Busy") == [Failed(486, "Busy")]


def test_a_machine_that_was_not_woken_in_time_sends_no_burst() -> None:
    made = IncomingInvite(Timing())
    made.accept(NOW)
    assert made.tick(NOW + 10) == [Respond(200)]
    assert made.timers.deadline("retransmit") == NOW + 11


# -- the 2xx to a re-INVITE -----------------------------------------------------------------------------------------------------------


def test_the_2xx_to_a_reinvite_is_repeated_until_its_ack() -> None:
    made = ReinviteAck(Timing())
    assert not made.is_waiting
    assert made.start(NOW) == [Respond(200)]
    assert made.is_waiting
    assert sent_at(made, NOW + 2) == [(0.5, "Respond 200"), (1.5, "Respond 200")]
    assert made.ack() == [Confirmed()]
    assert made.ack() == []
    assert not made.is_waiting


def test_a_reinvite_without_ack_ends_the_call() -> None:
    made = ReinviteAck(Timing())
    made.start(NOW)
    assert sent_at(made, NOW + 100)[-3:] == [(32.0, "Confirmed"), (32.0, "SendBye"), (32.0, "Over no-ack")]
    assert not made.is_waiting
    assert made.tick(NOW + 200) == made.ack() == []


def test_the_end_of_the_call_stops_the_repetition() -> None:
    made = ReinviteAck(Timing())
    made.start(NOW)
    made.stop()
    assert made.tick(NOW + 100) == made.ack() == []


# -- collisions -----------------------------------------------------------------------------------------------------------------------


def offer_answer(pending: str) -> OfferAnswer:
    made = OfferAnswer(LocalMedia("192.0.2.7", 30000), session_id=1, version=1)
    if pending == "our offer":
        made.make_offer()
    elif pending == "their offer":
        assert made.receive_offer(parse_sdp(OFFER)) is None
    return made


OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n"


def update_without_offer() -> str:
    """Ask the user of the rules: UPDATE without an offer opens nothing, so nothing that is pending refuses it."""
    answers: list[Response] = []
    message = request("UPDATE")
    dialog = SimpleNamespace(state=SimpleNamespace(refresh_target=lambda _: None), contact="<sip:us@192.0.2.7>")
    session = SimpleNamespace(dialog=dialog, timer=SimpleNamespace(refusal=lambda _: None, accept=lambda *_: None))
    reinvites = Reinvites(cast("Any", session))
    for pending in Pending:
        reinvites._ours = pending is Pending.OURS
        reinvites.on_update(cast("Any", SimpleNamespace(request=message, respond=answers.append)))
    return "take" if {response.status for response in answers} == {200} else "refused"


@pytest.mark.parametrize("row", GLARE, ids=lambda row: f"{row['Pending']}-{row['Event']}")
def test_every_row_of_the_collisions_holds(row: dict[str, str]) -> None:
    pending, event = row["Pending"], row["Event"]
    if event == "INVITE in":
        got = str(answer_invite(Pending(pending)) or "take")
    elif event == "INVITE out":
        got = "send" if may_send_invite(Pending(pending)) else "wait"
    elif event == "UPDATE with offer in":
        refusal = offer_answer(pending).receive_offer(parse_sdp(OFFER))
        got = "take" if refusal is None else str(refusal.status)
    else:
        assert (pending, event) == ("anything", "UPDATE without offer in")
        got = update_without_offer()
    assert got == row["Answer or effect"]


def test_the_table_of_collisions_is_complete() -> None:
    assert {row["Pending"] for row in GLARE if row["Event"] == "INVITE in"} == {pending.value for pending in Pending}
    assert {row["Pending"] for row in GLARE if row["Event"] == "INVITE out"} == {pending.value for pending in Pending}


def test_waits_after_a_collision_are_those_of_the_rfc() -> None:
    assert wait_range(is_owner=True) == OWNER_WAIT_S == (2.1, 4.0)
    assert wait_range(is_owner=False) == OTHER_WAIT_S == (0.0, 2.0)
    assert RETRY_AFTER_S == (0, 10)
