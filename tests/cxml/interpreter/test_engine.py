"""The engine's rules on order, the end of the call and the journal (docs/spec/engine.md), on scripted ports and virtual time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from cxml.document import nodes
from cxml.interpreter.context import Context, VerbEntry, VerbTraits
from cxml.interpreter.ending import EndReason
from cxml.interpreter.outcome import Continue, Outcome
from cxml.verbs import VERBS
from tests.support.fake_call import Asked, FakeCall, Reply
from tests.support.running import START, Stage, doc

pytestmark = pytest.mark.looptime

REFER = '<Refer action="done"><Sip>sip:a@b</Sip></Refer>'
DONE = "http://app.test/voice/done"


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_verbs_run_strictly_in_order_and_bye_comes_after_the_last() -> None:
    stage = Stage()
    stage.serve("<Refer><Sip>sip:a@b</Sip></Refer><Pause length='2'/><Refer><Sip>sip:c@d</Sip></Refer>")
    stage.call.results *= 2
    summary = await stage.run()
    assert stage.call.events == [
        (0, "answer"), (0, "transfer sip:a@b"), (5, "transfer sip:c@d"), (8, "hangup"),
    ]  # fmt: skip
    assert (summary.reason, summary.error_code, summary.documents, summary.verbs) == (EndReason.COMPLETED, 0, 1, 3)


async def test_a_document_that_arrives_replaces_whatever_was_left() -> None:
    stage = Stage()
    stage.serve(f"{REFER}<Pause length='60'/><Refer><Sip>sip:never@b</Sip></Refer>")
    stage.serve("<Pause length='1'/>", DONE)
    await stage.run()
    assert stage.call.done == ["answer", "transfer sip:a@b", "hangup"]
    assert now() == 4


@pytest.mark.parametrize("body", [b"", b"  \r\n", b"<Response/>"])
async def test_an_empty_document_ends_an_unanswered_call_without_answering(body: bytes) -> None:
    stage = Stage()
    stage.serve_raw(START, body)
    assert (await stage.run()).reason == EndReason.COMPLETED
    assert stage.call.done == ["hangup"]


async def test_an_empty_document_from_an_action_hangs_up_an_answered_call() -> None:
    stage = Stage()
    stage.serve(f"{REFER}<Pause length='60'/>")
    stage.serve_raw(DONE, b"")
    await stage.run()
    assert stage.call.done[-1] == "hangup"
    assert now() == 3


async def test_the_first_request_has_the_given_method_and_no_extra_parameters() -> None:
    stage = Stage()
    stage.serve("")
    await stage.run(method="GET")
    assert stage.web.asked == [Asked(START, "GET", {})]


async def test_references_resolve_against_the_final_url_of_their_document() -> None:
    stage = Stage()
    stage.serve_raw(START, Reply(doc("<Redirect>next</Redirect>"), url="https://u:p@other.test:8443/x/y?z=1"))
    stage.serve("<Redirect>/top?a=b</Redirect>", "https://u:p@other.test:8443/x/next")
    stage.serve("<Redirect>http://app.test/third</Redirect>", "https://u:p@other.test:8443/top?a=b")
    stage.serve("<Hangup/>", "http://app.test/third")
    await stage.run()
    assert stage.web.urls[1:] == [
        "https://u:p@other.test:8443/x/next",
        "https://u:p@other.test:8443/top?a=b",
        "http://app.test/third",
    ]


async def test_at_most_one_request_is_outstanding() -> None:
    async def greedy(node: nodes.Pause, ctx: Context) -> Outcome:
        async with asyncio.TaskGroup() as group:
            for url in ("one", "two", "three"):
                group.create_task(ctx.fetch(url, "GET"))
        return Continue()

    stage = Stage(verbs={nodes.Pause: VerbEntry(greedy)})
    stage.serve_raw(START, Reply(doc("<Pause/>"), delay_s=1))
    for name in ("one", "two", "three"):
        stage.serve_raw(f"http://app.test/voice/{name}", Reply(delay_s=1))
    await stage.run()
    assert stage.web.most_outstanding == 1
    assert now() == 4


@pytest.mark.parametrize(
    ("content", "after_s"),
    [
        ("<Pause length='60'/><Redirect>never</Redirect>", 5.0),
        ("<Redirect>slow</Redirect><Redirect>never</Redirect>", 5.0),
        ("<Hangup/>", 0.5),
        ("<Reject/>", 5.0),
    ],
)
@pytest.mark.parametrize("answered", [True, False])
async def test_the_end_of_the_call_ends_the_running_verb_at_once(content: str, after_s: float, answered: bool) -> None:
    stage = Stage(call=FakeCall(answered=answered, answer_s=1))
    stage.serve(content)
    stage.serve_raw("http://app.test/voice/slow", Reply(doc("<Hangup/>"), delay_s=60))
    stage.call.peer_hangs_up_after(after_s)
    await stage.run()
    assert now() <= after_s
    assert "http://app.test/voice/never" not in stage.web.urls
    assert stage.web.outstanding == 0
    assert stage.journal.forgotten == [stage.call.sid]


async def test_a_caller_who_leaves_while_the_first_document_is_fetched_cancels_the_request() -> None:
    stage = Stage()
    stage.serve_raw(START, Reply(doc("<Hangup/>"), delay_s=10))
    stage.call.peer_hangs_up_after(2)
    assert (await stage.run()).reason == EndReason.CALL_ENDED
    assert (now(), stage.web.outstanding, stage.call.done) == (2, 0, ["bye in"])


async def test_a_call_that_is_already_over_runs_nothing() -> None:
    stage = Stage()
    stage.serve(REFER)
    stage.call.peer_hangs_up()
    assert (await stage.run()).reason == EndReason.CALL_ENDED
    assert stage.call.done == ["bye in"]


async def test_a_call_that_ends_while_the_position_is_written_down_starts_no_verb() -> None:
    stage = Stage()
    stage.serve(REFER)
    record = stage.journal.record

    async def slow(position: object) -> None:
        stage.call.peer_hangs_up()
        await record(position)  # type: ignore[arg-type]

    stage.journal.record = slow  # type: ignore[method-assign]
    assert (await stage.run()).reason == EndReason.CALL_ENDED
    assert stage.call.done == ["bye in"]
    assert DONE not in stage.web.urls


async def test_the_position_is_written_down_before_each_verb_and_when_a_transfer_waits() -> None:
    stage = Stage(call=FakeCall(dialog_data={"call_id": "x"}))
    stage.serve(f"<Pause/>{REFER}")
    stage.serve("<Hangup/>", DONE)
    await stage.run()
    wait = {"verb": "Refer", "target": "sip:a@b", "action": "done", "method": "POST"}
    result = {
        "CxmldReferOutcome": "transferred",
        "CxmldReferConfidence": "high",
        "ReferCallStatus": "in-progress",
        "ReferSipResponseCode": "202",
        "NotifySipResponseCode": "200",
    }
    assert [(p.document_url, p.cursor, p.pending) for p in stage.journal.positions] == [
        (START, 0, {}), (START, 1, {}), (START, 1, wait), (START, 1, {**wait, **result}), (DONE, 0, {}),
    ]  # fmt: skip
    assert all(p.dialog == {"call_id": "x"} and p.call_sid == stage.call.sid for p in stage.journal.positions)
    assert stage.journal.positions[0].document == doc(f"<Pause/>{REFER}")
    assert stage.journal.forgotten == [stage.call.sid]


async def test_a_journal_that_fails_costs_no_call() -> None:
    stage = Stage()
    stage.journal.error = OSError("disk full")
    stage.serve(REFER)
    stage.serve("<Hangup/>", DONE)
    with capture_logs() as logs:
        assert (await stage.run()).reason == "hangup"
    assert {line["event"] for line in logs if line.get("exc_info")} == {"journal_failed"}


def test_every_node_has_a_verb() -> None:
    assert set(VERBS) == set(nodes.Verb.__args__)


async def test_a_slow_verb_that_outlives_the_call_is_not_cancelled() -> None:
    finished: list[float] = []

    async def slow(node: nodes.Pause, ctx: Context) -> Outcome:
        await asyncio.sleep(9)
        finished.append(now())
        return Continue()

    def stage_with(traits: VerbTraits) -> Stage:
        stage = Stage(verbs={**VERBS, nodes.Pause: replace(VERBS[nodes.Pause], run=slow, traits=traits)})
        stage.serve("<Pause/><Redirect>never</Redirect>")
        stage.call.peer_hangs_up_after(1)
        return stage

    make: Callable[[VerbTraits], Stage] = stage_with
    assert (await make(VerbTraits(outlives_call=True)).run()).reason == EndReason.CALL_ENDED
    assert finished == [9]
    await make(VerbTraits()).run()
    assert (finished, now()) == ([9], 10)
