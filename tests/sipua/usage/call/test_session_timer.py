"""The session timer in whole calls: what is on the wire and when, on both sides and by both transports (RFC 4028, RFC 3311)."""

import asyncio

import pytest

from sipua.auth import Credential
from sipua.message import Request, Response
from sipua.sdp import Direction
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallSettings
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.machine.interval import TimerSettings
from sipua.usage.call.media import MediaMode, MediaSettings
from sipua.usage.subscription.outcome import TransferKind
from tests.support.raw_peer import OFFER, PEER, RawDialog, RawPeer, RawStage, header, raw_stage

pytestmark = pytest.mark.looptime

TIMER = ("Supported", "timer")
UPDATE = ("Allow", "INVITE, ACK, BYE, UPDATE")
NO_UPDATE = ("Allow", "INVITE, ACK, BYE")


def now() -> float:
    return asyncio.get_running_loop().time()


async def sleep_until(at: float) -> None:
    await asyncio.sleep(at - now())


def answer(peer: RawPeer, request: Request, *headers: tuple[str, str]) -> Response:
    """Accept a refresh of the agent as it asks."""
    asked = ("Session-Expires", header(request, "Session-Expires"))
    return peer.reply(request, 200, ("Contact", peer.contact), *(headers or (asked,)), body=OFFER if request.method == "INVITE" else b"")


async def dialed(stage: RawStage, *headers: tuple[str, str]) -> tuple[Call, RawDialog, Request]:
    """Let the agent call and the peer answer with *headers*."""
    call = await stage.agent.call(f"sip:bob@{PEER}")
    invite = await stage.peer.request("INVITE")
    ok = stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), *headers, body=OFFER)
    await stage.peer.request("ACK")
    await call.wait_answered()
    return call, RawDialog.as_callee(stage.peer, invite, ok), invite


async def expect_expiry(stage: RawStage, call: Call, at: float) -> Request:
    """Expect that the call ends at *at* with the BYE of an expired session."""
    await call.wait_ended()
    assert now() == pytest.approx(at, abs=0.1)
    assert call.ending is not None
    assert call.ending.by is EndedBy.EXPIRED
    bye = await stage.peer.request("BYE", 0.1)
    assert header(bye, "Reason") == 'SIP;cause=408;text="Session expired"'
    stage.peer.reply(bye, 200)
    assert stage.agent.core.statistics.sessions_expired == 1
    return bye


# -- a call that comes in -------------------------------------------------------------------------------------------------------------


async def test_the_2xx_says_what_is_agreed_and_requires_it() -> None:
    async with raw_stage() as stage:
        _, invite = await stage.incoming(TIMER, ("x", "3600;refresher=uac"))
        stage.soon((await _only(stage)).answer())
        ok = await stage.peer.response("200 INVITE")
        assert header(ok, "Session-Expires") == "1800;refresher=uac"
        assert header(ok, "Require") == "timer"
        assert "timer" in header(ok, "Supported")
        dialog = RawDialog.as_caller(stage.peer, invite, ok)
        dialog.ack(1)
        await dialog.bye()


async def _only(stage: RawStage) -> Call:
    (call,) = stage.agent.calls
    return call


async def test_a_peer_that_knows_no_timers_gets_none() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        ok = stage.peer.all("200 INVITE")[0]
        assert "Session-Expires" not in ok.headers
        assert "Require" not in ok.headers
        await asyncio.sleep(7200)
        assert call.is_confirmed
        assert stage.peer.unread() == []
        await dialog.bye()


@pytest.mark.parametrize("use_tcp", [False, True])
async def test_we_refresh_by_update_at_half_of_the_interval(use_tcp: bool) -> None:
    async with raw_stage(use_tcp=use_tcp) as stage:
        call, dialog = await stage.established(TIMER, UPDATE, ("Session-Expires", "200;refresher=uas"))
        began = now()
        for lap in (1, 2, 3):
            update = await stage.peer.request("UPDATE", 101)
            assert now() == pytest.approx(began + 100 * lap, abs=0.1)
            assert header(update, "Session-Expires") == "200;refresher=uac"
            assert "Contact" in update.headers
            assert "timer" in header(update, "Supported")
            assert not update.body
            answer(stage.peer, update)
        assert call.is_confirmed
        statistics = stage.agent.core.statistics
        assert (statistics.refreshes_sent, statistics.refreshes_failed) == (3, 0)
        await dialog.bye()
        await asyncio.sleep(200)
        assert stage.peer.unread() == []


@pytest.mark.parametrize("use_tcp", [False, True])
async def test_we_refresh_by_reinvite_with_the_same_offer_and_acknowledge_every_2xx(use_tcp: bool) -> None:
    async with raw_stage(use_tcp=use_tcp) as stage:
        call, dialog = await stage.established(TIMER, NO_UPDATE, ("Session-Expires", "200"))
        said = stage.peer.all("200 INVITE")[0].body
        again = await stage.peer.request("INVITE", 101)
        assert again.body == said, "the same o= version (RFC 4028 §7.4)"
        assert header(again, "Session-Expires") == "200;refresher=uac"
        ok = answer(stage.peer, again)
        await stage.peer.request("ACK")
        stage.peer.send(ok)
        ack = await stage.peer.request("ACK")
        assert ack.cseq.number == again.cseq.number
        assert call.is_confirmed
        await dialog.bye()


async def test_the_peer_refreshes_and_takes_the_role_over() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(TIMER, UPDATE, ("Session-Expires", "200;refresher=uas"))
        await asyncio.sleep(50)
        dialog.send("UPDATE", TIMER, ("Session-Expires", "200;refresher=uac"))
        ok = await stage.peer.response("200 UPDATE", 0.1)
        assert header(ok, "Session-Expires") == "200;refresher=uac"
        assert header(ok, "Require") == "timer"
        began = now()
        await asyncio.sleep(100)
        invite = dialog.send("INVITE", TIMER, ("Session-Expires", "200;refresher=uac"), body=OFFER)
        ok = await stage.peer.response("200 INVITE", 0.1)
        assert header(ok, "Session-Expires") == "200;refresher=uac"
        dialog.ack(invite.cseq.number)
        assert stage.agent.core.statistics.refreshes_received == 2
        assert not stage.peer.all("UPDATE")
        await expect_expiry(stage, call, began + 100 + 168)


@pytest.mark.parametrize("use_tcp", [False, True])
async def test_a_session_that_the_peer_does_not_refresh_is_ended(use_tcp: bool) -> None:
    async with raw_stage(use_tcp=use_tcp) as stage:
        call, _ = await stage.established(TIMER, ("Session-Expires", "90;refresher=uac"))
        await expect_expiry(stage, call, now() + 60)


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
async def test_a_request_without_the_option_switches_the_timer_off(method: str) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(TIMER, ("Session-Expires", "90;refresher=uac"))
        request = dialog.send(method, body=OFFER if method == "INVITE" else b"")
        ok = await stage.peer.response(f"200 {method}")
        assert "Session-Expires" not in ok.headers
        if method == "INVITE":
            dialog.ack(request.cseq.number)
        await asyncio.sleep(7200)
        assert call.is_confirmed
        await dialog.bye()


async def test_too_small_an_interval_gets_422_before_anybody_is_asked() -> None:
    async with raw_stage() as stage:
        invite = stage.peer.new("INVITE", TIMER, ("Session-Expires", "60"), body=OFFER)
        stage.peer.send(invite)
        refusal = await stage.peer.response("422 INVITE")
        assert header(refusal, "Min-SE") == "90"
        assert stage.calls.empty()
        assert stage.agent.core.statistics.intervals_refused == 1
        stage.peer.send(stage.peer.new("ACK", ("Via", header(invite, "Via")), ("To", header(refusal, "To"))))


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
async def test_too_small_an_interval_in_the_call_gets_422_and_changes_nothing(method: str) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(TIMER, ("Session-Expires", "300;refresher=uac"))
        ends_at = now() + 300 - 32
        version = call.media.machine.local_description
        await asyncio.sleep(10)
        request = dialog.request(
            method, TIMER, ("Session-Expires", "10"), ("Contact", f"<sip:moved@{PEER}>"), body=OFFER + b"a=sendonly\r\n"
        )
        stage.peer.send(request)
        refusal = await stage.peer.response(f"422 {method}")
        assert header(refusal, "Min-SE") == "90"
        if method == "INVITE":
            stage.peer.send(dialog.request("ACK", ("Via", header(request, "Via")), cseq=request.cseq.number))
        assert call.media.machine.local_description == version
        bye = await expect_expiry(stage, call, ends_at)
        assert "moved" not in bye.uri


@pytest.mark.parametrize(
    "value", ["0", "-1", "999999999999999999999999999999", "garbage", "1800;refresher=nobody", ";;;", "90,90", "\x00", "1e9", "٩٠"]
)
@pytest.mark.parametrize("is_supported", [True, False])
async def test_hostile_values_are_answered_and_harm_nothing(value: str, is_supported: bool) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(TIMER, UPDATE)
        headers = [("Session-Expires", value), ("Min-SE", value)] + ([TIMER] if is_supported else [])
        request = dialog.send("UPDATE", *headers)
        del request
        await asyncio.sleep(0.1)
        assert len(stage.peer.all("200 UPDATE")) + len(stage.peer.all("422 UPDATE")) == 1
        stage.peer.answers["UPDATE"] = 200
        await asyncio.sleep(40)
        assert call.is_confirmed
        assert not stage.peer.all("UPDATE"), "nobody makes us refresh within 40 s"
        await dialog.bye()


async def test_the_timer_counts_from_the_2xx_and_waits_for_the_ack() -> None:
    settings = CallSettings(timer=TimerSettings(expires_s=6, min_se_s=3))
    async with raw_stage(settings=settings) as stage:
        call, invite = await stage.incoming(TIMER, ("Session-Expires", "6;refresher=uac"))
        stage.soon(call.answer())
        dialog = RawDialog.as_caller(stage.peer, invite, await stage.peer.response("200 INVITE"))
        began = now()
        await asyncio.sleep(10)  # RFC 3261 §15: no BYE of a callee before the ACK
        assert not stage.peer.all("BYE")
        dialog.ack(1)
        await expect_expiry(stage, call, began + 10)


async def test_update_in_the_early_dialog_refreshes_the_target_and_starts_no_timer() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming(TIMER, UPDATE)
        await call.ring()
        dialog = RawDialog.as_caller(stage.peer, invite, await stage.peer.response("180 INVITE"))
        dialog.send("UPDATE", TIMER, ("Session-Expires", "90;refresher=uac"), ("Contact", f"<sip:moved@{PEER}>"))
        await stage.peer.response("200 UPDATE", 0.1)
        await asyncio.sleep(200)
        answering = stage.soon(call.answer())
        await stage.peer.response("200 INVITE")
        dialog.ack(1)
        await answering
        await call.hangup()
        assert (await stage.peer.request("BYE")).uri == f"sip:moved@{PEER}"


# -- a call that goes out -------------------------------------------------------------------------------------------------------------


async def test_our_invite_asks_for_a_timer_and_leaves_the_role_open() -> None:
    async with raw_stage() as stage:
        _, dialog, invite = await dialed(stage)
        assert header(invite, "Session-Expires") == "1800"
        assert "timer" in header(invite, "Supported")
        assert "Min-SE" not in invite.headers
        await asyncio.sleep(7200)  # the 2xx had none: no timer
        assert stage.peer.unread() == []
        await dialog.bye()


async def test_an_agent_that_wants_none_asks_for_none_and_serves_one() -> None:
    async with raw_stage(settings=CallSettings(timer=TimerSettings(expires_s=0))) as stage:
        call, dialog, invite = await dialed(stage)
        assert "Session-Expires" not in invite.headers
        assert "timer" in header(invite, "Supported")
        dialog.send("UPDATE", TIMER, ("Session-Expires", "90;refresher=uac"))
        await stage.peer.response("200 UPDATE")
        await expect_expiry(stage, call, now() + 60)


@pytest.mark.parametrize(("refresher", "is_ours"), [("uac", True), ("uas", False)])
async def test_the_answer_says_who_refreshes(refresher: str, is_ours: bool) -> None:
    async with raw_stage() as stage:
        call, dialog, _ = await dialed(stage, UPDATE, ("Require", "timer"), ("Session-Expires", f"100;refresher={refresher}"))
        if is_ours:
            answer(stage.peer, await stage.peer.request("UPDATE", 51))
            await dialog.bye()
        else:
            await expect_expiry(stage, call, now() + 100 - 32)


async def test_422_to_our_invite_is_tried_again_with_what_it_asks_for() -> None:
    async with raw_stage() as stage:
        call = await stage.agent.call(f"sip:bob@{PEER}")
        first = await stage.peer.request("INVITE")
        stage.peer.reply(first, 422, ("Min-SE", "3600"))
        second = await stage.peer.request("INVITE")
        assert (second.call_id, header(second, "From")) == (first.call_id, header(first, "From"))
        assert second.cseq.number == first.cseq.number + 1
        assert (header(second, "Session-Expires"), header(second, "Min-SE")) == ("3600", "3600")
        assert "tag" not in header(second, "To")
        ok = stage.peer.reply(second, 200, ("Contact", stage.peer.contact), UPDATE, ("Session-Expires", "3600;refresher=uac"), body=OFFER)
        await call.wait_answered()
        update = await stage.peer.request("UPDATE", 1801)
        assert (header(update, "Session-Expires"), header(update, "Min-SE")) == ("3600;refresher=uac", "3600")
        answer(stage.peer, update)
        await RawDialog.as_callee(stage.peer, second, ok).bye()


async def test_a_peer_that_asks_for_ever_more_is_given_up() -> None:
    async with raw_stage() as stage:
        call = await stage.agent.call(f"sip:bob@{PEER}")
        for step in range(1, 5):
            stage.peer.reply(await stage.peer.request("INVITE"), 422, ("Min-SE", str(2000 * step)))
        await call.wait_ended()
        assert call.ending is not None
        assert call.ending.status == 422
        assert len(stage.peer.all("INVITE")) == 4


@pytest.mark.parametrize("headers", [(), (("Min-SE", "1800"),), (("Min-SE", "x"),)])
async def test_a_422_that_asks_for_nothing_more_ends_the_call(headers: tuple[tuple[str, str], ...]) -> None:
    async with raw_stage() as stage:
        call = await stage.agent.call(f"sip:bob@{PEER}")
        stage.peer.reply(await stage.peer.request("INVITE"), 422, *headers)
        await call.wait_ended()
        assert len(stage.peer.all("INVITE")) == 1


# -- refreshes that go wrong ----------------------------------------------------------------------------------------------------------


OURS = (TIMER, UPDATE, ("Session-Expires", "200;refresher=uas"))


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
@pytest.mark.parametrize("status", [481, 408, None])
async def test_a_refresh_that_finds_no_call_ends_it(method: str, status: int | None) -> None:
    async with raw_stage() as stage:
        call, _ = await stage.established(TIMER, UPDATE if method == "UPDATE" else NO_UPDATE, ("Session-Expires", "200;refresher=uas"))
        began = now()
        refresh = await stage.peer.request(method, 101)
        if status:
            stage.peer.reply(refresh, status)
        ending = await call.wait_ended()
        assert ending.by is EndedBy.LOST
        assert now() - began == pytest.approx(100 if status else 132, abs=0.1)
        stage.peer.reply(await stage.peer.request("BYE", 0.1), 200)
        assert stage.agent.core.statistics.refreshes_failed == 1
        assert stage.agent.core.statistics.sessions_expired == 0


@pytest.mark.parametrize("status", [404, 480, 488, 500, 603])
async def test_a_refused_refresh_leaves_the_call_up_until_it_expires(status: int) -> None:
    async with raw_stage() as stage:
        call, _ = await stage.established(*OURS)
        began = now()
        stage.peer.answers["UPDATE"] = status
        await expect_expiry(stage, call, began + 168)
        assert [round(time - began) for time in stage.peer.times("UPDATE")] == [100, 134, 151, 160, 164]
        assert stage.agent.core.statistics.refreshes_failed == 5


async def test_a_refresh_that_is_accepted_after_a_refusal_saves_the_call() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(*OURS)
        began = now()
        stage.peer.reply(await stage.peer.request("UPDATE", 101), 503, ("Retry-After", "7"))
        again = await stage.peer.request("UPDATE")
        assert now() == pytest.approx(began + 107, abs=0.1)
        answer(stage.peer, again)
        await sleep_until(began + 200)
        assert call.is_confirmed
        await dialog.bye()


@pytest.mark.parametrize("status", [405, 501])
async def test_a_peer_that_does_not_take_update_gets_reinvite_from_then_on(status: int) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(*OURS)
        for lap in (1, 2):
            if lap == 1:
                stage.peer.reply(await stage.peer.request("UPDATE", 101), status)
            answer(stage.peer, await stage.peer.request("INVITE", 101))
            await stage.peer.request("ACK")
        assert call.is_confirmed
        assert len(stage.peer.all("UPDATE")) == 1
        await dialog.bye()


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
async def test_a_refresh_is_challenged_and_422_in_one(method: str) -> None:
    async with raw_stage(credentials=(Credential("agent", "secret"),)) as stage:
        call, dialog = await stage.established(TIMER, UPDATE if method == "UPDATE" else NO_UPDATE, ("Session-Expires", "200;refresher=uas"))
        challenge = ("WWW-Authenticate", 'Digest realm="pbx", nonce="n1", algorithm=MD5')
        stage.peer.reply(await stage.peer.request(method, 101), 401, challenge)
        second = await stage.peer.request(method)
        assert "Authorization" in second.headers
        stage.peer.reply(second, 422, ("Min-SE", "400"))
        third = await stage.peer.request(method)
        assert (header(third, "Session-Expires"), header(third, "Min-SE")) == ("400;refresher=uac", "400")
        assert third.cseq.number > second.cseq.number
        answer(stage.peer, third)
        began = now()
        answer(stage.peer, await stage.peer.request(method, 210))
        assert now() - began == pytest.approx(200, abs=0.1)
        assert call.is_confirmed
        await dialog.bye()


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
async def test_colliding_refreshes_wait_as_for_any_reinvite(method: str) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(TIMER, UPDATE if method == "UPDATE" else NO_UPDATE, ("Session-Expires", "200;refresher=uas"))
        first = await stage.peer.request(method, 101)
        stage.peer.reply(first, 491)
        at = now()
        again = await stage.peer.request(method)
        assert 0 <= now() - at <= 2.01  # the peer owns the Call-ID
        answer(stage.peer, again)
        assert call.is_confirmed
        await dialog.bye()


async def test_a_refresh_of_the_peer_during_the_wait_makes_ours_needless() -> None:
    async with raw_stage() as stage:
        call, dialog, _ = await dialed(stage, UPDATE, ("Session-Expires", "200;refresher=uac"))
        stage.peer.reply(await stage.peer.request("UPDATE", 101), 491)
        dialog.send("UPDATE", TIMER, ("Session-Expires", "200;refresher=uac"))
        await stage.peer.response("200 UPDATE", 0.1)
        await asyncio.sleep(20)
        assert len(stage.peer.all("UPDATE")) == 1
        assert call.is_confirmed
        await dialog.bye()


async def test_a_refresh_waits_for_a_reinvite_of_the_peer_that_has_no_ack_yet() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(TIMER, UPDATE, ("Session-Expires", "90;refresher=uas"))
        await asyncio.sleep(40)
        invite = dialog.send("INVITE", TIMER, ("Session-Expires", "90;refresher=uas"), body=OFFER)
        await stage.peer.response("200 INVITE")
        at = now()
        await asyncio.sleep(20)  # the refresh of before would have been due
        assert not stage.peer.all("UPDATE")
        dialog.ack(invite.cseq.number)
        answer(stage.peer, await stage.peer.request("UPDATE"))
        assert now() - at == pytest.approx(45, abs=0.1)
        assert call.is_confirmed
        await dialog.bye()


async def test_a_hold_of_ours_is_a_refresh_and_the_next_refresh_keeps_the_hold() -> None:
    settings = CallSettings(media=MediaSettings(mode=MediaMode.RECEIVE))
    async with raw_stage(settings=settings) as stage:
        call, dialog = await stage.established(TIMER, NO_UPDATE, ("Session-Expires", "200;refresher=uas"))
        await asyncio.sleep(50)
        holding = stage.soon(call.hold())
        hold = await stage.peer.request("INVITE")
        assert header(hold, "Session-Expires") == "200;refresher=uac"
        answer(stage.peer, hold)
        await holding
        held_at = now()
        refresh = await stage.peer.request("INVITE", 101)
        assert now() - held_at == pytest.approx(100, abs=0.1)
        assert refresh.body == hold.body
        answer(stage.peer, refresh)
        await asyncio.sleep(0.1)
        assert call.media.machine.is_on_hold
        assert call.media.machine.local.direction is Direction.SENDRECV
        await dialog.bye()


async def test_a_reinvite_refresh_that_rings_for_ever_does_not_outlive_the_session() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.established(TIMER, NO_UPDATE, ("Session-Expires", "200;refresher=uas"))
        began = now()
        refresh = await stage.peer.request("INVITE", 101)
        stage.peer.reply(refresh, 180)
        await expect_expiry(stage, call, began + 168)
        stage.peer.reply(await stage.peer.request("CANCEL"), 200)
        stage.peer.reply(refresh, 487)


async def test_bye_of_the_peer_crosses_a_refresh() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(*OURS)
        update = await stage.peer.request("UPDATE", 101)
        await dialog.bye()
        stage.peer.reply(update, 481)
        await asyncio.sleep(1)
        assert call.ending is not None
        assert call.ending.by is EndedBy.PEER
        assert not stage.peer.all("BYE")


async def test_our_hangup_crosses_a_refresh_of_the_peer() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(TIMER, ("Session-Expires", "200;refresher=uac"))
        await call.hangup()
        await stage.peer.request("BYE")
        dialog.send("UPDATE", TIMER, ("Session-Expires", "200;refresher=uac"))
        await stage.peer.response("481 UPDATE")


async def test_closing_the_agent_during_a_refresh_leaves_nothing_behind() -> None:
    async with raw_stage(is_quiet=False) as stage:
        await stage.established(*OURS)
        await stage.peer.request("UPDATE", 101)
        stage.peer.answers["BYE"] = 200
        await stage.agent.aclose()


# -- a transfer that waits in the call ------------------------------------------------------------------------------------------------


async def transferring(stage: RawStage, *headers: tuple[str, str]) -> "tuple[Call, RawDialog, asyncio.Task[object]]":
    call, dialog = await stage.established(*headers)
    running = stage.soon(call.transfer("sip:target@10.0.0.3"))
    stage.peer.reply(await stage.peer.request("REFER"), 202, ("Contact", stage.peer.contact))
    dialog.notify(100, "active;expires=60")
    await stage.peer.response("200 NOTIFY")
    return call, dialog, running


async def test_a_session_that_expires_ends_the_transfer_as_our_own_hangup() -> None:
    async with raw_stage() as stage:
        call, _, running = await transferring(stage, TIMER, ("Session-Expires", "90;refresher=uac"))
        await call.wait_ended()
        outcome = await running
        assert outcome.kind is TransferKind.LOCAL_HANGUP  # type: ignore[attr-defined]


async def test_a_refresh_that_is_answered_481_counts_for_the_transfer_as_the_end_by_the_peer() -> None:
    async with raw_stage() as stage:
        call, _, running = await transferring(stage, TIMER, UPDATE, ("Session-Expires", "100;refresher=uas"))
        stage.peer.reply(await stage.peer.request("UPDATE", 51), 481)
        await call.wait_ended()
        outcome = await running
        assert outcome.kind in (TransferKind.PEER_HANGUP, TransferKind.CALL_LOST)  # type: ignore[attr-defined]


async def test_a_refresh_goes_on_while_a_transfer_waits() -> None:
    async with raw_stage() as stage:
        call, dialog, running = await transferring(stage, TIMER, UPDATE, ("Session-Expires", "100;refresher=uas"))
        answer(stage.peer, await stage.peer.request("UPDATE", 51))
        assert not running.done()
        dialog.notify(200, "terminated;reason=noresource")
        outcome = await running
        assert outcome.kind is TransferKind.TRANSFERRED  # type: ignore[attr-defined]
        assert call.is_confirmed
        await dialog.bye()


async def test_update_of_a_user_keeps_the_timer_of_the_peer_running() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.established(TIMER, UPDATE, ("Session-Expires", "300;refresher=uac"))
        await asyncio.sleep(50)
        asking = stage.soon(call.request("UPDATE"))
        update = await stage.peer.request("UPDATE")
        assert header(update, "Session-Expires") == "300;refresher=uas"
        answer(stage.peer, update)
        assert (await asking).status == 200
        await expect_expiry(stage, call, now() + 300 - 32)


async def test_update_of_a_user_may_give_the_refreshes_away() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.established(*OURS)
        asking = stage.soon(call.request("UPDATE", headers={"Supported": "timer", "Session-Expires": "400;refresher=uas"}))
        update = await stage.peer.request("UPDATE")
        assert header(update, "Session-Expires") == "400;refresher=uas"
        answer(stage.peer, update)
        await asking
        await expect_expiry(stage, call, now() + 400 - 32)


async def test_update_in_a_call_that_has_update_refused_by_the_peer_goes_on() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        asking = stage.soon(call.request("UPDATE"))
        stage.peer.reply(await stage.peer.request("UPDATE"), 405)
        assert (await asking).status == 405
        assert call.is_confirmed
        await dialog.bye()
