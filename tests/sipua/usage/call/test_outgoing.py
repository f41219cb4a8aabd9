"""Calls that go out, message by message: challenges, forks, cancellation and its races (RFC 3261 §13.2, §9.1, §22)."""

import asyncio

import pytest

from sipua.auth import Credential
from sipua.errors import CallEndedError, CallError, CallFailedError, ParseError
from sipua.message import Request, make_response
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallSettings
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.machine.uac import MAX_SURPLUS
from sipua.usage.call.session import CallState
from tests.support.raw_peer import AGENT, OFFER, PEER, VIDEO, RawDialog, RawStage, header, raw_stage, tag_of

pytestmark = pytest.mark.looptime

TARGET = f"sip:bob@{PEER}"
CREDENTIALS = (Credential("agent", "secret"),)
CHALLENGE_401 = ("WWW-Authenticate", 'Digest realm="pbx", nonce="n1", qop="auth"')
CHALLENGE_407 = ("Proxy-Authenticate", 'Digest realm="proxy", nonce="p1", qop="auth"')


async def _calling(stage: RawStage) -> tuple[Call, Request]:
    call = await stage.agent.call(TARGET)
    return call, await stage.peer.request("INVITE")


async def _refused(call: Call) -> int:
    with pytest.raises(CallFailedError) as failed:
        await call.wait_answered()
    return failed.value.status


async def test_call_is_placed_rings_is_answered_and_hung_up() -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        assert header(invite, "Contact") == f"<sip:agent@{AGENT}:5060>"
        assert header(invite, "Max-Forwards") == "70"
        assert tag_of(invite, "From")
        assert invite.uri == TARGET
        stage.peer.reply(invite, 100)
        await asyncio.sleep(0.1)
        assert call.state.value == "trying"
        stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        await asyncio.sleep(0.1)
        assert call.state is CallState.RINGING
        ok = stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        ack = await stage.peer.request("ACK", 0.1)
        assert ack.cseq.number == invite.cseq.number
        assert ack.via.branch != invite.via.branch
        assert ack.uri == f"sip:peer@{PEER}:5060"
        await call.wait_answered()
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await stage.peer.request("ACK", 0.1)
        await RawDialog.as_callee(stage.peer, invite, ok).bye()
        assert (await call.wait_ended()).by is EndedBy.PEER


async def test_late_2xx_is_acknowledged_again_long_after_the_bye() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.dialed()
        invite = stage.peer.all("INVITE")[0]
        assert isinstance(invite, Request)
        await asyncio.sleep(40)  # the INVITE's transaction is gone
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await stage.peer.request("ACK", 0.1)
        await dialog.bye()
        await asyncio.sleep(20)
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await stage.peer.request("ACK", 0.1)
        await asyncio.sleep(15)
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await asyncio.sleep(1)
        assert stage.peer.unread() == []
        assert call.is_ended


async def test_second_fork_that_answers_is_acknowledged_and_ended() -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        for tag in ("a", "b", "c"):
            stage.peer.reply(invite, 180, ("Contact", stage.peer.contact), tag=tag)
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER, tag="b")
        stage.peer.reply(invite, 200, ("Contact", f"<sip:other@{PEER}>"), ("Record-Route", f"<sip:{PEER};lr;r1>"), body=OFFER, tag="c")
        await call.wait_answered()
        for _ in range(2):
            await stage.peer.request("ACK")
        acks = [message for message in stage.peer.all("ACK") if isinstance(message, Request)]
        assert {tag_of(ack): ack.uri for ack in acks} == {"b": f"sip:peer@{PEER}:5060", "c": f"sip:other@{PEER}"}
        bye = await stage.peer.request("BYE")
        assert tag_of(bye) == "c"
        assert bye.headers.values("Route") == [f"<sip:{PEER};lr;r1>"]
        stage.peer.reply(bye, 200)
        stage.peer.reply(invite, 200, ("Contact", f"<sip:late@{PEER}>"), body=OFFER, tag="d")
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        assert call.is_confirmed
        await call.hangup()
        bye = await stage.peer.request("BYE")
        assert tag_of(bye) == "b"
        stage.peer.reply(bye, 200)


async def test_flood_of_forks_is_bounded() -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        for number in range(200):
            stage.peer.reply(invite, 180, ("Contact", stage.peer.contact), tag=f"t{number}")
        await asyncio.sleep(0.1)
        assert len(call._role._forks) < 50  # type: ignore[union-attr]
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER, tag="last")
        await call.wait_answered()
        await call.hangup()


async def test_flood_of_forks_that_answer_is_bounded() -> None:
    async with raw_stage() as stage:
        stage.peer.answers["BYE"] = 200
        call, invite = await _calling(stage)
        for number in range(200):
            stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER, tag=f"t{number}")
        await call.wait_answered()
        await asyncio.sleep(1)
        assert len(call._role._forks) == len(stage.peer.all("ACK")) == MAX_SURPLUS + 1  # type: ignore[union-attr]
        assert len(stage.peer.all("BYE")) == MAX_SURPLUS
        await call.hangup()


async def test_repeated_2xx_of_a_surplus_fork_or_after_the_cancel_gets_its_ack_and_no_second_bye() -> None:
    async with raw_stage() as stage:
        stage.peer.answers["BYE"] = 200
        for is_cancelled in (True, False):
            stage.peer.arrivals.clear()
            call, invite = await _calling(stage)
            stage.peer.reply(invite, 180, ("Contact", stage.peer.contact), tag="late")
            await asyncio.sleep(0.1)
            if is_cancelled:
                await call.hangup()
                stage.peer.reply(await stage.peer.request("CANCEL"), 200)
            else:
                stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER, tag="first")
                await call.wait_answered()
                await stage.peer.request("ACK")
            for _ in range(4):
                stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER, tag="late")
                assert tag_of(await stage.peer.request("ACK", 0.1)) == "late"
                await asyncio.sleep(0.5)
            assert [tag_of(bye) for bye in stage.peer.all("BYE")] == ["late"]
            await call.hangup()


async def test_peer_that_says_100_and_no_more_is_cancelled_at_the_limit_on_ringing() -> None:
    async with raw_stage(settings=CallSettings(ring_limit_s=60.0)) as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 100)
        await stage.peer.request("CANCEL", 61)
        assert stage.peer.times("CANCEL")[0] == 60.0
        assert not call.is_ended
        ending = await asyncio.wait_for(call.wait_ended(), 33)  # 64*T1 after the CANCEL (RFC 3261 §9.1)
        assert ending.by is EndedBy.LOCAL


@pytest.mark.parametrize("status", [302, 403, 404, 486, 488, 500, 503, 600, 603, 499])
async def test_refusal_is_acknowledged_and_ends_the_call(status: int) -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        refusal = stage.peer.reply(invite, status, ("Contact", f"<sip:else@{PEER}>"))
        ack = await stage.peer.request("ACK", 0.1)
        assert header(ack, "To") == header(refusal, "To")
        assert await _refused(call) == status
        assert (await call.wait_ended()).by is EndedBy.PEER
        await asyncio.sleep(1)
        assert stage.peer.unread() == []


async def test_nobody_answers_gives_408_after_64_t1() -> None:
    async with raw_stage() as stage:
        call, _ = await _calling(stage)
        assert await _refused(call) == 408
        assert stage.peer.times("INVITE") == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]


async def test_host_that_is_not_there_gives_503() -> None:
    async with raw_stage() as stage:
        call = await stage.agent.call("sip:bob@nowhere.invalid")
        assert await _refused(call) == 503
        call = await stage.agent.call("sip:bob@10.9.9.9;transport=tcp")
        assert await _refused(call) == 503


@pytest.mark.parametrize("target", ["", "bob", "tel:+49", "sip:", "sip:a@b\r\nX: y", "mailto:a@b"])
async def test_target_that_is_no_sip_uri_is_a_parse_error(target: str) -> None:
    async with raw_stage() as stage:
        with pytest.raises(ParseError):
            await stage.agent.call(target)


@pytest.mark.parametrize(
    ("status", "challenge", "name"), [(401, CHALLENGE_401, "Authorization"), (407, CHALLENGE_407, "Proxy-Authorization")]
)
async def test_challenge_is_answered_with_a_new_number_and_the_ack_has_the_credentials(
    status: int, challenge: tuple[str, str], name: str
) -> None:
    async with raw_stage(credentials=CREDENTIALS) as stage:
        call, first = await _calling(stage)
        stage.peer.reply(first, status, challenge)
        await stage.peer.request("ACK")
        second = await stage.peer.request("INVITE")
        assert second.call_id == first.call_id
        assert tag_of(second, "From") == tag_of(first, "From")
        assert tag_of(second) == ""
        assert second.cseq.number == first.cseq.number + 1
        assert second.via.branch != first.via.branch
        assert len(second.headers.values("Via")) == 1
        assert "nc=00000001" in header(second, name)
        stage.peer.reply(second, 200, ("Contact", stage.peer.contact), body=OFFER)
        ack = await stage.peer.request("ACK")
        assert header(ack, name) == header(second, name)
        await call.wait_answered()
        await call.hangup()
        bye = await stage.peer.request("BYE")
        assert bye.cseq.number == second.cseq.number + 1
        assert "nc=00000002" in header(bye, name)


async def test_proxy_and_server_may_both_challenge() -> None:
    async with raw_stage(credentials=CREDENTIALS) as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 407, CHALLENGE_407)
        invite = await stage.peer.request("INVITE")
        stage.peer.reply(invite, 401, CHALLENGE_401)
        invite = await stage.peer.request("INVITE")
        assert "Authorization" in invite.headers
        assert "Proxy-Authorization" in invite.headers
        stage.peer.reply(invite, 486)
        assert await _refused(call) == 486


async def test_stale_nonce_is_answered_once_more_and_a_wrong_password_never() -> None:
    async with raw_stage(credentials=CREDENTIALS) as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 401, CHALLENGE_401)
        invite = await stage.peer.request("INVITE")
        stage.peer.reply(invite, 401, ("WWW-Authenticate", 'Digest realm="pbx", nonce="n2", qop="auth", stale=true'))
        invite = await stage.peer.request("INVITE")
        assert 'nonce="n2"' in header(invite, "Authorization")
        stage.peer.reply(invite, 401, ("WWW-Authenticate", 'Digest realm="pbx", nonce="n3", qop="auth"'))
        assert await _refused(call) == 401


@pytest.mark.parametrize("credentials", [(), (Credential("x", "y", realm="elsewhere"),)])
async def test_challenge_without_a_password_for_it_is_the_end(credentials: tuple[Credential, ...]) -> None:
    async with raw_stage(credentials=credentials) as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 401, CHALLENGE_401)
        assert await _refused(call) == 401
        assert len(stage.peer.all("INVITE")) == 1


async def test_early_dialog_of_a_challenged_invite_does_not_spoil_the_second() -> None:
    async with raw_stage(credentials=CREDENTIALS) as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 183, ("Contact", stage.peer.contact), body=VIDEO, tag="same")
        await asyncio.sleep(0.1)
        stage.peer.reply(invite, 407, CHALLENGE_407, tag="same")
        invite = await stage.peer.request("INVITE")
        assert len(stage.agent.dialogs) == 0
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER, tag="same")
        await call.wait_answered()
        await call.hangup()
        bye = await stage.peer.request("BYE")
        assert bye.cseq.number == invite.cseq.number + 1


async def test_call_cancelled_before_any_response_sends_its_cancel_after_the_first_1xx() -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        await call.hangup()
        await asyncio.sleep(1)
        assert stage.peer.all("CANCEL") == []
        stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        cancel = await stage.peer.request("CANCEL", 0.1)
        assert cancel.via.branch == invite.via.branch
        assert cancel.cseq.number == invite.cseq.number
        stage.peer.reply(cancel, 200)
        stage.peer.reply(invite, 487)
        await stage.peer.request("ACK")
        assert await _refused(call) == 487
        assert (await call.wait_ended()).by is EndedBy.LOCAL


async def test_call_cancelled_before_any_response_to_a_peer_that_is_silent_ends_by_itself() -> None:
    async with raw_stage() as stage:
        call, _ = await _calling(stage)
        await call.hangup()
        assert (await call.wait_ended()).by is EndedBy.LOCAL
        assert stage.peer.all("CANCEL") == []


async def test_invite_that_nobody_ends_after_the_cancel_is_dropped_after_64_t1() -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        await asyncio.sleep(1)
        await call.hangup()
        stage.peer.reply(await stage.peer.request("CANCEL"), 200)
        assert (await call.wait_ended()).by is EndedBy.LOCAL
        assert asyncio.get_running_loop().time() == pytest.approx(33, abs=0.1)


async def test_2xx_that_beats_the_cancel_is_acknowledged_and_ended() -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        await asyncio.sleep(0.1)
        await call.hangup()
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        stage.peer.reply(await stage.peer.request("CANCEL"), 200)
        await stage.peer.request("ACK")
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        assert await _refused(call) == 487
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await stage.peer.request("ACK", 0.1)


async def test_ringing_has_a_limit() -> None:
    async with raw_stage(settings=CallSettings(ring_limit_s=30)) as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        await asyncio.sleep(20)
        stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        stage.peer.reply(await stage.peer.request("CANCEL"), 200)
        assert stage.peer.times("CANCEL") == [30.0]
        stage.peer.reply(invite, 487)
        assert await _refused(call) == 487


@pytest.mark.parametrize("body", [b"", b"rubbish", VIDEO])
async def test_2xx_without_a_usable_answer_is_acknowledged_and_ended(body: bytes) -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=body)
        await stage.peer.request("ACK")
        bye = await stage.peer.request("BYE")
        assert "488" in header(bye, "Reason")
        stage.peer.reply(bye, 200)
        assert await _refused(call) == 488
        assert not call.was_confirmed


async def test_answer_in_the_183_serves_for_a_2xx_without_one() -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 183, ("Contact", stage.peer.contact), body=OFFER)
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact))
        await call.wait_answered()
        assert call.media.machine.current is not None
        await call.hangup()


@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("broken", [("Contact", ""), ("Contact", "<<"), ("Record-Route", "<sip:"), ("Content-Type", ";")])
async def test_2xx_with_broken_headers_is_acknowledged_and_ended(broken: tuple[str, str], is_early: bool) -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        if is_early:
            stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        ok = make_response(invite, 200, to_tag="peer")
        ok.headers.add("Contact", stage.peer.contact)
        ok.set_body(OFFER, "application/sdp")
        ok.headers.set(*broken) if broken[1] else ok.headers.remove(broken[0])
        stage.peer.send(ok)
        await stage.peer.request("ACK")
        if is_early and broken[0] == "Contact":  # the 180 had one
            await call.wait_answered()
            await call.hangup()
            return
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        assert await _refused(call) == 488


@pytest.mark.parametrize("broken", [("Contact", "<<"), ("Record-Route", "<sip:"), ("Content-Type", ";"), ("Require", ";;=")])
async def test_provisional_response_with_broken_headers_is_passed_over(broken: tuple[str, str]) -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        stage.peer.reply(invite, 183, broken, body=b"x")
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await call.wait_answered()
        await call.hangup()


async def test_route_set_of_the_2xx_is_reversed() -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        routes = f"<sip:10.0.0.9;lr>, <sip:{PEER};lr>"
        stage.peer.reply(invite, 180, ("Contact", stage.peer.contact), ("Record-Route", "<sip:10.0.0.7;lr>"))
        stage.peer.reply(invite, 200, ("Contact", f"<sip:x@{PEER}>"), ("Record-Route", routes), body=OFFER)
        ack = await stage.peer.request("ACK")
        assert ack.headers.values("Route") == [f"<sip:{PEER};lr>", "<sip:10.0.0.9;lr>"]
        await call.wait_answered()
        await call.hangup()
        bye = await stage.peer.request("BYE")
        assert bye.headers.values("Route") == [f"<sip:{PEER};lr>", "<sip:10.0.0.9;lr>"]


async def test_strict_router_of_an_outgoing_call_gets_the_ack_and_the_bye() -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        routes = f"<sip:10.0.0.9;lr>, <sip:{PEER};foo=bar>"
        stage.peer.reply(invite, 200, ("Contact", "<sip:x@10.0.0.8>"), ("Record-Route", routes), body=OFFER)
        await call.wait_answered()
        await call.hangup()
        for method in ("ACK", "BYE"):
            request = await stage.peer.request(method)
            assert request.uri == f"sip:{PEER};foo=bar"
            assert request.headers.values("Route") == ["<sip:10.0.0.9;lr>", "<sip:x@10.0.0.8>"]


async def test_preloaded_route_and_headers_are_sent() -> None:
    async with raw_stage() as stage:
        call = await stage.agent.call("sip:bob@far.invalid", route=[f"<sip:{PEER};lr>"], headers={"X-Test": "1"}, caller='"A" <sip:a@b>')
        invite = await stage.peer.request("INVITE")
        assert header(invite, "Route") == f"<sip:{PEER};lr>"
        assert header(invite, "X-Test") == "1"
        assert header(invite, "From").startswith('"A" <sip:a@b>;tag=')
        stage.peer.reply(invite, 486)
        assert await _refused(call) == 486


async def test_byes_that_cross_end_an_outgoing_call_once() -> None:
    async with raw_stage(delay=(0.05, 0.05)) as stage:
        call, dialog = await stage.dialed()
        await call.hangup()
        dialog.send("BYE")
        stage.peer.reply(await stage.peer.request("BYE"), 481)
        assert (await call.wait_ended()).by is EndedBy.LOCAL


async def test_bye_is_challenged_and_repeated_with_credentials() -> None:
    async with raw_stage(credentials=CREDENTIALS) as stage:
        call, _ = await stage.dialed()
        await call.hangup()
        first = await stage.peer.request("BYE")
        stage.peer.reply(first, 407, CHALLENGE_407)
        second = await stage.peer.request("BYE")
        assert second.cseq.number == first.cseq.number + 1
        assert "Proxy-Authorization" in second.headers
        stage.peer.reply(second, 200)


async def test_hangup_twice_and_after_the_end_is_harmless() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.dialed()
        await call.hangup()
        await call.hangup()
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        await call.hangup()
        await asyncio.sleep(1)
        assert stage.peer.unread() == []
        for verb in (call.hold(), call.resume(), call.refresh(), call.request("INFO")):
            with pytest.raises(CallEndedError):
                await verb
        with pytest.raises(CallError):
            await call.answer()


@pytest.mark.parametrize("answers", [[], [180], [180, 487]])
async def test_dial_gives_up_in_time(answers: list[int]) -> None:
    async with raw_stage() as stage:
        dialing = stage.soon(stage.agent.dial(TARGET, timeout_s=10))
        invite = await stage.peer.request("INVITE")
        stage.peer.answers["CANCEL"] = 200
        for status in answers[:1]:
            stage.peer.reply(invite, status, ("Contact", stage.peer.contact))
        if answers[1:]:
            await asyncio.sleep(10.1)
            stage.peer.reply(invite, 487)
        with pytest.raises(CallFailedError):
            await dialing


async def test_dial_gives_up_while_it_connects() -> None:
    async with raw_stage() as stage:
        stage.network.silence_tcp("10.0.0.9")
        with pytest.raises(CallFailedError):
            await stage.agent.dial("sip:bob@10.0.0.9;transport=tcp", timeout_s=1.0)
        assert asyncio.get_running_loop().time() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("statuses", [[], [180], [180, 200]])
async def test_dial_that_is_cancelled_leaves_nothing(statuses: list[int]) -> None:
    async with raw_stage() as stage:
        stage.peer.answers = {"CANCEL": 200, "BYE": 200}
        dialing = stage.soon(stage.agent.dial(TARGET))
        invite = await stage.peer.request("INVITE")
        for status in statuses[:1]:
            stage.peer.reply(invite, status, ("Contact", stage.peer.contact))
        await asyncio.sleep(0.1)
        dialing.cancel()
        await asyncio.sleep(0.1)
        for status in statuses[1:]:
            stage.peer.reply(invite, status, ("Contact", stage.peer.contact), body=OFFER)
        if statuses == [180]:
            stage.peer.reply(invite, 487)
        with pytest.raises(asyncio.CancelledError):
            await dialing


async def test_dial_that_is_cancelled_while_it_connects_leaves_nothing() -> None:
    async with raw_stage() as stage:
        stage.network.silence_tcp("10.0.0.9")
        dialing = stage.soon(stage.agent.dial("sip:bob@10.0.0.9;transport=tcp"))
        await asyncio.sleep(0.5)
        dialing.cancel()
        await asyncio.sleep(0.1)
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)


async def test_invite_in_the_early_dialog_gets_491() -> None:
    async with raw_stage() as stage:
        call, invite = await _calling(stage)
        ringing = stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        dialog = RawDialog.as_callee(stage.peer, invite, ringing)
        await asyncio.sleep(0.1)
        refused = dialog.request("INVITE", body=OFFER)
        stage.peer.send(refused)
        refusal = await stage.peer.response("491 INVITE")
        stage.peer.send(dialog.request("ACK", ("Via", header(refused, "Via")), ("To", header(refusal, "To")), cseq=dialog.cseq))
        update = dialog.send("UPDATE", body=OFFER)
        assert update.cseq.method == "UPDATE"
        await stage.peer.response("491 UPDATE")
        dialog.send("UPDATE")
        await stage.peer.response("200 UPDATE")
        stage.peer.reply(invite, 486)
        assert await _refused(call) == 486


async def test_call_goes_over_tcp_and_back_over_a_new_connection() -> None:
    async with raw_stage(use_tcp=True) as stage:
        call = await stage.agent.call(f"{TARGET};transport=tcp")
        invite = await stage.peer.request("INVITE")
        assert stage.peer.transport_of(invite) == "TCP"
        assert ";transport=tcp" in header(invite, "Contact")
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await call.wait_answered()
        await stage.peer.request("ACK")
        stage.network.reset_streams()
        await asyncio.sleep(1)
        assert call.is_confirmed
        await call.hangup()
        bye = await stage.peer.request("BYE")
        assert stage.peer.transport_of(bye) == "TCP"
        stage.peer.reply(bye, 200)


async def test_large_invite_goes_by_tcp_and_by_udp_when_that_is_refused() -> None:
    async with raw_stage() as stage:
        headers = {"X-Large": "x" * 1500}
        call = await stage.agent.call(TARGET, headers=headers)
        invite = await stage.peer.request("INVITE")
        assert stage.peer.transport_of(invite) == "TCP"
        assert invite.via.transport == "TCP"
        stage.peer.reply(invite, 486)
        assert await _refused(call) == 486
        stage.network.reset_streams()
        await asyncio.sleep(1)
        stage.network.refuse_tcp(PEER)
        call = await stage.agent.call(TARGET, headers=headers)
        invite = await stage.peer.request("INVITE")
        assert stage.peer.transport_of(invite) == "UDP"
        stage.peer.reply(invite, 486)
        assert await _refused(call) == 486


async def test_connection_that_dies_under_the_invite_gives_503() -> None:
    async with raw_stage(use_tcp=True) as stage:
        call = await stage.agent.call(f"{TARGET};transport=tcp")
        await stage.peer.request("INVITE")
        stage.network.reset_streams()
        assert await _refused(call) == 503
