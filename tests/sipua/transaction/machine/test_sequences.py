"""Any order of events: what must hold for the transaction machines whatever the network and the user do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.effects import Effect, Terminated
from sipua.message import Request, Response
from sipua.timers import Timing
from sipua.transaction.machine import (
    Deliver,
    DeliverAck,
    Failed,
    InviteClient,
    InviteServer,
    NoAck,
    OtherClient,
    OtherServer,
    SendCancel,
    Transmit,
)
from tests.support.messages import request, response

TIMING = Timing()
STATUSES = st.sampled_from([100, 180, 183, 200, 202, 302, 401, 408, 486, 503, 603])
CLIENT_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("response"), STATUSES),
        st.tuples(st.sampled_from(["cancel", "transport", "timer"]), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 40)),
    ),
    max_size=25,
)
SERVER_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("respond"), STATUSES),
        st.tuples(st.sampled_from(["request", "ack", "timer"]), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 40)),
    ),
    max_size=25,
)


def run(machine: Any, sent: Request, events: list[tuple[str, int]]) -> list[tuple[float, Effect]]:
    """Feed *events*, then let all timers run out; return the effects with their times."""
    now = 0.0
    log = [(now, effect) for effect in machine.start(now)]

    def tick_until(end: float) -> None:
        nonlocal now
        while (deadline := machine.timers.next_deadline) is not None and deadline <= end:
            now = max(now, deadline)
            log.extend((now, effect) for effect in machine.tick(now))
            check(machine, log)
        now = end

    for name, value in events:
        effects: list[Effect] = []
        if name == "wait":
            tick_until(now + value)
        elif name == "timer":
            tick_until(machine.timers.next_deadline or now)
        elif name == "response":
            effects = machine.receive(response(sent, value), now)
        elif name == "respond":
            effects = machine.respond(response(sent, value), now)
        elif name == "request":
            effects = machine.receive(sent, now)
        elif name == "ack":
            effects = machine.receive(request("ACK", to_tag="b1"), now) if sent.method == "INVITE" else []
        elif name == "transport":
            effects = machine.transport_failed(now)
        elif isinstance(machine, InviteClient):
            effects = machine.cancel(now)
        log.extend((now, effect) for effect in effects)
        check(machine, log)
    tick_until(now + 200)
    return log


def check(machine: Any, log: list[tuple[float, Effect]]) -> None:
    if machine.is_terminated:
        assert len(machine.timers) == 0
        assert isinstance(log[-1][1], Terminated)
    ends = [effect for _, effect in log if isinstance(effect, Terminated)]
    assert len(ends) == machine.is_terminated


def effects_of(log: list[tuple[float, Effect]], kind: type) -> list[Any]:
    return [effect for _, effect in log if isinstance(effect, kind)]


@given(CLIENT_EVENTS, st.booleans())
def test_an_invite_client_reports_one_outcome_and_acknowledges_refusals(events: list[tuple[str, int]], reliable: bool) -> None:
    log = run(InviteClient(request("INVITE"), TIMING, reliable=reliable), request("INVITE"), events)
    finals = [e.response for e in effects_of(log, Deliver) if e.response.is_final]
    failures = effects_of(log, Failed)
    refusals = [r for r in finals if not r.is_success]
    assert len(refusals) + len(failures) + bool([r for r in finals if r.is_success]) <= 1
    assert len(effects_of(log, SendCancel)) <= 1
    sent = [(e.message.method, e.repeat) for e in effects_of(log, Transmit)]
    assert sent.count(("INVITE", False)) == 1
    assert sent.count(("ACK", False)) == len(refusals)
    if reliable:
        assert ("INVITE", True) not in sent
        assert ("ACK", True) not in sent
    assert sent.count(("INVITE", True)) <= 6


@given(CLIENT_EVENTS, st.booleans())
def test_another_client_reports_one_outcome_and_always_ends(events: list[tuple[str, int]], reliable: bool) -> None:
    machine = OtherClient(request("REFER"), TIMING, reliable=reliable)
    log = run(machine, request("REFER"), events)
    finals = [e for e in effects_of(log, Deliver) if e.response.is_final]
    assert len(finals) + len(effects_of(log, Failed)) == 1
    assert machine.is_terminated
    assert len(effects_of(log, Transmit)) <= (1 if reliable else 11)


@given(SERVER_EVENTS, st.booleans())
def test_an_invite_server_sends_one_final_response(events: list[tuple[str, int]], reliable: bool) -> None:
    log = run(InviteServer(request("INVITE"), TIMING, reliable=reliable), request("INVITE"), events)
    finals = [e for e in effects_of(log, Transmit) if e.message.is_final]
    assert len({e.message.is_success for e in finals}) <= 1
    assert sum(not e.repeat for e in finals) <= 1
    if finals and finals[0].message.is_success:
        assert effects_of(log, NoAck) == []
    else:
        assert len({e.message.status for e in finals}) <= 1
        assert effects_of(log, DeliverAck) == []
    assert len(effects_of(log, NoAck)) <= 1


@given(SERVER_EVENTS, st.booleans())
def test_another_server_keeps_rfc_4320_and_always_ends(events: list[tuple[str, int]], reliable: bool) -> None:
    machine = OtherServer(request("REFER"), TIMING, reliable=reliable)
    log = run(machine, request("REFER"), events)
    assert machine.is_terminated
    finals: set[int] = set()
    for time, effect in log:
        if isinstance(effect, Transmit):
            assert isinstance(effect.message, Response)
            assert effect.message.status != 408
            if effect.message.is_provisional:
                assert effect.message.status == 100
                assert not finals
                assert reliable or time >= 3.5
            else:
                finals.add(effect.message.status)
    assert len(finals) <= 1


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (InviteClient(request("INVITE"), TIMING, reliable=False), [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]),
        (OtherClient(request("REFER"), TIMING, reliable=False), [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]),
    ],
)
def test_the_schedule_up_to_64_t1_is_exact(machine: InviteClient | OtherClient, expected: list[float]) -> None:
    log = run(machine, request("INVITE"), [("wait", 40)])
    assert [time for time, effect in log if isinstance(effect, Transmit)] == pytest.approx(expected)
    assert [time for time, effect in log if isinstance(effect, Failed)] == [32.0]


def test_the_schedule_of_a_refusal_up_to_64_t1_is_exact() -> None:
    log = run(InviteServer(request("INVITE"), TIMING, reliable=False), request("INVITE"), [("respond", 486), ("wait", 40)])
    times = [time for time, effect in log if isinstance(effect, Transmit)]
    assert times == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
    assert [time for time, effect in log if isinstance(effect, NoAck)] == [32.0]


def test_shorter_times_keep_all_ratios() -> None:
    machine = InviteClient(request("INVITE"), Timing(t1=0.01, t2=0.08, t4=0.1), reliable=False)
    log = run(machine, request("INVITE"), [("wait", 1)])
    assert [time for time, effect in log if isinstance(effect, Transmit)] == pytest.approx([0, 0.01, 0.03, 0.07, 0.15, 0.31, 0.63])
    assert [time for time, effect in log if isinstance(effect, Failed)] == [0.64]


@pytest.mark.parametrize(
    "machine", [InviteClient(request("INVITE"), TIMING, reliable=False), OtherClient(request("REFER"), TIMING, reliable=False)]
)
def test_a_loop_that_stood_still_causes_no_burst(machine: InviteClient | OtherClient) -> None:
    machine.start(0.0)
    assert len(machine.tick(20.0)) == 1
    assert machine.tick(20.5) == []
    assert machine.timers.next_deadline == 21.0


@pytest.mark.parametrize(
    "machine", [InviteClient(request("INVITE"), TIMING, reliable=False), OtherClient(request("REFER"), TIMING, reliable=False)]
)
def test_after_a_long_stand_still_nothing_is_sent_any_more(machine: InviteClient | OtherClient) -> None:
    machine.start(0.0)
    assert [type(effect) for effect in machine.tick(60.0)] == [Failed, Terminated]


def test_a_repeated_final_response_is_the_same_to_the_byte() -> None:
    machine = OtherServer(request("REFER"), TIMING, reliable=False)
    machine.start(0.0)
    answer = response(request("REFER"), 202)
    answer.headers.add("X-Long", "x" * 20_000)  # beyond what the parser takes: our own messages have no such limit
    answer.set_body(b"\xff\x00body", "application/octet-stream")
    machine.respond(answer, 0.1)
    (again,) = machine.receive(request("REFER"), 1.0)
    assert isinstance(again, Transmit)
    assert again.message.encode() == answer.encode()
