"""What callers get over a limit, and calls that never end (docs/spec/overload.md, "Limits of new calls")."""

import asyncio

import pytest

from cxml.calls.registry import CallLimits
from cxml.calls.service import REMEDIES, RETRY_AFTER_S, Load
from sipua.message import Response
from tests.support.pbx import REFER_DOCUMENT, Application, Stage, refer_after
from tests.support.tables import SPEC, read_table
from tests.support.wire import Wire

pytestmark = pytest.mark.looptime

THINK = "<Response><Pause length='60'/></Response>"


def refusals(wire: Wire) -> list[Response]:
    return [message for message in wire.messages if isinstance(message, Response) and message.status == 503]


def test_the_table_of_limits() -> None:
    rows = read_table(SPEC / "overload.md", "Limits of new calls")
    assert {row["Reason"]: row["Retry-After"] for row in rows} == {
        reason: f"{low} to {high} s" for reason, (low, high) in RETRY_AFTER_S.items()
    }
    assert set(REMEDIES) == set(RETRY_AFTER_S)


async def test_over_a_limit_each_call_gets_503_with_a_retry_after_of_its_own_and_no_transaction() -> None:
    async with Stage(Application({"/voice": THINK}), limits=CallLimits(max_calls=2)) as stage:
        wire = await Wire().open(stage.network)
        for number in range(102):
            wire.send(wire.invite(call_id=f"c{number}"))
        await asyncio.sleep(1)
        assert len(refusals(wire)) == 100
        waits = {int(refusal.headers.get("Retry-After") or 0) for refusal in refusals(wire)}
        assert waits == set(range(5, 16))
        assert stage.daemon.transactions.server_count == 2
        assert stage.load.account.all() == {("max_calls", "pbx"): 100}
        assert stage.observer.refused == ["max_calls"] * 100


async def test_a_copy_of_a_refused_invite_gets_the_same_answer_though_a_place_is_free_again() -> None:
    async with Stage(Application({"/voice": THINK}), limits=CallLimits(max_calls_per_s=1)) as stage:
        wire = await Wire().open(stage.network)
        for number in range(2):
            wire.send(wire.invite(call_id=f"c{number}"))
        await asyncio.sleep(5)
        wire.send(wire.invite(call_id="c1"))
        await asyncio.sleep(1)
        first, again = refusals(wire)
        assert (first.headers.get("Retry-After"), first.to.tag) == (again.headers.get("Retry-After"), again.to.tag)
        assert len(stage.registry) == 1
        assert stage.load.account.all() == {("max_calls_per_s", "pbx"): 1}


async def test_when_the_loop_lags_a_part_of_the_calls_is_refused_and_those_that_run_go_on() -> None:
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": "<Response/>"})) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((5.0, 200)))
        stage.load.controller.sample(1.0, 0.0, 0.0)
        wire = await Wire().open(stage.network)
        for number in range(10):
            wire.send(wire.invite(call_id=f"c{number}"))
        await asyncio.sleep(1)
        assert len(refusals(wire)) == 5
        assert {int(refusal.headers.get("Retry-After") or 0) for refusal in refusals(wire)} <= set(range(2, 9))
        assert stage.load.account.all() == {("overload", "pbx"): 5}
        assert (await stage.pbx.options("sip:10.0.0.1")).status == 200
        await call.wait_ended()
        (done,) = [params for params in stage.application.of("/done") if params["SipCallId"] == call.id]
        assert done["CxmldReferOutcome"] == "transferred"


async def test_a_draining_daemon_refuses_though_it_is_overloaded_too() -> None:
    async with Stage(Application({"/voice": THINK})) as stage:
        wire = await Wire().open(stage.network)
        wire.send(wire.invite(call_id="runs"))
        await asyncio.sleep(1)
        stage.load.controller.sample(1.0, 0.0, 0.0)
        drain = asyncio.create_task(stage.registry.drain(10.0, 1.0))
        await asyncio.sleep(0)
        for number in range(4):
            wire.send(wire.invite(call_id=f"c{number}"))
        await asyncio.sleep(1)
        assert {10 <= int(refusal.headers.get("Retry-After") or 0) <= 30 for refusal in refusals(wire)} == {True}
        assert stage.observer.refused == ["draining"] * 4
        assert stage.load.account.all() == {}
        assert await drain == 1


async def test_a_call_that_never_ends_is_ended_and_its_transfer_is_told() -> None:
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": "<Response/>"}), load=Load(max_call_s=30.0)) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((1.0, 180)))
        await call.wait_ended()
        await asyncio.sleep(20)
        assert stage.reasons == ["cut_off"]
        (done,) = stage.application.of("/done")
        assert done["CxmldReferOutcome"] == "local_hangup"
        assert len(stage.registry) == 0
