"""Transfers on the wire that go odd ways: tried again, badly notified, badly aimed, given up."""

import asyncio

import pytest

from sipua.auth import Credential
from sipua.message import make_response
from sipua.timers import Timing
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.subscription.outcome import TransferKind
from sipua.usage.subscription.refer import ReferSettings
from sipua.usage.subscription.session import TOLD_AS, TransferSession
from tests.support.raw_peer import armed_timers, header, raw_stage
from tests.support.raw_transfer import OVER, TARGET, notified, transferring

pytestmark = pytest.mark.looptime


async def test_repeated_refer_is_the_same_message() -> None:
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        await asyncio.sleep(1.6)
        assert stage.peer.times("REFER") == [0.1, 0.6, 1.6]
        assert len({message.encode() for message in stage.peer.all("REFER")}) == 1
        stage.peer.reply(refer, 202)
        dialog.notify(200, OVER)
        assert (await running).is_success
        await dialog.bye()


@pytest.mark.parametrize(("status", "headers"), [(491, ()), (500, (("Retry-After", "3"),)), (500, (("Retry-After", "0 (now)"),))])
async def test_refer_is_tried_once_more_where_that_helps(status: int, headers: tuple[tuple[str, str], ...]) -> None:
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, status, *headers)
        started = asyncio.get_running_loop().time()
        refer = await stage.peer.request("REFER")
        waited = asyncio.get_running_loop().time() - started
        if status == 491:
            assert 0 <= waited <= 2.0  # the peer owns the Call-ID
        elif headers[0][1] == "3":
            assert waited == pytest.approx(3.0, abs=0.01)
        stage.peer.reply(refer, status, *headers)
        outcome = await running
        assert (outcome.kind, outcome.refer_code) == (TransferKind.REJECTED, status)
        assert len({message.cseq.number for message in stage.peer.all("REFER")}) == 2
        await dialog.bye()


@pytest.mark.parametrize("headers", [(), (("Retry-After", "11"),), (("Retry-After", "x"),)])
async def test_500_without_a_short_retry_after_is_final(headers: tuple[tuple[str, str], ...]) -> None:
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 500, *headers)
        assert (await running).refer_code == 500
        await dialog.bye()


@pytest.mark.parametrize("second", [200, 400])
async def test_refer_that_came_too_early_is_sent_once_more(second: int) -> None:
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(400, OVER)
        await notified(stage)
        refer = await stage.peer.request("REFER", 1.0)
        stage.peer.reply(refer, 202)
        dialog.notify(second, OVER)  # without id
        await notified(stage)
        outcome = await running
        assert outcome.notify_code == second
        assert len(stage.peer.all("REFER")) == 2
        await dialog.bye()


async def test_refer_that_came_too_early_is_sent_once_more_although_its_notify_was_lost_twice() -> None:
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        await asyncio.sleep(1.5)
        dialog.notify(400, OVER)
        refer = await stage.peer.request("REFER", 1.0)
        stage.peer.reply(refer, 202)
        dialog.notify(200, OVER)
        assert (await running).is_success
        await dialog.bye()


async def test_target_that_answers_400_at_once_is_not_dialled_again_in_an_old_call() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        await asyncio.sleep(600)
        running = stage.soon(call.transfer(TARGET))
        stage.peer.reply(await stage.peer.request("REFER"), 202)
        await asyncio.sleep(0.3)
        dialog.notify(400, OVER)
        assert (await running).notify_code == 400
        assert len(stage.peer.all("REFER")) == 1
        await dialog.bye()


async def test_end_of_the_call_ends_the_wait_for_another_try() -> None:
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 500, ("Retry-After", "9"))
        await asyncio.sleep(1)
        await dialog.bye()
        assert (await running).refer_code == 500
        assert asyncio.get_running_loop().time() < 2


@pytest.mark.parametrize(
    ("content_type", "body", "answer"),
    [
        ("text/plain", b"SIP/2.0 200 OK", 415),
        ("message/sipfrag", b"rubbish", 400),
        (";;", b"SIP/2.0 200 OK", 400),
        ("message/sipfrag", b"SIP/2.0 999 X", 400),
        ("", b"hello", 400),
    ],
)
async def test_notify_with_an_unreadable_body_leaves_the_transfer_waiting(content_type: str, body: bytes, answer: int) -> None:
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(body, "active;expires=60", ("Content-Type", content_type))
        await notified(stage, answer)
        assert not running.done()
        dialog.notify(b"sip/2.0 200", OVER, ("Content-Type", "Message/SIPfrag"))
        await notified(stage)
        assert (await running).is_success
        await dialog.bye()


@pytest.mark.parametrize(
    "headers",
    [
        (("Event", "Refer"),),
        (("Event", "refer ; foo=bar"),),
        (("Subscription-State", ""),),
        (("Subscription-State", "TERMINATED;;reason"),),
        (("Contact", "<<"),),
        (("Contact", ""),),
        (("Record-Route", "<sip:"),),
        (("Expires", "x"),),
        (("Content-Disposition", ";;"),),
    ],
)
async def test_odd_headers_of_a_notify_do_not_hide_its_result(headers: tuple[tuple[str, str], ...]) -> None:
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(200, OVER, *headers)
        await notified(stage)
        assert (await running).is_success
        assert call.is_confirmed
        await dialog.bye()


@pytest.mark.parametrize(
    "target",
    [
        "",
        " ",
        "sip:",
        "tel:+491234",
        "mailto:a@b",
        "sip:a@b\r\nX-Evil: 1",
        "sip:a@b>",
        "<sip:a@b>",
        "sip:a b@c",
        "sip:\x00@b",
        "sip:a@b\u2028",
        "bob",
        "sip:bob:secret@example.com",
        "sip:bob:@example.com",
        "sip:bob@example.com?Route=%3Csip:evil%3Blr%3E&X-A=1",
        "sip:bob@example.com?X-A=1%0D%0AFrom:%20x",
        "sip:bob@example.com?X-A%0D%0AFrom=1",
        "sip:bob@example.com?x-a=1&%52oute=x",
        "sip:bob@example.com?body=x",
        "sip:bob@example.com?",
    ],
)
async def test_target_that_can_not_stand_in_a_refer_is_an_outcome_and_sends_nothing(target: str) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        outcome = await call.transfer(target)
        assert outcome.kind is TransferKind.INVALID_TARGET
        assert outcome.detail.isprintable()
        assert "secret" not in outcome.detail
        assert stage.peer.all("REFER") == []
        await dialog.bye()


async def test_huge_target_goes_by_tcp_byte_for_byte() -> None:
    async with raw_stage() as stage:
        target = "sip:" + "x" * 4000 + "@10.0.0.3;p=%41?Replaces=a%40b%3Bto-tag%3Dx"
        _, dialog, running, refer = await transferring(stage, target)
        assert stage.peer.transport_of(refer) == "TCP"
        assert header(refer, "Refer-To") == f"<{target}>"
        stage.peer.reply(refer, 603)
        assert (await running).refer_code == 603
        await dialog.bye()


@pytest.mark.parametrize(
    "target",
    [
        "sip:o'neil@example.com",
        "sip:bob@example.com?X-Case=17&x-other=",
        "sip:bob@example.com?REPLACES=abc%3Bto-tag%3D1",
        "sip:bob@example.com?User-to-User=56a390f3%3Bencoding%3Dhex",
    ],
)
async def test_target_goes_into_refer_to_byte_for_byte(target: str) -> None:
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage, target)
        assert header(refer, "Refer-To") == f"<{target}>"
        stage.peer.reply(refer, 603)
        assert (await running).refer_code == 603
        await dialog.bye()


async def test_headers_of_the_caller_replace_and_remove() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        for headers, referred_by in (({"X-A": "1", "Referred-By": ""}, ""), ({"Referred-By": "<sip:boss@x>"}, "<sip:boss@x>")):
            running = stage.soon(call.transfer(TARGET, headers=headers))
            refer = await stage.peer.request("REFER")
            assert header(refer, "Referred-By") == referred_by
            stage.peer.reply(refer, 603)
            await running
        await dialog.bye()


async def test_header_with_a_line_break_is_refused_and_leaves_nothing() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        with pytest.raises(ValueError, match="line end"):
            await call.transfer(TARGET, headers={"X-A": "1\r\nX-B: 2"})
        assert len(stage.agent.dialogs.find(call._session.dialog.id).usages) == 1  # type: ignore[union-attr]
        await dialog.bye()


async def test_transfer_before_the_answer_and_after_the_end_sends_nothing() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming()
        assert (await call.transfer(TARGET)).kind is TransferKind.FAILED
        await call.reject()
        assert (await call.transfer(TARGET)).kind in (TransferKind.FAILED, TransferKind.CALL_LOST)
        assert stage.peer.all("REFER") == []


async def test_transfer_of_an_outgoing_call() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.dialed()
        running = stage.soon(call.transfer(TARGET))
        refer = await stage.peer.request("REFER")
        stage.peer.reply(refer, 202)
        dialog.notify(200, OVER)
        assert (await running).is_success
        await dialog.bye()


async def test_transfer_that_its_caller_gives_up_leaves_the_call() -> None:
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        await asyncio.sleep(0.5)
        running.cancel()
        await asyncio.sleep(0.1)
        dialog.notify(200, OVER)
        await notified(stage, 481)
        assert call.is_confirmed
        again = stage.soon(call.transfer(TARGET))
        stage.peer.reply(await stage.peer.request("REFER"), 603)
        assert (await again).refer_code == 603
        await dialog.bye()


async def test_transfer_that_its_caller_gives_up_answers_no_challenge_and_leaves_no_timer() -> None:
    async with raw_stage(credentials=(Credential("a", "b"),)) as stage:
        call, dialog, running, refer = await transferring(stage)
        running.cancel()
        await asyncio.sleep(0.1)
        stage.peer.reply(refer, 401, ("WWW-Authenticate", 'Digest realm="p", nonce="1", qop="auth"'))
        await asyncio.sleep(1)
        assert {message.cseq.number for message in stage.peer.all("REFER")} == {refer.cseq.number}
        assert call.is_confirmed
        await dialog.bye()


async def test_transfer_that_is_closed_before_its_refer_leaves_sends_nothing_and_arms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_stage(is_quiet=False) as stage:
        call, _ = await stage.established()
        before = armed_timers()
        monkeypatch.setattr(stage.agent.transports, "channel_now", lambda *_: None)
        running = stage.soon(call.transfer(TARGET, settle_s=0.0))
        await asyncio.sleep(0)  # the REFER is on its way to its task, which has to find a channel first
        stage.agent.dialogs.close()
        assert (await running).kind is TransferKind.LOCAL_HANGUP
        await asyncio.sleep(0.1)
        assert stage.peer.all("REFER") == []
        assert armed_timers() == before


async def test_closed_transfer_takes_no_attempt_and_no_end_of_the_call() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        core = call._session.core
        transfer = TransferSession(call._session.dialog, core.loop, ReferSettings(), Timing(), core.tasks)
        before = armed_timers()
        transfer.close()
        transfer._attempted(1)
        transfer.call_ended("peer")
        transfer.call_lost()
        assert armed_timers() == before
        await dialog.bye()


@pytest.mark.parametrize("is_accepted", [True, False])
async def test_agent_that_closes_under_a_transfer_ends_it(is_accepted: bool) -> None:
    async with raw_stage(is_quiet=False) as stage:
        call, dialog, running, refer = await transferring(stage)
        if is_accepted:
            stage.peer.reply(refer, 202)
            dialog.notify(100, "active;expires=600")
            await notified(stage)
        stage.peer.answers["BYE"] = 200
        await stage.agent.aclose()
        async with asyncio.timeout(1):
            outcome = await running
        assert outcome.kind in (TransferKind.LOCAL_HANGUP, TransferKind.UNREACHABLE)
        assert call.is_ended


async def test_settle_time_is_counted_from_the_ack() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        await asyncio.sleep(5)
        running = stage.soon(call.transfer(TARGET, settle_s=3.0))
        stage.peer.reply(await stage.peer.request("REFER", 0.01), 603)
        await running
        running = stage.soon(call.transfer(TARGET, settle_s=8.0))
        stage.peer.reply(await stage.peer.request("REFER", 4.0), 603)
        assert stage.peer.times("REFER") == [5.0, 8.0]
        await running
        await dialog.bye()


async def test_subscription_of_a_reported_transfer_outlives_everything_but_not_for_ever() -> None:
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(200, "active;expires=4294967295")
        assert (await running).is_success
        await dialog.bye()
        dialog.notify(200, "active;expires=4294967295")
        await notified(stage)
        assert len(stage.agent.dialogs) == 1


async def test_response_to_the_refer_from_another_branch_is_ignored() -> None:
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        forged = make_response(refer, 202)
        forged.headers.set("Via", header(refer, "Via").replace("branch=z9hG4bK", "branch=z9hG4bKx"))
        stage.peer.send(forged)
        await asyncio.sleep(0.2)
        stage.peer.reply(refer, 603)
        assert (await running).refer_code == 603
        await dialog.bye()


def test_every_word_for_who_ended_a_call_is_known_to_a_transfer() -> None:
    told = {by: TOLD_AS.get(by, "local") for by in EndedBy}
    assert told == {
        EndedBy.LOCAL: "local",
        EndedBy.PEER: "peer",
        EndedBy.NO_ACK: "local",
        EndedBy.LOST: "lost",
        EndedBy.EXPIRED: "local",
    }
