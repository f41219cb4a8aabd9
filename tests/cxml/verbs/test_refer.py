"""``<Refer>``: it answers, transfers, and its action is called exactly once on every way out."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cxml.interpreter.context import EngineSettings, OnBye
from cxml.interpreter.ending import EndReason
from cxml.interpreter.ports import CallEndedError, TransferKind, TransferResult, WebhookError
from tests.support.fake_call import BUSY, TRANSFERRED, Asked, FakeCall, Reply
from tests.support.running import FALLBACK, START, Stage, doc

pytestmark = pytest.mark.looptime

DONE = "http://app.test/voice/done"
REFER = '<Refer action="done"><Sip>sip:a@b</Sip></Refer>'
NEVER = "<Refer><Sip>sip:never@b</Sip></Refer>"


def now() -> float:
    return asyncio.get_running_loop().time()


def stage_with(*results: TransferResult | Exception, content: str = REFER, **call: float) -> Stage:
    stage = Stage(call=FakeCall(results=list(results), **call))  # type: ignore[arg-type]
    stage.serve(content + NEVER)
    stage.serve("<Pause/>", DONE)
    return stage


async def test_it_answers_then_transfers_and_leaves_hanging_up_to_the_end_of_the_document() -> None:
    stage = stage_with(TRANSFERRED, answer_s=1)
    await stage.run()
    assert stage.call.events == [(1, "answer"), (1, "transfer sip:a@b"), (5, "hangup")]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_action_gets_the_outcome_by_its_method(method: str) -> None:
    stage = stage_with(BUSY, content=f'<Refer action="done" method="{method}"><Sip>sip:a@b</Sip></Refer>')
    await stage.run()
    parameters = {
        "CxmldReferOutcome": "busy",
        "CxmldReferConfidence": "high",
        "ReferCallStatus": "busy",
        "ReferSipResponseCode": "202",
        "NotifySipResponseCode": "486",
    }
    assert stage.web.to(DONE) == [Asked(DONE, method, parameters)]


async def test_post_is_the_default_method() -> None:
    stage = stage_with(TRANSFERRED)
    await stage.run()
    assert stage.web.to(DONE)[0].method == "POST"


@pytest.mark.parametrize("result", [TRANSFERRED, BUSY, TransferResult(TransferKind.NOTIFY_TIMEOUT, 202), OSError("x")])
async def test_without_action_the_next_verb_runs_whatever_the_outcome(result: TransferResult | Exception) -> None:
    stage = Stage(call=FakeCall(results=[result, TRANSFERRED]))
    stage.serve("<Refer><Sip>sip:a@b</Sip></Refer><Refer><Sip>sip:c@d</Sip></Refer>")
    await stage.run()
    assert stage.call.done == ["answer", "transfer sip:a@b", "transfer sip:c@d", "hangup"]
    assert stage.web.urls == [START]


async def test_two_transfers_in_one_call_report_their_own_outcomes() -> None:
    stage = Stage(call=FakeCall(results=[BUSY, TRANSFERRED]))
    stage.serve(REFER)
    stage.web.serve(DONE, doc(REFER), doc("<Hangup/>"))
    await stage.run()
    assert [asked.extra["CxmldReferOutcome"] for asked in stage.web.to(DONE)] == ["busy", "transferred"]


async def test_a_refer_without_target_fails_without_answering_and_the_action_decides() -> None:
    stage = stage_with(content='<Refer action="done"/>')
    await stage.run()
    assert stage.web.to(DONE)[0].extra == {
        "CxmldReferOutcome": "invalid_target",
        "CxmldReferConfidence": "high",
        "ReferCallStatus": "failed",
    }
    assert stage.call.done == ["hangup"]


async def test_the_target_goes_out_byte_for_byte() -> None:
    target = "sip:+49%2030@b;user=phone?X-Id=1%202&amp;User-to-User=00c8"
    stage = stage_with(TRANSFERRED, content=f"<Refer action='done'><Sip>\n  {target}\n</Sip></Refer>")
    await stage.run()
    assert "transfer sip:+49%2030@b;user=phone?X-Id=1%202&User-to-User=00c8" in stage.call.done


async def test_an_error_of_ours_counts_as_failed_and_the_document_goes_on() -> None:
    stage = stage_with(RuntimeError("bug"))
    with capture_logs() as logs:
        summary = await stage.run()
    assert [line["event"] for line in logs if line.get("exc_info")] == ["transfer_crashed"]
    assert stage.web.to(DONE)[0].extra == {"CxmldReferOutcome": "failed", "CxmldReferConfidence": "low", "ReferCallStatus": "failed"}
    assert (summary.reason, stage.call.done[-1]) == (EndReason.COMPLETED, "hangup")


# Ways out while the call ends.


@pytest.mark.parametrize(
    ("bye_at", "outcome", "asked_at"),
    [
        (0.5, "call_lost", 0.5),  # while it is answered
        (2.0, "peer_hangup", 4.0),  # while it waits; 2 s for a late NOTIFY
        (4.5, "transferred", 4.0),  # while the action is called
    ],
)
async def test_the_action_is_called_once_when_the_caller_leaves(bye_at: float, outcome: str, asked_at: float) -> None:
    stage = stage_with(TRANSFERRED, answer_s=1)
    stage.serve_raw(DONE, Reply(doc(NEVER), delay_s=3))
    stage.call.peer_hangs_up_after(bye_at)
    summary = await stage.run()
    assert [asked.extra["CxmldReferOutcome"] for asked in stage.web.to(DONE)] == [outcome]
    assert now() == asked_at + 3
    assert summary.reason in {EndReason.CALL_ENDED, "call_lost"}
    assert "transfer sip:never@b" not in stage.call.done
    assert "hangup" not in stage.call.done


async def test_a_call_lost_before_the_refer_was_sent_is_failed_without_codes() -> None:
    stage = stage_with(TRANSFERRED, answer_s=1)
    stage.call.peer_hangs_up_after(0.5)
    await stage.run()
    assert stage.web.to(DONE)[0].extra == {"CxmldReferOutcome": "call_lost", "CxmldReferConfidence": "high", "ReferCallStatus": "failed"}


async def test_a_port_that_says_the_call_ended_counts_as_lost() -> None:
    stage = stage_with(CallEndedError())
    await stage.run()
    assert stage.web.to(DONE)[0].extra["CxmldReferOutcome"] == "call_lost"


@pytest.mark.parametrize("action", ["", 'action="done"'])
async def test_no_verb_follows_a_481_even_if_the_session_does_not_see_the_end(action: str) -> None:
    lost = TransferResult(TransferKind.CALL_LOST, 481)
    stage = stage_with(lost, content=f"<Refer {action}><Sip>sip:a@b</Sip></Refer>")
    transfer = stage.call.transfer

    async def unnoticed(target: str) -> TransferResult:
        stage.call.results = [TRANSFERRED]
        await transfer(target)
        return lost

    stage.call.transfer = unnoticed  # type: ignore[method-assign]
    summary = await stage.run()
    assert (summary.reason, stage.call.done) == ("call_lost", ["answer", "transfer sip:a@b", "hangup"])
    assert len(stage.web.to(DONE)) == (1 if action else 0)


async def test_on_bye_success_reports_the_peers_bye_as_success() -> None:
    stage = stage_with(TRANSFERRED)
    stage.settings = EngineSettings(refer_on_bye=OnBye.SUCCESS)
    stage.call.peer_hangs_up_after(1)
    await stage.run()
    assert stage.web.to(DONE)[0].extra["ReferCallStatus"] == "in-progress"


# A failing action.


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_a_failing_action_is_called_once_and_the_fallback_learns_the_outcome(hangs_up: bool) -> None:
    stage = stage_with(BUSY)
    stage.settings = EngineSettings(fallback_url=FALLBACK)
    stage.serve_raw(DONE, WebhookError(11200, DONE, "no answer"))
    stage.serve_raw(FALLBACK, Reply(doc("<Pause length='9'/>"), delay_s=1))
    if hangs_up:
        stage.call.peer_hangs_up_after(3.5)
    await stage.run()
    assert stage.web.urls == [START, DONE, FALLBACK]
    assert stage.web.asked[2].extra == {**stage.web.asked[1].extra, "ErrorCode": "11200", "ErrorUrl": DONE}
    assert stage.call.done[-1] == ("bye in" if hangs_up else "hangup")
    assert now() == (4 if hangs_up else 13)


async def test_a_failing_action_after_the_call_is_over_still_reaches_the_fallback() -> None:
    stage = stage_with(BUSY)
    stage.settings = EngineSettings(fallback_url=FALLBACK)
    stage.serve_raw(DONE, WebhookError(11217, DONE, "HTTP 500"))
    stage.serve(NEVER, FALLBACK)
    stage.call.peer_hangs_up_after(1)
    assert (await stage.run()).reason == EndReason.CALL_ENDED
    assert stage.web.urls == [START, DONE, FALLBACK]
    assert "transfer sip:never@b" not in stage.call.done


MOMENTS = st.none() | st.integers(0, 40).map(lambda tenths: tenths / 4)


@settings(max_examples=150)
@given(
    answer_s=st.sampled_from([0.0, 1.0]),
    transfer_s=st.sampled_from([0.0, 2.0]),
    action_s=st.sampled_from([0.0, 2.0]),
    bye_after=MOMENTS,
    stop_after=MOMENTS,
    fails=st.booleans(),
)
async def test_whoever_hangs_up_whenever_the_action_is_called_once(
    answer_s: float, transfer_s: float, action_s: float, bye_after: float | None, stop_after: float | None, fails: bool
) -> None:
    stage = stage_with(TRANSFERRED, answer_s=answer_s, transfer_s=transfer_s)
    stage.serve_raw(START, Reply(doc(REFER), delay_s=0.5))
    stage.serve_raw(DONE, WebhookError(11217, DONE, "HTTP 500") if fails else Reply(doc("<Pause/>"), delay_s=action_s))
    if bye_after is not None:
        stage.call.peer_hangs_up_after(bye_after)
    before = asyncio.all_tasks()
    engine = stage.engine()
    if stop_after is not None:
        asyncio.get_running_loop().call_later(stop_after, engine.stop)
    await engine.run(START)
    started = any(position.pending for position in stage.journal.positions)
    assert len(stage.web.to(DONE)) == (1 if started else 0)
    assert stage.call.is_ended
    assert sum(event in {"hangup", "fail", "bye in"} for event in stage.call.done) == 1
    assert stage.journal.forgotten == [stage.call.sid]
    assert stage.web.outstanding == 0
    assert asyncio.all_tasks() == before


@settings(max_examples=100)
@given(bye_after=MOMENTS, stop_after=st.integers(0, 30), cancel_after=st.integers(0, 12), closing_s=st.sampled_from([0.0, 1.5]))
async def test_a_hard_stop_calls_the_action_at_most_once_and_loses_nothing_that_is_owed(
    bye_after: float | None, stop_after: int, cancel_after: int, closing_s: float
) -> None:
    stage = stage_with(TRANSFERRED, answer_s=1, transfer_s=2, closing_s=closing_s)
    stage.serve_raw(DONE, Reply(doc("<Pause/>"), delay_s=2))
    if bye_after is not None:
        stage.call.peer_hangs_up_after(bye_after)
    before = asyncio.all_tasks()
    loop = asyncio.get_running_loop()
    engine = stage.engine()
    task = loop.create_task(engine.run(START))
    loop.call_later(stop_after / 4, engine.stop)
    loop.call_later((stop_after + cancel_after) / 4, task.cancel)
    await asyncio.wait({task})
    delivered = stage.journal.forgotten == [stage.call.sid]
    started = any(position.pending for position in stage.journal.positions)
    assert len(stage.web.to(DONE)) <= 1
    assert delivered or started or not stage.call.is_answered
    if delivered and started:
        assert len(stage.web.to(DONE)) == 1
    assert stage.web.outstanding == 0
    assert asyncio.all_tasks() == before
