"""Walks every row of the tables in docs/spec/transactions.md."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

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
    State,
    Transmit,
)
from tests.support.messages import request, response
from tests.support.tables import SPEC, read_table

TIMING = Timing(t1=0.5, t2=4.0, t4=5.0)
PAGE = SPEC / "transactions.md"
STATUS = {"1xx": 183, "2xx": 200, "300-699": 486, "200-699": 200, "100": 100, "101-199": 180, "408": 408}
Machine = InviteClient | OtherClient | InviteServer | OtherServer


@dataclass
class Walker:
    """One machine on its way through events, with what the table needs to name its state."""

    heading: str
    reliable: bool
    now: float = 1000.0
    machine: Machine = field(init=False)
    request: Request = field(init=False)
    intervals: dict[str, float] = field(default_factory=dict)
    canceled: bool = False
    sent: bool = False

    def __post_init__(self) -> None:
        invite = self.heading.startswith("INVITE")
        self.request = request("INVITE" if invite else "REFER")
        kinds: dict[str, Callable[..., Machine]] = {
            "INVITE client": InviteClient,
            "Non-INVITE client": OtherClient,
            "INVITE server": InviteServer,
            "Non-INVITE server": OtherServer,
        }
        self.machine = kinds[self.heading](self.request, TIMING, reliable=self.reliable)

    def do(self, event: str) -> list[Effect]:
        before = dict(self._deadlines())
        if event.startswith("timer "):
            deadline = self.machine.timers.deadline(event.removeprefix("timer "))
            assert deadline is not None, f"{event} does not run"
            self.now = deadline
        elif event != "start":
            self.now += 0.01
        effects = self._input(event)
        messages = [effect.message for effect in effects if isinstance(effect, Transmit)]
        self.sent |= any(isinstance(m, Response) and (m.is_final or self.heading == "INVITE server") for m in messages)
        for name, deadline in self._deadlines().items():
            if before.get(name) != deadline:
                self.intervals[name] = deadline - self.now
        return effects

    def _input(self, event: str) -> list[Effect]:
        machine = self.machine
        if event.startswith("timer "):
            return machine.tick(self.now)
        if event == "start":
            return machine.start(self.now)
        if isinstance(machine, InviteClient | OtherClient):
            if event == "transport error":
                return machine.transport_failed(self.now)
            if event == "cancel":
                assert isinstance(machine, InviteClient)
                self.canceled = True
                return machine.cancel(self.now)
            return machine.receive(response(self.request, STATUS[event]), self.now)
        if event == "ACK":
            return machine.receive(request("ACK", to_tag="b1"), self.now)
        if event == "request":
            return machine.receive(self.request, self.now)
        return machine.respond(response(self.request, STATUS[event.removeprefix("respond ")]), self.now)

    def _deadlines(self) -> dict[str, float]:
        names = ("A", "B", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "100", "late", "CANCEL")
        found = {name: self.machine.timers.deadline(name) for name in names}
        running = {name: deadline for name, deadline in found.items() if deadline is not None}
        assert len(running) == len(self.machine.timers)
        return running

    @property
    def state(self) -> str:
        state = str(self.machine.state)
        if self.heading == "INVITE client" and state in ("Calling", "Proceeding") and self.canceled:
            return f"{state}+cancel"
        if self.heading == "INVITE server" and state == "Proceeding" and not self.sent:
            return f"{state}+silent"
        if self.heading == "Non-INVITE server" and state == "Completed" and not self.sent:
            return f"{state}+silent"
        return state

    def timers(self, written: str, former: dict[str, float]) -> None:
        """Compare the running timers with the cell *written*; *former* are the intervals before the event."""
        cells = [] if written == "–" else [cell.strip() for cell in written.split(",")]
        running = self._deadlines()
        assert {cell.partition("=")[0] for cell in cells} == set(running)
        for cell in cells:
            name, equals, formula = cell.partition("=")
            if equals:
                assert self.intervals[name] == pytest.approx(interval(formula, former.get(name, 0.0))), cell
                assert running[name] == pytest.approx(self.now + self.intervals[name]), cell
            else:
                assert self.intervals[name] == former[name]


def interval(formula: str, former: float) -> float:
    if formula.startswith("2*"):
        limit = re.fullmatch(r"2\*(?:<T2)?", formula)
        assert limit, formula
        return min(2 * former, TIMING.t2) if formula.endswith("<T2") else 2 * former
    value = 1.0
    for factor in formula.split("*"):
        value *= {"T1": TIMING.t1, "T2": TIMING.t2, "T4": TIMING.t4}.get(factor) or float(factor)
    return value


def status_name(message: Response, event: str) -> str:
    """Name the class of a response with the word that the table uses in this row."""
    if message.status == 100 and event == "timer 100":
        return "100"
    for word, status in STATUS.items():
        if status == message.status and event.endswith(word):
            return word
    return {183: "1xx", 100: "100", 200: "200-699", 486: "300-699"}[message.status]


def describe(effects: list[Effect], walker: Walker, event: str) -> str:
    words: list[str] = []
    for effect in effects:
        match effect:
            case Transmit(Request() as message, repeat):
                name = "request" if message.method == "REFER" else message.method
                words.append(f"{'resend' if repeat else 'send'} {name}")
            case Transmit(Response() as message, repeat):
                words.append(f"{'resend' if repeat else 'send'} {status_name(message, event)}")
            case Deliver(message):
                words.append(f"deliver {status_name(message, event)}")
            case DeliverAck():
                words.append("deliver ACK")
            case SendCancel():
                words.append("send CANCEL")
            case Failed(failure):
                words.append(f"fail {failure}")
            case NoAck():
                words.append("no ACK")
            case Terminated():
                assert effect is effects[-1], "nothing comes after the end"
            case _:
                pytest.fail(f"unknown effect {effect}")
    assert (Terminated() in effects) == (walker.machine.state is State.TERMINATED)
    return ", ".join(words) or "–"


PATHS = {
    "INVITE client": {
        "Initial": [],
        "Calling": ["start"],
        "Calling+cancel": ["start", "cancel"],
        "Proceeding": ["start", "1xx"],
        "Proceeding+cancel": ["start", "1xx", "cancel"],
        "Accepted": ["start", "2xx"],
        "Completed": ["start", "300-699"],
    },
    "Non-INVITE client": {
        "Initial": [],
        "Trying": ["start"],
        "Proceeding": ["start", "1xx"],
        "Completed": ["start", "200-699"],
    },
    "INVITE server": {
        "Initial": [],
        "Proceeding+silent": ["start"],
        "Proceeding": ["start", "respond 1xx"],
        "Accepted": ["start", "respond 2xx"],
        "Completed": ["start", "respond 300-699"],
        "Confirmed": ["start", "respond 300-699", "ACK"],
    },
    "Non-INVITE server": {
        "Initial": [],
        "Trying": ["start"],
        "Completed": ["start", "respond 200-699"],
        "Completed+silent": ["start", "respond 408"],
    },
}
EVENTS = {
    "INVITE client": ["1xx", "2xx", "300-699", "cancel", "transport error"],
    "Non-INVITE client": ["1xx", "200-699", "transport error"],
    "INVITE server": ["request", "ACK", "respond 1xx", "respond 2xx", "respond 300-699"],
    "Non-INVITE server": ["request", "respond 100", "respond 101-199", "respond 408", "respond 200-699"],
}


def walker_in(heading: str, state: str, *, reliable: bool) -> Walker:
    walker = Walker(heading, reliable)
    path = PATHS[heading].get(state)
    if path is None and state == "Proceeding":  # the path depends on the transport (RFC 4320)
        path = ["start", "respond 100" if reliable else "timer 100"]
    assert path is not None, state
    for event in path:
        walker.do(event)
    assert walker.state == state
    return walker


def transports(condition: str) -> list[bool]:
    return {"UDP": [False], "TCP": [True], "any": [False, True]}[condition]


ROWS = [
    pytest.param(heading, row, reliable, id=f"{heading}: {row['State']}, {row['Event']}, {'TCP' if reliable else 'UDP'}")
    for heading in PATHS
    for row in read_table(PAGE, heading)
    for reliable in transports(row["Condition"])
]


@pytest.mark.parametrize(("heading", "row", "reliable"), ROWS)
def test_the_machine_does_what_the_row_says(heading: str, row: dict[str, str], reliable: bool) -> None:
    walker = walker_in(heading, row["State"], reliable=reliable)
    former = dict(walker.intervals)
    effects = walker.do(row["Event"])
    assert describe(effects, walker, row["Event"]) == row["Effects"]
    assert walker.state == row["Next state"]
    walker.timers(row["Timers"], former)


@pytest.mark.parametrize("heading", PATHS)
@pytest.mark.parametrize("reliable", [False, True])
def test_every_state_has_exactly_one_row_for_every_event(heading: str, reliable: bool) -> None:
    rows = [(row["State"], row["Event"]) for row in read_table(PAGE, heading) if reliable in transports(row["Condition"])]
    assert len(rows) == len(set(rows))
    states = {state for state, _ in rows}
    for state in states - {"Initial"}:
        walker = walker_in(heading, state, reliable=reliable)
        timers = {f"timer {name}" for name in walker._deadlines()}
        if "timer late" in timers and "timer 100" in timers:
            timers.discard("timer late")  # the 100 always comes first
        assert {event for s, event in rows if s == state} == timers | set(EVENTS[heading])


@pytest.mark.parametrize("heading", PATHS)
@pytest.mark.parametrize("reliable", [False, True])
def test_nothing_has_an_effect_in_terminated(heading: str, reliable: bool) -> None:
    for row in read_table(PAGE, heading):
        if row["Next state"] != "Terminated" or reliable not in transports(row["Condition"]):
            continue
        walker = walker_in(heading, row["State"], reliable=reliable)
        walker.do(row["Event"])
        for event in EVENTS[heading]:
            assert walker.do(event) == []
        assert walker.machine.tick(walker.now + 1000) == []
        assert len(walker.machine.timers) == 0
        assert walker.machine.is_terminated


@pytest.mark.parametrize("heading", PATHS)
def test_a_second_start_is_our_own_fault_and_raises(heading: str) -> None:
    walker = walker_in(heading, "Initial", reliable=False)
    walker.do("start")
    with pytest.raises(RuntimeError, match="twice"):
        walker.machine.start(walker.now)
