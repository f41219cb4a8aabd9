"""Documents of every verb on a real call over the in-memory network: what the PBX sees, and what the application is told."""

import asyncio

import httpx
import pytest
from structlog.testing import capture_logs

from cxml.access.peers import ReferRules
from cxml.interpreter.context import EngineSettings
from cxml.services.settings import WebhookSettings
from sipua.errors import CallFailedError
from sipua.message import parse_message
from sipua.usage.call.machine.effects import EndedBy
from tests.support.pbx import DAEMON, PBX, Application, Page, Stage, refer_after

pytestmark = pytest.mark.looptime

QUIET_S = 70.0  # longer than 64*T1


def doc(content: str) -> str:
    return f"<Response>{content}</Response>"


REFER = "<Refer action='/done'><Sip>sip:target@10.0.0.3</Sip></Refer>"


async def status_of(stage: Stage) -> int:
    """Dial and return the status of the refusal, 200 for an answered call that the daemon then ended."""
    try:
        call = await stage.dial()
    except CallFailedError as error:
        return error.status
    ending = await call.wait_ended()
    assert ending.by is EndedBy.PEER
    return 200


@pytest.mark.parametrize(
    ("content", "status", "call_status", "why"),
    [
        ("<Reject/>", 603, "no-answer", "rejected"),
        ("<Reject reason='busy'/>", 486, "busy", "rejected"),
        ("<Pause length='2'/><Reject/>", 603, "no-answer", "rejected"),
        ("<Hangup/>", 200, "completed", "hangup"),
        ("<Hangup/><Reject/>", 200, "completed", "hangup"),
        ("", 480, "no-answer", "completed"),
        ("<Pause/>", 480, "no-answer", "completed"),
    ],
)
async def test_a_document_ends_the_call_as_it_says(content: str, status: int, call_status: str, why: str) -> None:
    with capture_logs() as logs:
        async with Stage(Application({"/voice": doc(content)})) as stage:
            assert await status_of(stage) == status
            await asyncio.sleep(QUIET_S)
            assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
    ended = [line for line in logs if line["event"] == "call_ended"]
    assert [(line["status"], line["why"]) for line in ended] == [(call_status, why)]


async def test_a_body_without_content_refuses_the_call() -> None:
    async with Stage(Application({"/voice": lambda _: httpx.Response(204)})) as stage:
        assert await status_of(stage) == 480


async def test_the_caller_hears_ringing_while_the_application_thinks() -> None:
    async with Stage(Application({"/voice": doc("<Pause length='5'/><Reject/>")})) as stage:
        call = await stage.pbx.call("sip:1000@10.0.0.1")
        heard: list[int] = []
        call.on_progress(heard.append)
        await call.wait_ended()
        assert heard == [180]
        assert stage.application.of("/voice")[0]["CallStatus"] == "ringing"


async def test_a_pause_before_a_transfer_delays_the_answer() -> None:
    async with Stage(Application({"/voice": doc("<Pause length='3'/>" + REFER), "/done": doc("")})) as stage:
        begun = asyncio.get_running_loop().time()
        call = await stage.dial()
        assert 3.0 <= asyncio.get_running_loop().time() - begun < 3.5
        call.on_transfer_request(refer_after((1.0, 200)))
        await call.wait_ended()
        (done,) = stage.application.of("/done")
        assert (done["CxmldReferOutcome"], done["CallStatus"]) == ("transferred", "in-progress")


async def test_a_redirect_leads_to_another_document_relative_to_this_one() -> None:
    pages = {"/voice": doc("<Redirect method='GET'>sub/next?x=1</Redirect><Reject/>"), "/sub/next": doc("<Reject reason='busy'/>")}
    async with Stage(Application(dict(pages))) as stage:
        assert await status_of(stage) == 486
        assert [path for path, _ in stage.application.requests] == ["/voice", "/sub/next"]
        assert stage.application.of("/sub/next")[0]["x"] == "1"


async def test_after_a_transfer_without_action_the_next_verb_runs_and_only_then_comes_the_bye() -> None:
    plain = "<Refer><Sip>sip:target@10.0.0.3</Sip></Refer>"
    async with Stage(Application({"/voice": doc(plain + "<Pause length='4'/><Redirect>/then</Redirect>"), "/then": doc("")})) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((1.0, 486)))
        begun = asyncio.get_running_loop().time()
        await call.wait_ended()
        assert 5.0 < asyncio.get_running_loop().time() - begun < 5.6
        assert len(stage.application.of("/then")) == 1
        assert len(stage.seen("BYE", DAEMON)) == 1


async def test_the_document_of_the_action_replaces_the_rest() -> None:
    pages = {"/voice": doc(REFER + "<Redirect>/never</Redirect>"), "/done": doc("<Pause length='2'/>"), "/never": doc("")}
    async with Stage(Application(dict(pages))) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((0.5, 603)))
        await call.wait_ended()
        assert stage.application.of("/never") == []
        assert stage.application.of("/done")[0]["CxmldReferOutcome"] == "declined"
        assert stage.reasons == ["completed"]


async def test_two_transfers_in_one_document_run_one_after_the_other() -> None:
    second = "<Refer action='/second'><Sip>sip:other@10.0.0.3</Sip></Refer>"
    pages = {"/voice": doc(REFER), "/done": doc(second), "/second": doc("")}
    async with Stage(Application(dict(pages))) as stage:
        call = await stage.dial()
        answers = iter([486, 200])
        call.on_transfer_request(lambda transfer: refer_after((1.0, next(answers)))(transfer))
        await call.wait_ended()
        assert [stage.application.of(path)[0]["CxmldReferOutcome"] for path in ("/done", "/second")] == ["busy", "transferred"]


async def test_a_refer_carries_the_target_byte_for_byte_and_who_refers() -> None:
    target = "sip:%41b;x=1@host.example:5070;transport=tcp?X-A=b%20c"
    page = doc(f"<Refer action='/done'><Sip>{target}</Sip></Refer>")
    async with Stage(Application({"/voice": page, "/done": doc("")})) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((0.1, 200)))
        await call.wait_ended()
        (refer,) = stage.seen("REFER", DAEMON)
        assert f"Refer-To: <{target}>\r\n" in refer
        assert "Referred-By: <sip:1000@10.0.0.1>\r\n" in refer
        assert "Contact: <sip:1000@10.0.0.1:5060>\r\n" in refer


async def test_the_refer_waits_a_moment_after_the_ack() -> None:
    async with Stage(Application({"/voice": doc(REFER), "/done": doc("")}), rules=ReferRules(settle_s=0.7)) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((0.1, 200)))
        await call.wait_ended()
        times = {packet.data.split(b" ")[0]: packet.time for packet in stage.network.packets}
        assert times[b"REFER"] - times[b"ACK"] >= 0.7


@pytest.mark.parametrize("target", ["", "tel:+4930123", "sip:forbidden@10.0.0.3", "sip:a@", "https://x.example/"])
async def test_a_target_that_is_none_or_not_allowed_is_reported_and_never_referred_to(target: str) -> None:
    noun = f"<Sip>{target}</Sip>" if target else "<Sip/>"
    page = doc(f"<Refer action='/done'>{noun}</Refer>")
    rules = ReferRules(is_allowed=lambda uri: "forbidden" not in uri)
    async with Stage(Application({"/voice": page, "/done": doc("")}), rules=rules) as stage:
        await status_of(stage)
        assert stage.seen("REFER") == []
        told = stage.application.of("/done")
        # what the document's own check refuses never gets as far as the transfer
        assert [params["CxmldReferOutcome"] for params in told] == ["invalid_target"] or stage.reasons == ["document_invalid"]


# -- documents and requests that fail ---------------------------------------------------------------------------------------------------


def slowly(_params: object) -> httpx.Response:
    raise httpx.ReadTimeout("too slow")


BAD_PAGES: dict[str, tuple[Page, str]] = {
    "status": (lambda _: httpx.Response(404), "11217"),
    "server error": (lambda _: httpx.Response(500, content=b"oops"), "11217"),
    "time-out": (slowly, "11200"),
    "broken XML": ("<Response><Reject>", "12100"),
    "other root": ("<html/>", "12100"),
    "unsupported verb": (doc("<Say>Hello</Say>"), "13750"),
    "wrong case": (doc("<reject/>"), "12100"),
    "plain text": (lambda _: httpx.Response(200, content=b"hi", headers={"Content-Type": "text/plain"}), "12300"),
    "too large": (lambda _: httpx.Response(200, content=b"<Response>" + b" " * 70000, headers={"Content-Type": "text/xml"}), "11750"),
}


@pytest.mark.parametrize("kind", BAD_PAGES)
async def test_a_first_document_that_fails_refuses_the_call_with_one_error_line(kind: str) -> None:
    page, code = BAD_PAGES[kind]
    with capture_logs() as logs:
        async with Stage(Application({"/voice": page})) as stage:
            assert await status_of(stage) == 500
            await asyncio.sleep(QUIET_S)
            assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
    loud = [line for line in logs if line["log_level"] in ("warning", "error", "critical")]
    assert len(loud) == 1
    assert loud[0]["event"] in ("request_failed", "document_invalid")
    assert int(loud[0]["code"]) == int(code)
    assert [line["event"] for line in logs if line["log_level"] == "info"] == ["call_began", "call_ended"]
    assert next(line for line in logs if line["event"] == "call_ended")["status"] == "failed"


@pytest.mark.parametrize("kind", BAD_PAGES)
async def test_the_fallback_url_learns_what_failed_and_its_document_runs(kind: str) -> None:
    page, code = BAD_PAGES[kind]
    application = Application({"/voice": page, "/fallback": doc("<Reject reason='busy'/>")})
    engine = EngineSettings(fallback_url="http://app.test/fallback")
    with capture_logs() as logs:
        async with Stage(application, engine=engine) as stage:
            assert await status_of(stage) == 486
    (told,) = application.of("/fallback")
    assert told["ErrorUrl"] == "http://app.test/voice"
    assert int(told["ErrorCode"]) == int(code)
    assert len([line for line in logs if line["log_level"] in ("warning", "error")]) == 1


@pytest.mark.parametrize(
    "page",
    [doc("<Redirect>http://evil.test/x</Redirect>"), lambda _: httpx.Response(307, headers={"Location": "http://evil.test/x"})],
    ids=["document", "redirect"],
)
async def test_the_fallback_url_learns_of_a_host_that_is_not_allowed_and_nobody_else_of_the_call(page: Page) -> None:
    application = Application({"/voice": page, "/x": doc(""), "/fallback": doc("<Reject reason='busy'/>")})
    engine = EngineSettings(fallback_url="http://app.test/fallback")
    async with Stage(application, engine=engine, webhook=WebhookSettings(allow_hosts=("app.test",))) as stage:
        assert await status_of(stage) == 486
    (told,) = application.of("/fallback")
    assert (told["ErrorCode"], told["ErrorUrl"]) == ("11100", "http://evil.test/x")
    assert application.of("/x") == []


async def test_a_fallback_that_fails_too_ends_the_call_with_one_line_for_each_failure() -> None:
    engine = EngineSettings(fallback_url="http://app.test/fallback")
    with capture_logs() as logs:
        async with Stage(Application({}), engine=engine) as stage:
            assert await status_of(stage) == 500
    assert [line["url"] for line in logs if line["log_level"] == "error"] == ["http://app.test/voice", "http://app.test/fallback"]


async def test_an_answered_call_whose_action_fails_gets_bye_with_a_reason() -> None:
    with capture_logs() as logs:
        async with Stage(Application({"/voice": doc(REFER + "<Pause/>")})) as stage:
            call = await stage.dial()
            call.on_transfer_request(refer_after((0.5, 486)))
            ending = await call.wait_ended()
            assert ending.reason == 'SIP;cause=500;text="Application error"'
            assert len(stage.application.of("/done")) == 1
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["request_failed"]
    assert next(line for line in logs if line["event"] == "call_ended")["status"] == "completed"


async def test_the_outcome_reaches_the_fallback_when_the_action_fails() -> None:
    application = Application({"/voice": doc(REFER), "/fallback": doc("")})
    async with Stage(application, engine=EngineSettings(fallback_url="http://app.test/fallback")) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((0.5, 486)))
        await call.wait_ended()
        (told,) = application.of("/fallback")
        assert (told["CxmldReferOutcome"], told["ReferCallStatus"], told["ErrorCode"]) == ("busy", "busy", "11217")
        assert told["ErrorUrl"] == "http://app.test/done"


async def test_an_application_that_hangs_is_given_up_after_the_total_time() -> None:
    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        return httpx.Response(200)

    stage = Stage(Application({}), webhook=WebhookSettings(total_timeout_s=3.0))
    stage.application = hang  # type: ignore[assignment]  # MockTransport takes an asynchronous handler as well
    async with stage:
        begun = asyncio.get_running_loop().time()
        assert await status_of(stage) == 500
        assert 3.0 <= asyncio.get_running_loop().time() - begun < 3.5


async def test_a_document_that_redirects_to_itself_is_stopped_by_the_guard() -> None:
    engine = EngineSettings(max_documents=20)
    with capture_logs() as logs:
        async with Stage(Application({"/voice": doc("<Redirect/>")}), engine=engine) as stage:
            assert await status_of(stage) == 500
            assert len(stage.application.requests) == 21
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["too_many_documents"]


async def test_a_normal_transfer_logs_three_lines() -> None:
    with capture_logs() as logs:
        async with Stage(Application({"/voice": doc(REFER), "/done": doc("")})) as stage:
            call = await stage.dial()
            call.on_transfer_request(refer_after((0.5, 200)))
            await call.wait_ended()
            await asyncio.sleep(0.1)
    assert [line["event"] for line in logs if line["log_level"] != "debug"] == ["call_began", "transfer_ended", "call_ended"]


async def test_every_message_that_the_daemon_sends_can_be_parsed() -> None:
    async with Stage(Application({"/voice": doc(REFER), "/done": doc("")})) as stage:
        call = await stage.dial()
        call.on_transfer_request(refer_after((0.5, 180), (1.5, 200)))
        await call.wait_ended()
        for packet in stage.network.packets:
            if packet.data.strip():
                parse_message(packet.data)
        assert stage.seen("SIP/2.0 202", PBX)
