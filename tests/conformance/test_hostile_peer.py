"""A peer that is let in and means harm: storms of every request, outside calls and in them. Tables stay small and are empty afterwards."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from cxml.calls.registry import CallLimits
from cxml.calls.service import Load
from sipua.message import Response
from tests.support.pbx import EMPTY, REFER_DOCUMENT, Application, Stage
from tests.support.wire import SDP, Wire

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

STORM = 10_000
BURST = 200
BREATH_S = 0.1
QUIET_S = 70.0
MAX_CALLS = 20
MAX_CALL_S = 30.0
PAUSE = "<Response><Pause length='3600'/></Response>"
THINK = "<Response><Pause length='2'/><Reject/></Response>"
REPORT = ("Event: refer", "Subscription-State: active;expires=60", "Content-Type: message/sipfrag")

Make = Callable[[int], str]


@asynccontextmanager
async def stormed(document: str = THINK, done: str = EMPTY, *, max_calls: int = MAX_CALLS) -> AsyncIterator[tuple[Stage, Wire]]:
    """A daemon whose calls end after :data:`MAX_CALL_S`, and a peer; at the end nothing may be left and the daemon takes calls."""
    limits = CallLimits(max_calls=max_calls, max_calls_per_s=10_000)
    application = Application({"/voice": document, "/done": done})
    async with Stage(application, limits=limits, load=Load(max_call_s=MAX_CALL_S), record=False) as stage:
        wire = await Wire().open(stage.network)
        tasks = len(asyncio.all_tasks())
        yield stage, wire
        wire.close()
        assert (await stage.pbx.options("sip:10.0.0.1")).status == 200
        await asyncio.sleep(MAX_CALL_S + 2 * QUIET_S)
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
        assert len(asyncio.all_tasks()) == tasks
        assert stage.daemon.transactions.statistics.user_faults == 0
        assert stage.daemon.transports.counters["user_errors"] == 0


async def storm(stage: Stage, wire: Wire, make: Make, count: int = STORM) -> dict[str, int]:
    """Send *count* messages and return the most that was held meanwhile."""
    most: dict[str, int] = {}
    for number in range(count):
        wire.send(make(number))
        if number % BURST == BURST - 1:
            await asyncio.sleep(BREATH_S)
            for name, held in stage.leftovers().items():
                most[name] = max(most.get(name, 0), held)
    await asyncio.sleep(1)
    return most


def answers(wire: Wire) -> dict[str, int]:
    """Count the final responses by method and status."""
    found: dict[str, int] = {}
    for message in wire.messages:
        if isinstance(message, Response) and message.status >= 200:
            key = f"{message.cseq.method} {message.status}"
            found[key] = found.get(key, 0) + 1
    return found


@pytest.mark.parametrize(
    ("method", "extra", "status"),
    [
        ("OPTIONS", (), 200),
        ("SUBSCRIBE", ("Event: presence", "Expires: 3600"), 489),
        ("REFER", ("Refer-To: <sip:a@10.0.0.3>",), 603),
        ("NOTIFY", ("Event: refer", "Subscription-State: active"), 481),
        ("MESSAGE", (), 405),
        ("REGISTER", (), 405),
        ("BREW", (), 501),
    ],
)
async def test_requests_outside_a_call_are_answered_and_not_remembered(method: str, extra: tuple[str, ...], status: int) -> None:
    async with stormed() as (stage, wire):
        most = await storm(stage, wire, lambda n: wire.request(method, number=n + 1, call_id=f"storm{n}", extra=extra))
        assert answers(wire) == {f"{method} {status}": STORM}
        assert (most["daemon server transactions"], most["daemon dialogs"], most["registry"]) == (0, 0, 0)


async def test_requests_for_calls_that_are_not_there_are_answered_and_not_remembered() -> None:
    methods = ("BYE", "INFO", "UPDATE", "NOTIFY", "INVITE", "CANCEL", "PRACK", "REFER")
    async with stormed() as (stage, wire):
        most = await storm(stage, wire, lambda n: wire.request(methods[n % 8], number=n + 1, call_id=f"storm{n}", to_tag=f"no{n}"))
        found = answers(wire)
        assert sum(found.values()) == STORM
        assert {key.partition(" ")[2] for key in found} <= {"481", "400", "420", "489"}
        assert (most["daemon server transactions"], most["daemon dialogs"]) == (0, 0)


async def test_invites_that_nobody_acknowledges() -> None:
    async with stormed(REFER_DOCUMENT) as (stage, wire):
        most = await storm(stage, wire, lambda n: wire.invite(call_id=f"storm{n}"))
        assert most["registry"] == most["daemon calls"] == MAX_CALLS
        assert most["daemon dialogs"] <= MAX_CALLS
        assert most["daemon server transactions"] <= MAX_CALLS
        refused = {message.call_id for message in wire.messages if isinstance(message, Response) and message.status == 503}
        assert len(refused) == STORM - MAX_CALLS
    assert stage.registry.obstacle() == ""


async def test_invites_that_are_cancelled_at_once() -> None:
    async with stormed(PAUSE) as (stage, wire):

        def make(n: int) -> str:
            if n % 2 == 0:
                return wire.invite(call_id=f"storm{n}", branch=f"x{n}")
            return wire.request("CANCEL", call_id=f"storm{n - 1}", branch=f"x{n - 1}")

        most = await storm(stage, wire, make)
        found = answers(wire)
        assert most["registry"] <= MAX_CALLS
        assert found["INVITE 487"] >= MAX_CALLS
        invites = {message.call_id for message in wire.messages if isinstance(message, Response) and message.status in (487, 503)}
        assert len(invites) == STORM // 2
        assert found["CANCEL 200"] + found.get("CANCEL 481", 0) == STORM // 2
        # what was cancelled is remembered for 64*T1, what was refused not
        assert most["daemon server transactions"] <= 2 * len(stage.observer.ended) + MAX_CALLS


async def answered(stage: Stage, wire: Wire) -> str:
    """Open a call and return our tag."""
    wire.send(wire.invite())
    ok = await wire.final("INVITE")
    wire.ack(ok)
    await asyncio.sleep(0.5)
    assert len(stage.registry) == 1
    return ok.to.tag


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "OPTIONS", "INFO", "MESSAGE", "REFER", "SUBSCRIBE", "NOTIFY", "PRACK", "BREW"])
async def test_storms_in_a_call(method: str) -> None:
    """Each request has a transaction for 64*T1: their number is bounded by the limit of the layer, and the call lives until its limit."""
    async with stormed(REFER_DOCUMENT) as (stage, wire):
        tag = await answered(stage, wire)
        body = SDP.format(host="10.0.0.9") if method in ("INVITE", "UPDATE") else ""
        extra = REPORT if method == "NOTIFY" else ("Refer-To: <sip:a@10.0.0.3>",) if method == "REFER" else ()

        def make(n: int) -> str:
            return wire.request(method, number=n + 2, to_tag=tag, extra=extra, body=body)

        count = STORM if method in ("INVITE", "UPDATE", "NOTIFY") else STORM // 5
        most = await storm(stage, wire, make, count)
        assert most["daemon dialogs"] == 1
        assert most["daemon calls"] == 1
        assert most["daemon server transactions"] <= count + 1
        assert most["daemon tasks"] <= 10
        finals = answers(wire)
        own = sum(count for key, count in finals.items() if key.startswith(f"{method} "))
        assert own >= count, finals
        assert (await stage.pbx.options("sip:10.0.0.1")).status == 200
    assert len(stage.application.of("/done")) == 1


async def test_calls_that_never_end_are_ended_and_make_room() -> None:
    async with stormed(PAUSE) as (stage, wire):
        for number in range(MAX_CALLS):
            wire.send(wire.invite(call_id=f"first{number}"))
        await asyncio.sleep(MAX_CALL_S - 1)
        wire.send(wire.invite(call_id="too-many"))
        await asyncio.sleep(0.5)
        assert answers(wire)["INVITE 503"] == 1
        await asyncio.sleep(MAX_CALL_S)
        wire.send(wire.invite(call_id="later"))
        await asyncio.sleep(0.5)
        assert [live.call.sip.invite.call_id for live in stage.registry._calls.values()] == ["later"]
        assert stage.reasons == ["cut_off"] * MAX_CALLS


async def test_reports_after_the_call_do_not_keep_its_dialog() -> None:
    """The peer hangs up and goes on reporting a transfer that never ends: for three minutes it gets 200, then 481."""
    async with stormed(REFER_DOCUMENT) as (stage, wire):
        tag = await answered(stage, wire)
        wire.answer(await wire.request_of("REFER"), 202)
        await asyncio.sleep(0.5)
        wire.send(wire.request("BYE", number=2, to_tag=tag))
        for number in range(600):
            wire.send(wire.request("NOTIFY", number=number + 3, to_tag=tag, extra=REPORT))
            await asyncio.sleep(1)
        assert len(stage.application.of("/done")) == 1
        assert len(stage.registry) == 0
        assert len(stage.daemon.dialogs) == 0
        found = answers(wire)
        assert 180 <= found["NOTIFY 200"] <= 240
        assert found["NOTIFY 200"] + found["NOTIFY 481"] == 600


async def test_a_storm_writes_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with stormed(PAUSE) as (stage, wire):
        await storm(stage, wire, lambda n: wire.invite(call_id=f"storm{n}"))
    kept = [record for record in caplog.records if record.name.split(".")[0] in ("sipua", "cxml")]
    assert len(kept) < 20 * MAX_CALLS
