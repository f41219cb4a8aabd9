"""Transfers on the wire, ladder by ladder (RFC 3515, RFC 6665, RFC 5589), between the real agent and a scripted peer."""

import asyncio

import pytest

from sipua.auth import Credential
from sipua.usage.call.core import CallSettings
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.subscription.outcome import TransferKind
from sipua.usage.subscription.refer import ReferSettings
from tests.support.raw_peer import AGENT, OFFER, PEER, header, raw_stage
from tests.support.raw_transfer import OVER, TARGET, notified, transferring

pytestmark = pytest.mark.looptime


async def test_successful_transfer() -> None:  # 12.1
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        assert asyncio.get_running_loop().time() == pytest.approx(0.1, abs=0.01)  # the PBX gets its moment after the ACK
        assert header(refer, "Refer-To") == f"<{TARGET}>"
        assert header(refer, "Referred-By") == f"<sip:100@{AGENT}>"
        assert header(refer, "Contact") == f"<sip:100@{AGENT}:5060>"
        assert refer.uri == f"sip:peer@{PEER}:5060"
        assert refer.body == b""
        stage.peer.reply(refer, 202)
        for status, state in ((100, "active;expires=60"), (180, "active;expires=59"), (200, OVER)):
            assert not running.done()
            dialog.notify(status, state, event=f"refer;id={refer.cseq.number}")
            await notified(stage)
        outcome = await running
        assert outcome.kind is TransferKind.TRANSFERRED
        assert (outcome.refer_code, outcome.notify_code) == (202, 200)
        assert call.is_confirmed
        dialog.notify(200, OVER)
        await notified(stage, 481)
        await call.hangup()
        bye = await stage.peer.request("BYE")
        assert bye.cseq.number == refer.cseq.number + 1
        stage.peer.reply(bye, 200)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (486, TransferKind.BUSY),
        (600, TransferKind.BUSY),
        (487, TransferKind.NO_ANSWER),
        (603, TransferKind.DECLINED),
        (404, TransferKind.FAILED),
        (302, TransferKind.FAILED),
        (202, TransferKind.TRANSFERRED),
    ],
)
async def test_target_decides_the_outcome_and_the_call_goes_on(status: int, kind: TransferKind) -> None:  # 12.2, 12.3, 12.13
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 200)
        dialog.notify(100, "active;expires=60")
        dialog.notify(status, OVER)
        outcome = await running
        assert (outcome.kind, outcome.refer_code, outcome.notify_code) == (kind, 200, status)
        assert call.is_confirmed
        await dialog.bye()


async def test_redirection_that_is_still_active_is_waited_out() -> None:  # 12.13
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(302, "active;expires=60")
        await notified(stage)
        await asyncio.sleep(5)
        assert not running.done()
        dialog.notify(200, OVER)
        assert (await running).kind is TransferKind.TRANSFERRED
        await dialog.bye()


@pytest.mark.parametrize("status", [300, 400, 403, 404, 405, 420, 429, 488, 501, 503, 603, 699])
async def test_refused_refer_leaves_the_call_and_no_subscription(status: int) -> None:  # 12.4
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, status, ("Contact", "<sip:evil@10.6.6.6>"))
        outcome = await running
        assert (outcome.kind, outcome.refer_code, outcome.notified) == (TransferKind.REJECTED, status, False)
        assert call.is_confirmed
        dialog.notify(200, OVER)
        await notified(stage, 481)
        await dialog.bye()


async def test_refer_that_shows_the_call_is_lost_ends_it() -> None:  # 12.5
    async with raw_stage() as stage:
        call, _, running, refer = await transferring(stage)
        stage.peer.reply(refer, 481)
        outcome = await running
        assert outcome.kind is TransferKind.CALL_LOST
        assert outcome.refer_code == 481
        stage.peer.reply(await stage.peer.request("BYE"), 481)
        assert (await call.wait_ended()).by is EndedBy.LOST


@pytest.mark.parametrize(
    ("event", "answer"), [("refer;id={second}", 200), ("refer;id={first}", 200), ("refer", 200), ("refer;id=999", 481)]
)
async def test_challenged_refer_is_repeated_and_either_number_may_be_the_id(event: str, answer: int) -> None:  # 12.6
    async with raw_stage(credentials=(Credential("a", "b"),)) as stage:
        _, dialog, running, first = await transferring(stage)
        stage.peer.reply(first, 407, ("Proxy-Authenticate", 'Digest realm="p", nonce="1", qop="auth"'))
        second = await stage.peer.request("REFER")
        assert second.cseq.number == first.cseq.number + 1
        assert second.via.branch != first.via.branch
        assert "nc=00000001" in header(second, "Proxy-Authorization")
        stage.peer.reply(second, 202)
        dialog.notify(200, OVER, event=event.format(first=first.cseq.number, second=second.cseq.number))
        await notified(stage, answer)
        outcome = await running
        expected = TransferKind.TRANSFERRED if answer == 200 else TransferKind.NOTIFY_TIMEOUT
        assert outcome.kind is expected
        await dialog.bye()


@pytest.mark.parametrize(("status", "name"), [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")])
async def test_challenge_that_can_not_be_met_is_the_outcome(status: int, name: str) -> None:  # 12.6
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, status, (name, 'Digest realm="p", nonce="1"'))
        outcome = await running
        assert (outcome.kind, outcome.refer_code) == (TransferKind.UNAUTHENTICATED, status)
        await dialog.bye()


async def test_notify_before_the_answer_to_the_refer() -> None:  # 12.7
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        dialog.notify(100, "active;expires=60")
        await notified(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(200, OVER)
        assert (await running).refer_code == 202
        await dialog.bye()


async def test_final_notify_before_the_answer_is_kept_until_that_comes() -> None:  # 12.7
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        dialog.notify(486, OVER)
        await notified(stage)
        await asyncio.sleep(2)
        assert not running.done()
        stage.peer.reply(refer, 202)
        outcome = await running
        assert (outcome.kind, outcome.refer_code) == (TransferKind.BUSY, 202)
        await dialog.bye()


async def test_final_notify_whose_answer_to_the_refer_is_lost_counts_after_t4() -> None:  # 12.7
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        dialog.notify(200, OVER)
        outcome = await running
        assert (outcome.kind, outcome.refer_code) == (TransferKind.TRANSFERRED, 0)
        assert outcome.is_accepted
        assert asyncio.get_running_loop().time() == pytest.approx(5.1, abs=0.05)
        stage.peer.reply(refer, 202)  # late, and of no use any more
        await asyncio.sleep(1)
        assert call.is_confirmed
        await dialog.bye()


async def test_error_that_follows_a_notify_wins() -> None:  # 12.7
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        dialog.notify(200, OVER)
        await notified(stage)
        stage.peer.reply(refer, 403)
        outcome = await running
        assert (outcome.kind, outcome.refer_code) == (TransferKind.REJECTED, 403)
        await dialog.bye()


async def test_no_notify_at_all_ends_with_timer_n() -> None:  # 12.8
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        outcome = await running
        assert (outcome.kind, outcome.notified) == (TransferKind.NOTIFY_TIMEOUT, False)
        assert asyncio.get_running_loop().time() == pytest.approx(32.1, abs=0.05)
        dialog.notify(200, OVER)
        await notified(stage, 481)
        assert call.is_confirmed
        await dialog.bye()


async def test_silence_after_the_first_notify_ends_with_the_granted_time() -> None:  # 12.9
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(100, "active;expires=60")
        outcome = await running
        assert outcome.kind is TransferKind.NOTIFY_TIMEOUT
        assert 60 <= asyncio.get_running_loop().time() <= 97
        dialog.notify(200, OVER)  # D4: the subscription may still be open
        await notified(stage)
        await dialog.bye()


async def test_refer_that_nobody_answers_is_408_like() -> None:  # A7
    async with raw_stage() as stage:
        call, dialog, running, _ = await transferring(stage)
        outcome = await running
        assert (outcome.kind, outcome.refer_code) == (TransferKind.NO_RESPONSE, 408)
        assert len(stage.peer.all("REFER")) == 11
        assert call.is_confirmed
        await dialog.bye()


async def test_refer_that_can_not_be_sent_is_503_like() -> None:  # A8
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        dialog.send("UPDATE", ("Contact", "<sip:peer@nowhere.invalid>"))
        await stage.peer.response("200 UPDATE")
        outcome = await call.transfer(TARGET)
        assert (outcome.kind, outcome.refer_code) == (TransferKind.UNREACHABLE, 503)
        await dialog.bye()


async def test_bye_of_the_peer_and_then_the_final_notify() -> None:  # 12.10, C1
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(100, "active;expires=60")
        await dialog.bye()
        assert call.is_ended
        await asyncio.sleep(1)
        assert not running.done()
        dialog.notify(486, OVER)
        await notified(stage)
        assert (await running).kind is TransferKind.BUSY


@pytest.mark.parametrize("grace_s", [0.0, 2.0, 32.0])
async def test_bye_of_the_peer_without_a_final_notify_is_a_hangup_after_the_grace(grace_s: float) -> None:  # C2
    async with raw_stage(settings=CallSettings(refer=ReferSettings(bye_grace_s=grace_s))) as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(180, "active;expires=60")
        await dialog.bye()
        started = asyncio.get_running_loop().time()
        outcome = await running
        assert (outcome.kind, outcome.notify_code) == (TransferKind.PEER_HANGUP, 180)
        assert asyncio.get_running_loop().time() - started == pytest.approx(grace_s, abs=0.05)
        dialog.notify(200, OVER)  # answered, but too late
        await notified(stage)


async def test_bye_at_once_after_the_202_and_a_late_notify() -> None:  # C1
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        await dialog.bye()
        await asyncio.sleep(1.5)
        dialog.notify(200, OVER)
        await notified(stage)
        assert (await running).kind is TransferKind.TRANSFERRED


async def test_bye_that_overtakes_the_final_notify() -> None:  # 12.10: 500, but the result is taken
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(100, "active;expires=60")
        await notified(stage)
        dialog.cseq += 1
        overtaken = dialog.cseq
        await dialog.bye()
        dialog.notify(200, OVER, cseq=overtaken)
        await notified(stage, 500)
        assert (await running).kind is TransferKind.TRANSFERRED


async def test_bye_before_the_answer_to_the_refer() -> None:  # 12.16
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        await dialog.bye()
        await asyncio.sleep(1)
        stage.peer.reply(refer, 481)
        outcome = await running
        assert outcome.refer_code == 481
        assert (await call.wait_ended()).by is EndedBy.PEER


async def test_bye_that_crosses_a_refer_which_is_accepted() -> None:  # 12.16
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        await dialog.bye()
        stage.peer.reply(refer, 202)
        dialog.notify(100, "active;expires=60")
        dialog.notify(200, OVER)
        assert (await running).kind is TransferKind.TRANSFERRED


async def test_our_hangup_ends_the_wait_and_the_notifys_are_still_answered() -> None:  # 12.11, C4
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(180, "active;expires=60")
        await notified(stage)
        await call.hangup()
        outcome = await running
        assert (outcome.kind, outcome.notify_code) == (TransferKind.LOCAL_HANGUP, 180)
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        del call
        await asyncio.sleep(20)
        dialog.notify(200, OVER)
        await notified(stage)
        dialog.notify(200, OVER)
        await notified(stage, 481)


async def test_our_hangup_gives_the_answer_to_the_refer_5_s() -> None:  # C5g
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        await call.hangup()
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        began = asyncio.get_running_loop().time()
        outcome = await running
        assert (outcome.kind, outcome.refer_code) == (TransferKind.LOCAL_HANGUP, 0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(5.0, abs=0.05)
        stage.peer.reply(refer, 202)
        dialog.notify(200, OVER)
        await notified(stage)


@pytest.mark.parametrize("by_peer", [True, False])
async def test_challenge_that_comes_after_the_end_of_the_call_is_not_answered(by_peer: bool) -> None:  # C5h, C5i
    async with raw_stage(credentials=(Credential("a", "b"),)) as stage:
        call, dialog, running, refer = await transferring(stage)
        if by_peer:
            await dialog.bye()
        else:
            await call.hangup()
            stage.peer.reply(await stage.peer.request("BYE"), 200)
        stage.peer.reply(refer, 401, ("WWW-Authenticate", 'Digest realm="p", nonce="1", qop="auth"'))
        outcome = await running
        assert outcome.kind is (TransferKind.PEER_HANGUP if by_peer else TransferKind.LOCAL_HANGUP)
        assert outcome.refer_code == 401
        await asyncio.sleep(1)
        assert {message.cseq.number for message in stage.peer.all("REFER")} == {refer.cseq.number}


async def test_terminated_with_a_provisional_status_only() -> None:  # 12.12
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(100, "terminated;reason=timeout")
        outcome = await running
        assert (outcome.kind, outcome.notify_code) == (TransferKind.UNKNOWN, 100)
        await dialog.bye()


async def test_notify_out_of_order_and_repeated() -> None:  # 12.14
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(180, "active", cseq=11)
        await notified(stage)
        dialog.notify(100, "active", cseq=10)
        await notified(stage, 500)
        final = dialog.notify(200, OVER, cseq=12)
        await notified(stage)
        dialog.cseq = 12
        stage.peer.send(final)
        await notified(stage)
        assert (await running).notify_code == 200
        dialog.notify(486, OVER)
        await notified(stage, 481)
        await dialog.bye()


async def test_peer_that_keeps_no_subscription_is_believed() -> None:  # 12.15, D3
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 200, ("Refer-Sub", "false"))
        assert (await running).kind is TransferKind.NO_SUBSCRIPTION
        await dialog.bye()


@pytest.mark.parametrize("broken", [("Refer-Sub", ";;"), ("Expires", "soon"), ("Retry-After", "x"), ("Contact", "<<")])
async def test_202_with_broken_headers_is_a_202(broken: tuple[str, str]) -> None:
    async with raw_stage() as stage:
        _, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202, broken)
        dialog.notify(200, OVER)
        assert (await running).refer_code == 202
        await dialog.bye()


async def test_reinvite_of_the_peer_under_a_pending_refer() -> None:  # 12.17
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        invite = dialog.send("INVITE", ("Contact", f"<sip:moved@{PEER}>"), body=OFFER)
        await stage.peer.response("200 INVITE")
        dialog.ack(invite.cseq.number)
        stage.peer.reply(refer, 202)
        dialog.send("UPDATE")
        await stage.peer.response("200 UPDATE")
        dialog.notify(200, OVER, ("Contact", f"<sip:moved@{PEER}>"))
        assert (await running).is_success
        await call.hangup()
        assert (await stage.peer.request("BYE")).uri == f"sip:moved@{PEER}"


@pytest.mark.parametrize("has_id", [True, False])
async def test_second_transfer_in_the_same_call(has_id: bool) -> None:  # 12.18
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(486, OVER)
        assert (await running).kind is TransferKind.BUSY
        running = stage.soon(call.transfer(TARGET))
        refer = await stage.peer.request("REFER")
        stage.peer.reply(refer, 202)
        dialog.notify(200, OVER, event=f"refer;id={refer.cseq.number}" if has_id else "refer")
        assert (await running).is_success
        await dialog.bye()


async def test_id_less_notify_of_a_second_transfer_while_the_first_subscription_lives() -> None:
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(486, "active;expires=600")  # B8: final, but never terminated
        assert (await running).kind is TransferKind.BUSY
        running = stage.soon(call.transfer(TARGET))
        stage.peer.reply(await stage.peer.request("REFER"), 202)
        dialog.notify(200, OVER)
        assert (await running).is_success
        await dialog.bye()


async def test_late_result_of_a_transfer_that_timed_out_is_not_the_result_of_the_next() -> None:
    async with raw_stage(settings=CallSettings(refer=ReferSettings(notify_timeout_s=20.0))) as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(180, "active;expires=600")  # without id
        assert (await running).kind is TransferKind.NOTIFY_TIMEOUT
        running = stage.soon(call.transfer(TARGET))
        second = await stage.peer.request("REFER")
        stage.peer.reply(second, 202)
        dialog.notify(200, OVER)  # the first target has answered after all
        await notified(stage)
        await asyncio.sleep(1)
        assert not running.done()
        dialog.notify(486, OVER, event=f"refer;id={second.cseq.number}")
        await notified(stage)
        assert (await running).kind is TransferKind.BUSY
        await dialog.bye()


async def test_peer_without_ids_ends_the_first_subscription_before_the_second_gets_a_result() -> None:
    async with raw_stage(settings=CallSettings(refer=ReferSettings(notify_timeout_s=20.0))) as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(180, "active;expires=600")
        assert (await running).kind is TransferKind.NOTIFY_TIMEOUT
        running = stage.soon(call.transfer(TARGET))
        stage.peer.reply(await stage.peer.request("REFER"), 202)
        for status in (200, 486):
            assert not running.done()
            dialog.notify(status, OVER)
            await notified(stage)
        assert (await running).kind is TransferKind.BUSY
        await dialog.bye()


async def test_transfers_of_one_call_run_one_after_the_other() -> None:
    async with raw_stage() as stage:
        call, dialog, first, refer = await transferring(stage)
        second = stage.soon(call.transfer(TARGET))
        await asyncio.sleep(1)
        stage.peer.reply(refer, 603)
        assert (await first).kind is TransferKind.REJECTED
        assert len({message.cseq.number for message in stage.peer.all("REFER")}) == 1
        refer = await stage.peer.request("REFER")
        while refer.cseq.number == stage.peer.all("REFER")[0].cseq.number:
            refer = await stage.peer.request("REFER")
        stage.peer.reply(refer, 202)
        dialog.notify(200, OVER)
        assert (await second).is_success
        await dialog.bye()
