"""``<Hangup>``, ``<Pause>``, ``<Redirect>`` and ``<Reject>``, run by the engine on a scripted call."""

import asyncio

import pytest

from cxml.interpreter.ending import EndReason
from tests.support.fake_call import Asked, FakeCall, Reply
from tests.support.running import START, Stage, doc

pytestmark = pytest.mark.looptime

NEXT = "http://app.test/voice/next"


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_pause_waits_without_answering() -> None:
    stage = Stage()
    stage.serve('<Pause length="3"/><Hangup/>')
    await stage.run()
    assert stage.call.events == [(3, "answer"), (3, "hangup")]


async def test_pause_waits_one_second_unless_told_otherwise_and_not_at_all_for_zero() -> None:
    stage = Stage()
    stage.serve('<Pause/><Pause length="0"/>')
    await stage.run()
    assert now() == 1


async def test_pause_ends_with_the_call() -> None:
    stage = Stage()
    stage.serve('<Pause length="3600"/>')
    stage.call.peer_hangs_up_after(7)
    assert (await stage.run()).reason == EndReason.CALL_ENDED
    assert now() == 7


async def test_hangup_answers_first_and_nothing_follows_it() -> None:
    stage = Stage(call=FakeCall(answer_s=1))
    stage.serve("<Hangup/><Redirect>never</Redirect>")
    assert (await stage.run()).reason == "hangup"
    assert stage.call.events == [(1, "answer"), (1, "hangup")]
    assert stage.web.urls == [START]


async def test_hangup_gives_up_when_the_caller_leaves_before_the_answer() -> None:
    stage = Stage(call=FakeCall(answer_s=1))
    stage.serve("<Hangup/>")
    stage.call.peer_hangs_up_after(0.5)
    assert (await stage.run()).reason == EndReason.CALL_ENDED
    assert stage.call.done == ["bye in"]


async def test_redirect_replaces_the_document_and_does_not_answer() -> None:
    stage = Stage()
    stage.serve('<Redirect method="GET">next</Redirect><Hangup/>')
    stage.serve("<Reject/>", NEXT)
    await stage.run()
    assert stage.web.asked == [Asked(START, "POST", {}), Asked(NEXT, "GET", {})]
    assert stage.call.done == ["reject rejected"]


async def test_an_empty_redirect_asks_for_the_current_document_again() -> None:
    stage = Stage()
    stage.serve_raw(START, Reply(doc("<Redirect>next</Redirect>")))
    stage.web.serve(NEXT, Reply(doc("<Redirect/>"), url="http://app.test/moved"))
    stage.serve("<Hangup/>", "http://app.test/moved")
    await stage.run()
    assert stage.web.urls == [START, NEXT, "http://app.test/moved"]


async def test_redirect_that_the_caller_does_not_wait_for_is_cancelled() -> None:
    stage = Stage()
    stage.serve("<Redirect>next</Redirect>")
    stage.serve_raw(NEXT, Reply(doc("<Hangup/>"), delay_s=10))
    stage.call.peer_hangs_up_after(4)
    await stage.run()
    assert (now(), stage.web.outstanding, stage.call.done) == (4, 0, ["bye in"])


@pytest.mark.parametrize(("content", "event"), [("<Reject/>", "reject rejected"), ('<Reject reason="busy"/>', "reject busy")])
async def test_reject_refuses_an_unanswered_call_and_nothing_follows(content: str, event: str) -> None:
    stage = Stage()
    stage.serve(f"{content}<Redirect>never</Redirect>")
    assert (await stage.run()).reason == "rejected"
    assert stage.call.done == [event]
    assert stage.web.urls == [START]


async def test_reject_is_not_cancelled_by_the_end_that_it_brings() -> None:
    stage = Stage(call=FakeCall(closing_s=1))
    stage.serve("<Reject/>")
    assert (await stage.run()).reason == "rejected"
    assert now() == 1


async def test_reject_hangs_up_an_answered_call() -> None:
    stage = Stage(call=FakeCall(answered=True))
    stage.serve("<Reject/>")
    assert (await stage.run()).reason == "hangup"
    assert stage.call.done == ["hangup"]
