"""Requests inside a call, and re-INVITE in both directions (RFC 3261 §12.2, §14; RFC 3311; RFC 5057 §5)."""

import asyncio

import pytest

from sipua.auth import Credential
from sipua.errors import CallEndedError, CallError
from sipua.message import Request, Response
from sipua.sdp import Direction
from sipua.usage.call.core import CallSettings
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.media import MediaMode, MediaSettings
from tests.support.raw_peer import OFFER, PEER, SDP, VIDEO, RawDialog, RawPeer, header, raw_stage

pytestmark = pytest.mark.looptime

HOLD = OFFER + b"a=sendonly\r\n"


def audible() -> CallSettings:
    """Media that would be received: hold and resume then differ."""
    return CallSettings(media=MediaSettings(mode=MediaMode.RECEIVE))


def ack_refusal(peer: RawPeer, dialog: RawDialog, invite: Request, refusal: Response) -> None:
    peer.send(dialog.request("ACK", ("Via", header(invite, "Via")), ("To", header(refusal, "To")), cseq=invite.cseq.number))


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("OPTIONS", (), 200),
        ("INFO", (), 200),
        ("INFO", (("Info-Package", "foo"),), 469),
        ("UPDATE", (), 200),
        ("MESSAGE", (), 405),
        ("PRACK", (("RAck", "1 1 INVITE"),), 481),
        ("PRACK", (("RAck", "1 1"),), 400),
        ("PRACK", (), 400),
        ("PUBLISH", (), 405),
        ("SUBSCRIBE", (("Event", "presence"),), 489),
        ("SUBSCRIBE", (("Event", "refer"),), 403),
        ("FROB", (), 501),
        ("REFER", (("Refer-To", "<sip:c@d>"),), 603),
        ("NOTIFY", (("Event", "presence"), ("Subscription-State", "active")), 489),
        ("NOTIFY", (("Event", "refer"), ("Subscription-State", "active")), 481),
        ("NOTIFY", (("Subscription-State", "active"),), 489),
        ("INFO", (("Require", "foo"),), 420),
    ],
)
async def test_request_in_a_call_is_answered(method: str, headers: tuple[tuple[str, str], ...], status: int) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        dialog.send(method, *headers)
        answer = await stage.peer.response(f"{status} {method}", 0.1)
        if status == 489:
            assert header(answer, "Allow-Events") == "refer"
        assert call.is_confirmed
        await dialog.bye()


async def test_info_reaches_the_handler_after_its_answer() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        seen: list[bytes] = []
        call.on_info(lambda request: seen.append(request.body))
        info = dialog.request("INFO")
        info.set_body(b"Signal=5", "application/dtmf-relay")
        stage.peer.send(info)
        await stage.peer.response("200 INFO")
        assert seen == [b"Signal=5"]
        await dialog.bye()


async def test_request_that_goes_back_in_number_gets_500_and_changes_nothing() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        dialog.send("INFO", cseq=50)
        await stage.peer.response("200 INFO")
        for number in (49, 1, 50):
            dialog.send("UPDATE", cseq=number)
            await stage.peer.response("500 UPDATE", 0.1)
        assert call.is_confirmed
        dialog.send("BYE", cseq=2**31)
        await stage.peer.response("200 BYE", 0.1)


@pytest.mark.parametrize("is_caller", [False, True])
async def test_bye_whose_first_copy_is_lost_and_that_is_overtaken_ends_the_call(is_caller: bool) -> None:
    async with raw_stage() as stage:
        call, dialog = await (stage.dialed() if is_caller else stage.established())
        bye = dialog.request("BYE", ("Reason", "Q.850;cause=16"))  # its first copy never arrives
        dialog.send("OPTIONS")
        await stage.peer.response("200 OPTIONS", 0.1)
        await asyncio.sleep(0.5)
        stage.peer.send(bye)
        await stage.peer.response("200 BYE", 0.1)
        ending = await asyncio.wait_for(call.wait_ended(), 0.1)
        assert (ending.by, ending.reason) == (EndedBy.PEER, "Q.850;cause=16")
        stage.peer.send(bye)  # the 200 was lost as well
        await stage.peer.response("200 BYE", 0.1)


async def test_repeated_bye_gets_the_same_200_after_the_dialog_is_gone() -> None:
    async with raw_stage() as stage:
        _, dialog = await stage.established()
        bye = dialog.send("BYE")
        await stage.peer.response("200 BYE", 0.1)
        stage.peer.send(bye)
        await stage.peer.response("200 BYE", 0.1)
        dialog.send("BYE")
        await stage.peer.response("481 BYE", 0.1)


async def test_reinvite_is_answered_and_refreshes_the_target() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        invite = dialog.send("INVITE", ("Contact", f"<sip:moved@{PEER}>"), body=OFFER)
        ok = await stage.peer.response("200 INVITE")
        assert ok.body
        assert "Contact" in ok.headers
        dialog.ack(invite.cseq.number)
        await call.hangup()
        assert (await stage.peer.request("BYE")).uri == f"sip:moved@{PEER}"


@pytest.mark.parametrize("use_tcp", [False, True])
async def test_2xx_to_a_reinvite_is_repeated_and_a_missing_ack_ends_the_call(use_tcp: bool) -> None:
    async with raw_stage(use_tcp=use_tcp) as stage:
        call, dialog = await stage.established()
        started = asyncio.get_running_loop().time()
        dialog.send("INVITE", body=OFFER)
        await call.wait_ended()
        assert asyncio.get_running_loop().time() - started == pytest.approx(32.0, abs=0.1)
        assert len(stage.peer.all("200 INVITE")) == 1 + 11
        stage.peer.reply(await stage.peer.request("BYE"), 200)


async def test_reinvite_before_the_ack_of_the_last_gets_500_with_retry_after() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        first = dialog.send("INVITE", body=OFFER)
        await stage.peer.response("200 INVITE")
        second = dialog.send("INVITE", body=OFFER)
        refusal = await stage.peer.response("500 INVITE")
        assert 0 <= int(header(refusal, "Retry-After")) <= 10
        ack_refusal(stage.peer, dialog, second, refusal)
        dialog.ack(first.cseq.number)
        third = dialog.send("INVITE", body=OFFER)
        await stage.peer.response("200 INVITE")
        dialog.ack(third.cseq.number)
        assert call.is_confirmed
        await dialog.bye()


async def test_reinvite_before_the_first_ack_gets_500() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        answering = stage.soon(call.answer())
        dialog = RawDialog.as_caller(stage.peer, invite, await stage.peer.response("200 INVITE"))
        again = dialog.send("INVITE", body=OFFER)
        refusal = await stage.peer.response("500 INVITE")
        assert "Retry-After" in refusal.headers
        ack_refusal(stage.peer, dialog, again, refusal)
        dialog.ack(1)
        await answering
        await dialog.bye()


async def test_update_with_an_offer_before_the_answer_gets_500() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        await call.ring()
        dialog = RawDialog.as_caller(stage.peer, invite, await stage.peer.response("180 INVITE"))
        dialog.send("UPDATE", body=OFFER)
        refusal = await stage.peer.response("500 UPDATE")
        assert "Retry-After" in refusal.headers
        dialog.send("UPDATE")
        await stage.peer.response("200 UPDATE")
        answering = stage.soon(call.answer())
        await stage.peer.response("200 INVITE")
        dialog.ack(1)
        await answering
        await dialog.bye()


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [(VIDEO, SDP, 488), (b"rubbish", SDP, 400), (OFFER, "text/plain", 415), (OFFER, ";;;", 400)],
)
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
async def test_change_that_can_not_be_made_is_refused_and_the_session_stays(
    method: str, body: bytes, content_type: str, status: int
) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        before = call.media.machine.current
        request = dialog.request(method, body=body)
        request.headers.set("Content-Type", content_type)
        stage.peer.send(request)
        refusal = await stage.peer.response(f"{status} {method}")
        if method == "INVITE":
            ack_refusal(stage.peer, dialog, request, refusal)
        assert call.is_confirmed
        assert call.media.machine.current == before
        assert ("Warning" in refusal.headers) == (status == 488)
        await dialog.bye()


@pytest.mark.parametrize("answer", [OFFER, b"", b"rubbish", VIDEO])
async def test_reinvite_without_offer_gets_one_and_a_bad_answer_leaves_the_session(answer: bytes) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        before = call.media.machine.current
        invite = dialog.send("INVITE")
        ok = await stage.peer.response("200 INVITE")
        assert ok.body
        dialog.ack(invite.cseq.number, answer)
        await asyncio.sleep(1)
        assert call.is_confirmed
        if answer != OFFER:
            assert call.media.machine.current == before
        again = dialog.send("INVITE", body=OFFER)  # nothing is left open
        await stage.peer.response("200 INVITE")
        dialog.ack(again.cseq.number)
        await dialog.bye()


async def test_ack_of_a_reinvite_with_a_broken_type_counts_as_no_answer() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        invite = dialog.send("INVITE")
        await stage.peer.response("200 INVITE")
        dialog.ack(invite.cseq.number, OFFER, ("Content-Type", ";=;"))
        await asyncio.sleep(40)
        assert call.is_confirmed
        again = dialog.send("INVITE", body=OFFER)
        await stage.peer.response("200 INVITE")
        dialog.ack(again.cseq.number)
        await dialog.bye()


async def test_peer_holds_and_resumes() -> None:
    async with raw_stage(settings=audible()) as stage:
        call, dialog = await stage.established()
        for body, is_held in ((HOLD.replace(b"sendonly", b"inactive"), True), (OFFER, False)):
            invite = dialog.send("INVITE", body=body)
            await stage.peer.response("200 INVITE")
            dialog.ack(invite.cseq.number)
            assert call.media.is_remote_hold is is_held
        await dialog.bye()


@pytest.mark.parametrize("is_caller", [False, True])
async def test_we_hold_resume_and_refresh(is_caller: bool) -> None:
    async with raw_stage(settings=audible()) as stage:
        call, dialog = await (stage.dialed() if is_caller else stage.established())
        bodies: list[bytes] = []
        for verb in (call.hold, call.resume, call.refresh):
            changing = stage.soon(verb())
            invite = await stage.peer.request("INVITE")
            assert "Contact" in invite.headers
            bodies.append(invite.body)
            stage.peer.reply(invite, 200, ("Contact", f"<sip:next@{PEER}>"), body=OFFER)
            ack = await stage.peer.request("ACK")
            assert ack.cseq.number == invite.cseq.number
            assert ack.uri == f"sip:next@{PEER}"
            await changing
            stage.peer.reply(invite, 200, ("Contact", f"<sip:next@{PEER}>"), body=OFFER)
            await stage.peer.request("ACK", 0.1)
        assert [b"sendonly" in body for body in bodies] == [True, False, False]
        versions = [body.split(b"\r\n")[1].split()[2] for body in bodies]
        assert int(versions[1]) == int(versions[0]) + 1
        assert versions[2] == versions[1]
        await dialog.bye()


@pytest.mark.parametrize("is_caller", [False, True])
async def test_491_is_tried_again_after_the_wait_of_our_role(is_caller: bool) -> None:
    async with raw_stage() as stage:
        call, dialog = await (stage.dialed() if is_caller else stage.established())
        loop = asyncio.get_running_loop()
        holding = stage.soon(call.refresh())
        stage.peer.reply(await stage.peer.request("INVITE"), 491)
        started = loop.time()
        invite = await stage.peer.request("INVITE")
        waited = loop.time() - started
        low, high = (2.1, 4.0) if is_caller else (0.0, 2.0)
        assert low <= waited <= high
        assert round(waited, 2) == pytest.approx(waited, abs=1e-6)
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await holding
        await dialog.bye()


async def test_491_for_ever_is_an_error() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        stage.peer.answers["INVITE"] = 491
        with pytest.raises(CallError):
            await call.refresh()
        assert len(stage.peer.all("INVITE")) == 3
        assert call.is_confirmed
        await dialog.bye()


async def test_reinvite_of_the_peer_while_ours_is_pending_gets_491() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        changing = stage.soon(call.refresh())
        ours = await stage.peer.request("INVITE")
        theirs = dialog.send("INVITE", body=OFFER)
        refusal = await stage.peer.response("491 INVITE")
        ack_refusal(stage.peer, dialog, theirs, refusal)
        dialog.send("UPDATE", body=OFFER)
        await stage.peer.response("491 UPDATE")
        stage.peer.reply(ours, 200, ("Contact", stage.peer.contact), body=OFFER)
        await changing
        await dialog.bye()


async def test_our_reinvite_waits_for_the_peers() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        theirs = dialog.send("INVITE", body=OFFER)
        await stage.peer.response("200 INVITE")
        changing = stage.soon(call.refresh())
        await asyncio.sleep(0.4)
        assert stage.peer.all("INVITE") == []
        dialog.ack(theirs.cseq.number)
        stage.peer.reply(await stage.peer.request("INVITE", 0.1), 200, ("Contact", stage.peer.contact), body=OFFER)
        await changing
        await dialog.bye()


async def test_two_reinvites_of_ours_run_one_after_the_other() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        changes = [stage.soon(call.refresh()) for _ in range(3)]
        for _ in changes:
            invite = await stage.peer.request("INVITE")
            await asyncio.sleep(0.2)
            assert "INVITE" not in stage.peer.unread()
            stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await asyncio.gather(*changes)
        await dialog.bye()


@pytest.mark.parametrize("status", [400, 403, 415, 486, 488, 500, 503, 603])
async def test_refused_reinvite_leaves_the_session(status: int) -> None:
    async with raw_stage(settings=audible()) as stage:
        call, dialog = await stage.established()
        before = call.media.machine.current
        holding = stage.soon(call.hold())
        stage.peer.reply(await stage.peer.request("INVITE"), status)
        await stage.peer.request("ACK")
        with pytest.raises(CallError):
            await holding
        assert call.is_confirmed
        assert call.media.machine.current == before
        changing = stage.soon(call.refresh())
        invite = await stage.peer.request("INVITE")
        assert b"sendrecv" in invite.body or b"a=sendonly" not in invite.body
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await changing
        await dialog.bye()


@pytest.mark.parametrize("status", [481, 408, 404, 0])
async def test_reinvite_that_shows_the_call_is_lost_ends_it(status: int) -> None:
    async with raw_stage() as stage:
        call, _ = await stage.established()
        changing = stage.soon(call.refresh())
        invite = await stage.peer.request("INVITE")
        if status:
            stage.peer.reply(invite, status)
        with pytest.raises(CallError):
            await changing
        assert (await call.wait_ended()).by is EndedBy.LOST
        stage.peer.reply(await stage.peer.request("BYE"), 481)


@pytest.mark.parametrize("broken", [("Content-Type", ";;"), ("Contact", "<<"), ("Content-Type", "text/plain")])
async def test_2xx_to_our_reinvite_with_broken_headers_is_acknowledged(broken: tuple[str, str]) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        changing = stage.soon(call.refresh())
        invite = await stage.peer.request("INVITE")
        ok = stage.peer.reply(invite, 100)
        ok.status = 200
        ok.set_body(OFFER, SDP)
        ok.headers.set("Contact", stage.peer.contact)
        ok.headers.set("To", header(invite, "To"))
        ok.headers.set(*broken)
        stage.peer.send(ok)
        await stage.peer.request("ACK", 0.1)
        await changing
        assert call.is_confirmed
        await dialog.bye()


async def test_reinvite_is_challenged_and_repeated() -> None:
    async with raw_stage(credentials=(Credential("a", "b"),)) as stage:
        call, dialog = await stage.established()
        changing = stage.soon(call.refresh())
        first = await stage.peer.request("INVITE")
        stage.peer.reply(first, 407, ("Proxy-Authenticate", 'Digest realm="p", nonce="1"'))
        await stage.peer.request("ACK")
        second = await stage.peer.request("INVITE")
        assert second.body == first.body
        stage.peer.reply(second, 200, ("Contact", stage.peer.contact), body=OFFER)
        ack = await stage.peer.request("ACK")
        assert "Proxy-Authorization" in ack.headers
        await changing
        await dialog.bye()


async def test_bye_of_the_peer_under_our_reinvite_ends_both() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        changing = stage.soon(call.refresh())
        invite = await stage.peer.request("INVITE")
        stage.peer.reply(invite, 100)
        await asyncio.sleep(0.1)
        await dialog.bye()
        with pytest.raises(CallEndedError):
            await changing
        stage.peer.answers["CANCEL"] = 200
        await asyncio.sleep(1)
        assert call.is_ended  # the peer forgets its 487, and nothing is left all the same


async def test_our_bye_under_our_reinvite_ends_both_and_a_late_2xx_is_acknowledged() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.established()
        changing = stage.soon(call.refresh())
        invite = await stage.peer.request("INVITE")
        await call.hangup()
        with pytest.raises(CallEndedError):
            await changing
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await stage.peer.request("ACK", 0.1)


async def test_hold_that_its_caller_gives_up_is_cancelled_and_leaves_the_call_usable() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        holding = stage.soon(asyncio.wait_for(call.hold(), 2))
        invite = await stage.peer.request("INVITE")
        stage.peer.reply(invite, 100)
        with pytest.raises(TimeoutError):
            await holding
        stage.peer.reply(await stage.peer.request("CANCEL", 0.1), 200)
        stage.peer.reply(invite, 487)
        changing = stage.soon(call.refresh(Direction.INACTIVE))
        stage.peer.reply(await stage.peer.request("INVITE"), 200, ("Contact", stage.peer.contact), body=OFFER)
        await changing
        await dialog.bye()


async def test_reinvite_that_is_never_answered_finally_is_given_up() -> None:
    async with raw_stage(settings=CallSettings(ring_limit_s=20)) as stage:
        call, dialog = await stage.established()
        changing = stage.soon(call.refresh())
        invite = await stage.peer.request("INVITE")
        stage.peer.reply(invite, 100)
        stage.peer.reply(await stage.peer.request("CANCEL"), 200)
        stage.peer.reply(invite, 487)
        with pytest.raises(CallError):
            await changing
        assert call.is_confirmed
        await dialog.bye()


async def test_hold_before_the_call_is_up_is_refused() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming(body=b"")
        answering = stage.soon(call.answer())
        await stage.peer.response("200 INVITE")
        with pytest.raises(CallEndedError):
            async with asyncio.timeout(1):
                await call.hold()
        assert not answering.done()
        await call.hangup()


@pytest.mark.parametrize(("status", "ends"), [(200, False), (405, False), (481, True), (500, False), (408, False)])
async def test_info_of_ours_ends_the_call_only_when_the_peer_has_lost_it(status: int, ends: bool) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        asking = stage.soon(call.request("INFO", b"Signal=1", "application/dtmf-relay"))
        info = await stage.peer.request("INFO")
        assert info.body == b"Signal=1"
        stage.peer.reply(info, status)
        assert (await asking).status == status
        assert call.is_ended is ends
        if ends:
            stage.peer.reply(await stage.peer.request("BYE"), 481)
        else:
            await dialog.bye()


async def test_methods_with_verbs_of_their_own_can_not_be_sent_raw() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        for method in ("INVITE", "ACK", "BYE", "CANCEL", "REFER"):
            with pytest.raises(CallError):
                await call.request(method)
        await dialog.bye()
