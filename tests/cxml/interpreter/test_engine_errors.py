"""What the engine does when a request, a document or a verb fails (docs/spec/engine.md, Errors)."""

import asyncio

import pytest
from structlog.testing import capture_logs

from cxml.document import nodes
from cxml.interpreter.context import Context, EngineSettings, VerbEntry, VerbTraits
from cxml.interpreter.ending import EndReason
from cxml.interpreter.outcome import Outcome
from cxml.interpreter.pace import DOCUMENT_BURST, DOCUMENTS_PER_S, MAX_FAILURES
from cxml.interpreter.ports import WebhookError
from tests.support.fake_call import Asked, FakeCall, Reply
from tests.support.running import FALLBACK, START, Stage, doc

pytestmark = pytest.mark.looptime

REFER = '<Refer action="done"><Sip>sip:a@b</Sip></Refer>'
DONE = "http://app.test/voice/done"


def now() -> float:
    return asyncio.get_running_loop().time()


FAILURES: list[tuple[Reply | bytes | Exception, int]] = [
    (WebhookError(11200, START, "no answer in 15 s"), 11200),
    (WebhookError(11217, START, "HTTP 500"), 11217),
    (b"<Response><Pause></Response>", 12100),
    (b"<Response><Hangup/><hangup/></Response>", 12100),
]


@pytest.mark.parametrize(("reply", "code"), FAILURES)
async def test_a_failure_asks_the_fallback_url_once_and_runs_its_document(reply: Reply | bytes | Exception, code: int) -> None:
    stage = Stage(settings=EngineSettings(fallback_url=FALLBACK))
    stage.serve_raw(START, reply)
    stage.serve("<Redirect>more</Redirect>", FALLBACK)
    stage.serve("<Refer><Sip>sip:a@b</Sip></Refer>", "http://backup.test/more")
    summary = await stage.run()
    assert stage.web.to(FALLBACK) == [Asked(FALLBACK, "POST", {"ErrorCode": str(code), "ErrorUrl": START})]
    assert stage.call.done == ["answer", "transfer sip:a@b", "hangup"]
    assert (summary.reason, summary.error_code) == (EndReason.COMPLETED, code)


@pytest.mark.parametrize(("reply", "code"), FAILURES)
@pytest.mark.parametrize("answered", [True, False])
async def test_without_fallback_a_failure_ends_the_call_with_one_line(reply: Reply | bytes | Exception, code: int, answered: bool) -> None:
    stage = Stage(call=FakeCall(answered=answered))
    stage.serve_raw(START, reply)
    with capture_logs() as logs:
        summary = await stage.run()
    errors = [line for line in logs if line["log_level"] == "error"]
    assert [(line["code"], line["url"], line["call_sid"]) for line in errors] == [(code, START, stage.call.sid)]
    assert stage.call.done == ["fail"]
    assert summary.error_code == code
    assert summary.reason in {EndReason.REQUEST_FAILED, EndReason.DOCUMENT_INVALID}


@pytest.mark.parametrize("reply", [WebhookError(11210, FALLBACK, "no such host"), b"<Response", b"<Response><Nope/></Response>"])
async def test_a_fallback_that_fails_too_ends_the_call(reply: Reply | bytes | Exception) -> None:
    stage = Stage(settings=EngineSettings(fallback_url=FALLBACK, fallback_method="GET"))
    stage.serve_raw(FALLBACK, reply)
    with capture_logs() as logs:
        await stage.run()
    assert stage.web.urls == [START, FALLBACK]
    assert stage.web.asked[1].method == "GET"
    assert stage.call.done == ["fail"]
    assert len([line for line in logs if line["log_level"] == "error"]) == 2


async def test_each_failing_request_has_a_fallback_of_its_own() -> None:
    stage = Stage(settings=EngineSettings(fallback_url=FALLBACK))
    stage.web.serve(FALLBACK, doc("<Redirect>menu</Redirect>"), doc("<Hangup/>"))
    stage.serve("<Redirect>gone</Redirect>", "http://backup.test/menu")
    await stage.run()
    assert stage.web.urls == [START, FALLBACK, "http://backup.test/menu", "http://backup.test/gone", FALLBACK]
    assert stage.web.asked[4].extra["ErrorUrl"] == "http://backup.test/gone"


@pytest.mark.parametrize("page", [None, b"<Response><Dance/></Response>"])
async def test_a_failure_inside_the_document_of_the_fallback_ends_the_call(page: bytes | None) -> None:
    stage = Stage(settings=EngineSettings(fallback_url=FALLBACK))
    stage.serve("<Redirect>missing</Redirect>")
    stage.serve("<Pause/><Redirect>gone</Redirect>", FALLBACK)
    if page is not None:
        stage.serve_raw("http://backup.test/gone", page)
    summary = await stage.run()
    assert stage.web.urls == [START, "http://app.test/voice/missing", FALLBACK, "http://backup.test/gone"]
    assert summary.reason in {EndReason.REQUEST_FAILED, EndReason.DOCUMENT_INVALID}
    assert stage.call.done == ["fail"]


async def test_a_result_owed_by_the_document_of_the_fallback_is_told_and_the_answer_does_not_run() -> None:
    stage = Stage(settings=EngineSettings(fallback_url=FALLBACK))
    stage.serve(REFER, FALLBACK)
    summary = await stage.run()
    assert stage.web.urls == [START, FALLBACK, "http://backup.test/done", FALLBACK]
    assert stage.web.asked[3].extra["ErrorUrl"] == "http://backup.test/done"
    assert stage.web.asked[3].extra["ReferCallStatus"]
    assert stage.call.done == ["answer", "transfer sip:a@b", "fail"]
    assert summary.reason == EndReason.REQUEST_FAILED


async def test_an_invalid_document_is_reported_with_line_and_column() -> None:
    stage = Stage()
    stage.serve_raw("http://u:secret@app.test/voice", b"<Response>\n  <Pause/>\n  <Dance/>\n</Response>")
    with capture_logs() as logs:
        await stage.run("http://u:secret@app.test/voice")
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert (line["line"], line["column"], line["url"]) == (3, 3, "http://app.test/voice")
    assert "secret" not in repr(logs)


async def test_a_failing_request_is_reported_with_the_place_of_its_verb() -> None:
    stage = Stage()
    stage.serve("\n  <Pause/>\n  <Redirect>gone</Redirect>")
    with capture_logs() as logs:
        await stage.run()
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert (line["document"], line["line"]) == (START, 3)


async def test_an_unreadable_url_is_a_failed_request() -> None:
    stage = Stage(settings=EngineSettings(fallback_url=FALLBACK))
    stage.serve("<Hangup/>", FALLBACK)
    await stage.run("http://[::1")
    assert stage.web.asked[0].extra == {"ErrorCode": "11100", "ErrorUrl": "(unreadable URL)"}


async def test_an_error_after_the_call_is_over_asks_no_fallback() -> None:
    stage = Stage(settings=EngineSettings(fallback_url=FALLBACK))
    fetch = stage.web.fetch

    async def dies(url: str, method: str, extra: dict[str, str]) -> object:
        stage.call.peer_hangs_up()
        return await fetch(url, method, extra)

    stage.web.fetch = dies  # type: ignore[method-assign, assignment]
    assert (await stage.run()).reason == EndReason.CALL_ENDED
    assert stage.web.urls == [START]


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("outlives", [True, False])
async def test_a_verb_that_crashes_is_logged_once_and_ends_the_call(answered: bool, outlives: bool) -> None:
    async def crash(node: nodes.Pause, ctx: Context) -> Outcome:
        raise ZeroDivisionError

    stage = Stage(call=FakeCall(answered=answered), verbs={nodes.Pause: VerbEntry(crash, VerbTraits(outlives))})
    stage.settings = EngineSettings(fallback_url=FALLBACK)
    stage.serve("<Pause/>")
    with capture_logs() as logs:
        summary = await stage.run()
    assert [(line["event"], line["what"]) for line in logs if line.get("exc_info")] == [("step_crashed", "Pause")]
    assert (summary.reason, stage.call.done, stage.web.urls) == (EndReason.CRASHED, ["fail"], [START])
    assert stage.journal.forgotten == [stage.call.sid]


@pytest.mark.parametrize("hangs_up", [True, False])
async def test_a_crash_of_the_action_request_of_a_refer_loses_no_result(hangs_up: bool) -> None:
    stage = Stage(settings=EngineSettings(fallback_url=FALLBACK))
    stage.serve(REFER)
    stage.serve_raw(DONE, UnicodeError("label empty or too long"))
    stage.serve("<Hangup/>", FALLBACK)
    if hangs_up:
        stage.call.peer_hangs_up_after(1)
    with capture_logs() as logs:
        summary = await stage.run()
    [action], [told] = stage.web.to(DONE), stage.web.to(FALLBACK)
    assert told.extra == {**action.extra, "ErrorCode": "11200", "ErrorUrl": DONE}
    assert "CxmldReferOutcome" in told.extra
    assert [(line["event"], line["what"]) for line in logs if line.get("exc_info")] == [("step_crashed", "owed request")]
    assert summary.reason == (EndReason.CALL_ENDED if hangs_up else "hangup")


async def test_a_node_without_verb_ends_the_call_and_not_the_engine() -> None:
    stage = Stage(verbs={})
    stage.serve("<Pause/>")
    with capture_logs() as logs:
        assert (await stage.run()).reason == EndReason.CRASHED
    assert len([line for line in logs if line.get("exc_info")]) == 1
    assert stage.call.done == ["fail"]


async def test_a_call_port_that_raises_on_hangup_does_not_break_the_engine() -> None:
    stage = Stage()
    stage.serve("")

    async def hangup() -> None:
        raise OSError

    stage.call.hangup = hangup  # type: ignore[method-assign]
    with capture_logs() as logs:
        assert (await stage.run()).reason == EndReason.COMPLETED
    assert [line["event"] for line in logs if line.get("exc_info")] == ["hanging_up_failed"]


async def test_a_document_that_redirects_to_itself_for_ever_is_stopped() -> None:
    stage = Stage(settings=EngineSettings(max_documents=20, fallback_url=FALLBACK))
    stage.serve("<Redirect/>")
    summary = await stage.run()
    assert (summary.reason, summary.documents, len(stage.web.asked)) == (EndReason.LOOP_GUARD, 20, 21)
    assert stage.call.done == ["fail"]
    assert FALLBACK not in stage.web.urls


async def test_failures_that_feed_each_other_are_stopped() -> None:
    stage = Stage(settings=EngineSettings(fallback_url=FALLBACK))
    stage.serve("<Redirect>gone</Redirect>")
    stage.serve(f"<Redirect>{START}</Redirect>", FALLBACK)
    with capture_logs() as logs:
        assert (await stage.run()).reason == EndReason.LOOP_GUARD
    assert (len(stage.web.to(FALLBACK)), len(stage.web.asked)) == (MAX_FAILURES, 3 * MAX_FAILURES + 2)
    assert [line["limit"] for line in logs if line["event"] == "too_many_failures"] == [MAX_FAILURES]
    assert stage.call.done == ["fail"]


async def test_failures_far_apart_are_not_counted_together() -> None:
    stage = Stage(settings=EngineSettings(fallback_url=FALLBACK))
    stage.serve_raw(START, *[doc('<Pause length="30"/><Redirect>flaky</Redirect>')] * 40, doc("<Hangup/>"))
    stage.serve(f"<Redirect>{START}</Redirect>", FALLBACK)
    assert (await stage.run()).reason == "hangup"
    assert len(stage.web.to(FALLBACK)) == 40


async def test_a_loop_of_documents_is_slowed_down_and_logged_once() -> None:
    stage = Stage(settings=EngineSettings(max_documents=DOCUMENT_BURST + 60))
    stage.serve("<Redirect/>")
    with capture_logs() as logs:
        await stage.run()
    assert now() == pytest.approx(60 / DOCUMENTS_PER_S)
    assert [line["log_level"] for line in logs if line["event"] == "documents_too_fast"] == ["warning"]


async def test_what_a_call_did_not_use_is_saved_up_from_its_first_document_on() -> None:
    stage = Stage(settings=EngineSettings(max_documents=DOCUMENT_BURST + 1))
    stage.serve_raw(START, doc('<Pause length="60"/><Redirect/>'), doc("<Redirect/>"))
    await stage.run()
    assert now() == pytest.approx(60)


async def test_a_waiting_loop_is_not_slowed_down() -> None:
    stage = Stage(settings=EngineSettings(max_documents=300))
    stage.serve("<Pause/><Redirect/>")
    await stage.run()
    assert now() == pytest.approx(300)


async def test_a_call_that_ends_while_its_documents_are_slowed_down_ends_at_once() -> None:
    stage = Stage()
    stage.serve("<Redirect/>")
    asyncio.get_running_loop().call_later(5.5, stage.call.peer_hangs_up)
    assert (await stage.run()).reason == EndReason.CALL_ENDED
    assert now() == 5.5


async def test_too_many_verbs_are_stopped() -> None:
    stage = Stage(settings=EngineSettings(max_verbs=7))
    stage.serve("<Pause/>" * 10)
    summary = await stage.run()
    assert (summary.reason, summary.verbs, now()) == (EndReason.LOOP_GUARD, 7, 7)
