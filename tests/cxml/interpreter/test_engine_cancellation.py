"""Cancelling the engine hangs up and loses no outcome (docs/spec/engine.md, The end of the call)."""

import asyncio

import pytest

from tests.support.fake_call import FakeCall, Reply
from tests.support.running import START, Stage, doc

pytestmark = pytest.mark.looptime

REFER = '<Refer action="done"><Sip>sip:a@b</Sip></Refer>'
DONE = "http://app.test/voice/done"


def now() -> float:
    return asyncio.get_running_loop().time()


async def cancelled_after(stage: Stage, *delays_s: float) -> None:
    task = asyncio.get_running_loop().create_task(stage.run())
    for delay_s in delays_s:
        await asyncio.sleep(delay_s)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("content", ["<Pause length='60'/>", "<Redirect>slow</Redirect>", "<Hangup/>", REFER])
async def test_cancelling_hangs_up_and_forgets(content: str) -> None:
    stage = Stage(call=FakeCall(answer_s=3, closing_s=1))
    stage.serve(content)
    stage.serve_raw("http://app.test/voice/slow", Reply(delay_s=60))
    await cancelled_after(stage, 2)
    assert stage.call.done[-1] == "hangup"
    assert now() == 3
    assert stage.journal.forgotten == [stage.call.sid]
    assert stage.web.outstanding == 0


async def test_cancelling_while_the_first_document_is_fetched_ends_cleanly() -> None:
    stage = Stage()
    stage.serve_raw(START, Reply(delay_s=60))
    await cancelled_after(stage, 1)
    assert (stage.call.done, now(), stage.web.outstanding) == (["hangup"], 1, 0)


async def test_cancelling_a_waiting_transfer_still_sends_its_action_once() -> None:
    stage = Stage()
    stage.serve(REFER)
    stage.serve_raw(DONE, Reply(doc("<Refer><Sip>sip:never@b</Sip></Refer>"), delay_s=2))
    await cancelled_after(stage, 1)
    (asked,) = stage.web.to(DONE)
    assert asked.extra["CxmldReferOutcome"] == "local_hangup"
    assert asked.extra["ReferCallStatus"] == "canceled"
    assert stage.call.done == ["answer", "transfer sip:a@b", "hangup"]
    assert now() == 3
    assert stage.journal.forgotten == [stage.call.sid]


async def test_cancelling_while_the_action_is_called_lets_it_finish_and_runs_no_verb() -> None:
    stage = Stage()
    stage.serve(REFER)
    stage.serve_raw(DONE, Reply(doc("<Refer><Sip>sip:never@b</Sip></Refer>"), delay_s=5))
    await cancelled_after(stage, 4)
    assert len(stage.web.to(DONE)) == 1
    assert (now(), stage.web.outstanding) == (8, 0)
    assert "transfer sip:never@b" not in stage.call.done


async def test_cancelling_twice_stops_at_once_and_keeps_the_position() -> None:
    stage = Stage()
    stage.serve(REFER)
    stage.serve_raw(DONE, Reply(delay_s=60))
    await cancelled_after(stage, 4, 1)
    assert (now(), stage.web.outstanding) == (5, 0)
    assert stage.journal.forgotten == []
    assert stage.journal.positions[-1].pending["CxmldReferOutcome"] == "transferred"


async def test_a_time_limit_around_the_engine_hangs_up() -> None:
    stage = Stage()
    stage.serve("<Pause length='100'/>")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10):
            await stage.run()
    assert stage.call.events == [(10, "hangup")]


async def test_no_verb_starts_while_the_goodbye_is_under_way() -> None:
    stage = Stage(call=FakeCall(goodbye_s=5))
    stage.serve("<Pause length='3'/><Redirect>never</Redirect>")
    await cancelled_after(stage, 1)
    assert stage.web.urls == [START]
    assert stage.call.done == ["hangup"]
