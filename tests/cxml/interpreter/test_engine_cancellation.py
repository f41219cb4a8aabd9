"""Stopping the engine hangs up and loses no outcome (docs/spec/engine.md, The end of the call)."""

import asyncio
import contextlib
import gc
from types import FrameType

import pytest

from cxml.document import nodes
from cxml.interpreter.context import Context, VerbEntry
from cxml.interpreter.outcome import Continue, Outcome
from cxml.verbs import VERBS
from tests.support.fake_call import FakeCall, Reply
from tests.support.running import START, Stage, doc

pytestmark = pytest.mark.looptime

REFER = '<Refer action="done"><Sip>sip:a@b</Sip></Refer>'
DONE = "http://app.test/voice/done"


def now() -> float:
    return asyncio.get_running_loop().time()


async def stopped_after(stage: Stage, delay_s: float, *, cancelled_after_s: float | None = None) -> None:
    engine = stage.engine()
    task = asyncio.get_running_loop().create_task(engine.run(START))
    await asyncio.sleep(delay_s)
    engine.stop()
    if cancelled_after_s is None:
        await task
        return
    await asyncio.sleep(cancelled_after_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("content", ["<Pause length='60'/>", "<Redirect>slow</Redirect>", "<Hangup/>", REFER])
async def test_stopping_hangs_up_and_forgets(content: str) -> None:
    stage = Stage(call=FakeCall(answer_s=3, closing_s=1))
    stage.serve(content)
    stage.serve_raw("http://app.test/voice/slow", Reply(delay_s=60))
    await stopped_after(stage, 2)
    assert stage.call.done[-1] == "hangup"
    assert now() == 3
    assert stage.journal.forgotten == [stage.call.sid]
    assert stage.web.outstanding == 0


async def test_stopping_while_the_first_document_is_fetched_ends_cleanly() -> None:
    stage = Stage()
    stage.serve_raw(START, Reply(delay_s=60))
    await stopped_after(stage, 1)
    assert (stage.call.done, now(), stage.web.outstanding) == (["hangup"], 1, 0)


async def test_stopping_a_waiting_transfer_still_sends_its_action_once() -> None:
    stage = Stage()
    stage.serve(REFER)
    stage.serve_raw(DONE, Reply(doc("<Refer><Sip>sip:never@b</Sip></Refer>"), delay_s=2))
    await stopped_after(stage, 1)
    (asked,) = stage.web.to(DONE)
    assert asked.extra["CxmldReferOutcome"] == "local_hangup"
    assert asked.extra["ReferCallStatus"] == "canceled"
    assert stage.call.done == ["answer", "transfer sip:a@b", "hangup"]
    assert now() == 3
    assert stage.journal.forgotten == [stage.call.sid]


async def test_stopping_while_the_action_is_called_lets_it_finish_and_runs_no_verb() -> None:
    stage = Stage()
    stage.serve(REFER)
    stage.serve_raw(DONE, Reply(doc("<Refer><Sip>sip:never@b</Sip></Refer>"), delay_s=5))
    await stopped_after(stage, 4)
    assert len(stage.web.to(DONE)) == 1
    assert (now(), stage.web.outstanding) == (8, 0)
    assert "transfer sip:never@b" not in stage.call.done


async def test_cancelling_after_that_stops_at_once_and_keeps_the_position() -> None:
    stage = Stage()
    stage.serve(REFER)
    stage.serve_raw(DONE, Reply(delay_s=60))
    await stopped_after(stage, 4, cancelled_after_s=1)
    assert (now(), stage.web.outstanding) == (5, 0)
    assert stage.journal.forgotten == []
    assert stage.journal.positions[-1].pending["CxmldReferOutcome"] == "transferred"


async def test_a_time_limit_hangs_up() -> None:
    stage = Stage()
    stage.serve("<Pause length='100'/>")
    engine = stage.engine()
    asyncio.get_running_loop().call_later(10, engine.stop)
    await engine.run(START)
    assert stage.call.events == [(10, "hangup")]


async def test_no_verb_starts_while_the_goodbye_is_under_way() -> None:
    stage = Stage(call=FakeCall(goodbye_s=5))
    stage.serve("<Pause length='3'/><Redirect>never</Redirect>")
    await stopped_after(stage, 1)
    assert stage.web.urls == [START]
    assert stage.call.done == ["hangup"]


async def test_a_verb_that_takes_no_notice_of_the_end_harms_nothing_after_it() -> None:
    async def stubborn(node: nodes.Pause, ctx: Context) -> Outcome:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        return Continue()

    stage = Stage(verbs={**VERBS, nodes.Pause: VerbEntry(stubborn)})
    stage.serve("<Pause/><Redirect>never</Redirect>")
    stage.call.peer_hangs_up_after(2)
    summary = await stage.run()
    assert (summary.reason, now(), stage.web.urls) == ("call_ended", 3, [START])
    assert stage.journal.forgotten == [stage.call.sid]


async def test_the_end_of_the_call_does_not_cancel_the_step_that_brought_it_about() -> None:
    async def farewell(node: nodes.Pause, ctx: Context) -> Outcome:
        stage.call.peer_hangs_up()
        return Continue()

    stage = Stage(verbs={**VERBS, nodes.Pause: VerbEntry(farewell)})
    stage.serve("<Pause/><Redirect>never</Redirect>")
    summary = await stage.run()
    assert (summary.reason, summary.verbs, stage.call.done, stage.web.urls) == ("call_ended", 1, ["bye in"], [START])
    assert stage.journal.forgotten == [stage.call.sid]


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("more", range(3))
async def test_a_stop_and_a_cancel_at_any_moments_end_everything(turns: int, more: int) -> None:
    stage = Stage(call=FakeCall(goodbye_s=1, closing_s=1))
    stage.serve(REFER)
    stage.serve_raw(DONE, Reply(delay_s=1))
    before = asyncio.all_tasks()
    engine = stage.engine()
    task = asyncio.get_running_loop().create_task(engine.run(START))
    for _ in range(turns):
        await asyncio.sleep(0)
    engine.stop()
    for _ in range(more):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_stopping_before_the_run_asks_for_nothing_and_hangs_up() -> None:
    stage = Stage()
    engine = stage.engine()
    engine.stop()
    engine.stop()
    assert (await engine.run(START)).reason == "call_ended"
    assert (stage.call.done, stage.web.urls, engine.is_stopped) == (["hangup"], [], True)


async def test_a_cancel_that_was_overcome_before_the_run_means_nothing_to_it() -> None:
    async def overcomer() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return (await stage.run()).reason

    stage = Stage()
    stage.serve("<Pause length='60'/>")
    task = asyncio.get_running_loop().create_task(overcomer())
    await asyncio.sleep(1)
    task.cancel()
    stage.call.peer_hangs_up_after(5)
    assert await task == "call_ended"
    assert now() == 6


@pytest.mark.cpython
async def test_a_hard_stop_leaves_no_frames_to_the_garbage_collector() -> None:
    async def cancelled() -> None:
        stage = Stage()
        stage.serve("<Pause length='60'/>")
        task = asyncio.get_running_loop().create_task(stage.engine().run(START))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await cancelled()
        gc.collect()
        assert [thing for thing in gc.garbage if isinstance(thing, FrameType | asyncio.CancelledError)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
