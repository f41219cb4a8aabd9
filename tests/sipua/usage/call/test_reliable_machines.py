"""The machines of reliable provisional responses against docs/spec/reliable-provisional.md, row by row, and in any order."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.dialog.checks import SUPPORTED_EXTENSIONS, refuse
from sipua.effects import Effect
from sipua.message import RAck
from sipua.timers import Timing
from sipua.usage.call.machine.reliable_uac import ReliableOrder, is_reliable
from sipua.usage.call.machine.reliable_uas import (
    OPTION,
    AnswerPrack,
    Release,
    ReliableResponses,
    ReliableState,
    ReliableUse,
    SendReliable,
    Unacknowledged,
    wants_reliable,
)
from tests.support.messages import request, response
from tests.support.tables import SPEC, read_table

TABLE = SPEC / "reliable-provisional.md"
CALLEE = read_table(TABLE, "As callee")
CALLER = read_table(TABLE, "As caller")
WHEN = read_table(TABLE, "When")
NOW = 1000.0
CSEQ = 1
WAYS: dict[str, tuple[str, ...]] = {
    "idle": (),
    "waiting": ("send 180",),
    "waiting, one more": ("send 180", "send 183"),
    "waiting, sdp": ("send 183 sdp",),
    "holding": ("send 183 sdp", "accept"),
    "done": ("stop",),
    "done, late": ("send 180", "accept"),
}


def spell(effect: Effect) -> str:
    match effect:
        case SendReliable(status, rseq, has_session):
            return f"SendReliable {status} {rseq}{' sdp' if has_session else ''}"
        case AnswerPrack(status):
            return f"AnswerPrack {status}"
        case Release() | Unacknowledged():
            return type(effect).__name__
    raise AssertionError(effect)


def play(made: ReliableResponses, event: str, now: float = NOW) -> list[Effect]:
    name, _, value = event.partition(" ")
    match name:
        case "send":
            return made.send(int(value[:3]), now, has_session=value.endswith("sdp"))
        case "prack":
            return made.prack(RAck(1 if value == "ok" else 77, CSEQ, "INVITE"), now)
        case "accept":
            return made.accept()
        case "stop":
            made.stop()
            return []
        case "timer":
            if made.timers.deadline(value) is None:
                return []
            made.timers.start(value, now)
            return made.tick(now)
    raise AssertionError(event)


def at(state: str) -> ReliableResponses:
    made = ReliableResponses(Timing(), CSEQ, 1)
    for event in WAYS[state]:
        play(made, event)
    assert made.state.value == state.partition(",")[0]
    return made


def timers(made: ReliableResponses) -> str:
    return ", ".join(name for name in ("retransmit", "prack") if name in made.timers) or "–"


@pytest.mark.parametrize("row", CALLEE, ids=lambda row: f"{row['State']}-{row['Event']}")
def test_every_row_of_the_callee_holds(row: dict[str, str]) -> None:
    made = at(row["State"])
    assert (", ".join(map(spell, play(made, row["Event"]))) or "–") == row["Effects"]
    assert (made.state.value, timers(made)) == (row["Next state"], row["Timers"])


def test_the_table_of_the_callee_names_every_state() -> None:
    assert {row["State"].partition(",")[0] for row in CALLEE} == {state.value for state in ReliableState}


@pytest.mark.parametrize("row", CALLER, ids=lambda row: f"{row['Response']}-{row['Last']}")
def test_every_row_of_the_caller_holds(row: dict[str, str]) -> None:
    made = ReliableOrder()
    if row["Last"] != "none":
        made.receive(int(row["Last"]), is_reliable=True)
    got = response(request("INVITE"), int(row["Response"][:3]))
    number = re.search(r"RSeq: (\d+)", row["Response"])
    if number is not None:
        got.headers.add("RSeq", number[1])
    if not row["Response"].endswith("without 100rel"):
        got.headers.add("Require", "100rel")
    assert made.receive(got.rseq, is_reliable=is_reliable(got)).value == row["What we do"]


@pytest.mark.parametrize("row", WHEN, ids=lambda row: f"{row['Setting']}-{row['INVITE']}")
def test_every_row_of_when_holds(row: dict[str, str]) -> None:
    use = ReliableUse(row["Setting"])
    invite = request("INVITE")
    name, _, value = row["INVITE"].partition(": ")
    if value:
        invite.headers.add(name, value)
    refusal = refuse(invite, "t", SUPPORTED_EXTENSIONS - {OPTION} if use is ReliableUse.NEVER else SUPPORTED_EXTENSIONS)
    if row["Responses"] == "420":
        assert refusal is not None
        assert (refusal.status, refusal.headers.get("Unsupported")) == (420, "100rel")
    else:
        assert refusal is None
        assert wants_reliable(invite, use) is (row["Responses"] == "reliable")


def test_a_100_is_never_reliable() -> None:
    trying = response(request("INVITE"), 100)
    trying.headers.add("Require", "100rel")
    assert not is_reliable(trying)


def test_repetitions_double_without_a_limit_until_64_t1() -> None:
    made = ReliableResponses(Timing(), CSEQ, 9)
    made.send(180, NOW)
    seen: list[tuple[float, str]] = []
    while (deadline := made.timers.next_deadline) is not None:
        seen += [(deadline - NOW, spell(effect)) for effect in made.tick(deadline)]
    assert seen == [*((at, "SendReliable 180 9") for at in (0.5, 1.5, 3.5, 7.5, 15.5, 31.5)), (32.0, "Unacknowledged")]


@pytest.mark.parametrize("rack", [RAck(2, 1, "INVITE"), RAck(1, 2, "INVITE"), RAck(1, 1, "invite"), RAck(1, 1, "UPDATE")])
def test_a_prack_has_to_name_number_request_and_method(rack: RAck) -> None:
    made = at("waiting")
    assert made.prack(rack, NOW) == [AnswerPrack(481)]
    assert made.prack(RAck(1, 1, "INVITE"), NOW) == [AnswerPrack(200)]
    assert made.prack(RAck(1, 1, "INVITE"), NOW) == [AnswerPrack(481)]


def test_a_description_that_waits_goes_with_what_is_sent_in_its_place() -> None:
    made = ReliableResponses(Timing(), CSEQ, 1)
    made.send(180, NOW)
    made.send(183, NOW, has_session=True)
    made.send(180, NOW)
    assert made.prack(RAck(1, 1, "INVITE"), NOW) == [AnswerPrack(200), SendReliable(180, 2, has_session=True)]


EVENTS = (
    *("send 180", "send 183 sdp", "prack ok", "prack wrong", "prack last", "accept", "stop", "timer retransmit", "timer prack"),
    *("clock",),
)


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_any_order_of_events_keeps_the_rules(events: list[str]) -> None:
    made = ReliableResponses(Timing(), CSEQ, 1)
    last, open_rseq, now, final = 0, 0, NOW, False
    for event in events:
        if event == "clock":
            now += 0.7
            effects = made.tick(now)
        elif event == "prack last":
            effects = made.prack(RAck(last, CSEQ, "INVITE"), now)
        else:
            effects = play(made, event, now)
        for effect in effects:
            if isinstance(effect, SendReliable):
                assert not final or made.state is ReliableState.DONE
                assert effect.rseq in (last, last + 1)
                if effect.rseq == last + 1:
                    assert open_rseq == 0, "the next one only after the PRACK of the one before (RFC 3262 §3)"
                last = open_rseq = effect.rseq
            elif isinstance(effect, AnswerPrack) and effect.status == 200:
                assert open_rseq
                open_rseq = 0
            elif isinstance(effect, Release | Unacknowledged):
                final = True
        if made.state in (ReliableState.IDLE, ReliableState.DONE):
            assert len(made.timers) == 0
    assert len(made.timers) <= 2


@given(st.lists(st.integers(1, 12), max_size=40))
def test_a_caller_acknowledges_each_number_once_and_in_order(numbers: list[int]) -> None:
    made = ReliableOrder()
    taken = [number for number in numbers if made.receive(number, is_reliable=True).value == "PRACK, take"]
    assert taken == list(range(taken[0], taken[0] + len(taken))) if taken else not numbers
