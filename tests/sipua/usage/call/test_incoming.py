"""Calls that come in, message by message (RFC 3261 §13.3, §15, §9.2)."""

import asyncio

import pytest

from sipua.errors import CallEndedError, CallError
from sipua.message import make_ack, make_cancel
from sipua.rtp.ports import PortAllocator
from sipua.rtp.session import RtpSession
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallSettings
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.media import MediaMode, MediaSettings
from sipua.usage.call.session import CallState
from tests.support.raw_peer import AGENT, OFFER, PEER, SDP, VIDEO, RawDialog, header, raw_stage, tag_of

pytestmark = pytest.mark.looptime

REPEATS = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
"""When a 2xx is repeated, seconds after the first: T1, doubling to T2, until 64*T1."""


async def test_call_rings_and_is_answered_and_hung_up_by_the_caller() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        await asyncio.sleep(0.3)
        trying = await stage.peer.response("100 INVITE")
        assert tag_of(trying) == ""
        await call.ring()
        ringing = await stage.peer.response("180 INVITE")
        assert call.state is CallState.RINGING
        assert header(ringing, "Contact") == f"<sip:100@{AGENT}:5060>"
        answering = stage.soon(call.answer())
        ok = await stage.peer.response("200 INVITE")
        assert tag_of(ok) == tag_of(ringing) != ""
        assert "ACK" in header(ok, "Allow")
        assert header(ok, "Content-Type") == SDP
        await asyncio.sleep(0.1)
        assert not answering.done()
        dialog = RawDialog.as_caller(stage.peer, invite, ok)
        dialog.ack(1)
        await answering
        assert call.is_confirmed
        dialog.send("BYE", ("Reason", 'Q.850;cause=16;text="bye\x01"'))
        await stage.peer.response("200 BYE")
        ending = await call.wait_ended()
        assert (ending.by, ending.status) == (EndedBy.PEER, 0)
        assert ending.reason == 'Q.850;cause=16;text="bye\\x01"'
        assert stage.peer.unread() == []


@pytest.mark.parametrize("use_tcp", [False, True])
async def test_2xx_is_repeated_until_64_t1_and_then_the_call_ends_by_bye(use_tcp: bool) -> None:
    async with raw_stage(use_tcp=use_tcp) as stage:
        call, _ = await stage.incoming()
        with pytest.raises(CallEndedError):
            await call.answer()
        times = stage.peer.times("200 INVITE")
        assert [round(time - times[0], 2) for time in times[1:]] == REPEATS
        await stage.peer.request("BYE")
        assert round(stage.peer.times("BYE")[0] - times[0], 2) == 32.0
        assert (await call.wait_ended()).by is EndedBy.NO_ACK
        assert all(message.encode() == stage.peer.all("200 INVITE")[0].encode() for message in stage.peer.all("200 INVITE"))
        stage.peer.answers["BYE"] = 481


@pytest.mark.parametrize("use_tcp", [False, True])
async def test_ack_ends_the_repetitions(use_tcp: bool) -> None:
    async with raw_stage(use_tcp=use_tcp) as stage:
        call, invite = await stage.incoming()
        answering = stage.soon(call.answer())
        ok = await stage.peer.response("200 INVITE")
        await asyncio.sleep(2.0)
        dialog = RawDialog.as_caller(stage.peer, invite, ok)
        dialog.ack(1)
        await answering
        await asyncio.sleep(40)
        assert len(stage.peer.times("200 INVITE")) == 3
        dialog.ack(1)  # a second ACK, for a repeated 2xx, has no effect
        await dialog.bye()


async def test_ack_with_another_number_is_not_the_calls() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        answering = stage.soon(call.answer())
        dialog = RawDialog.as_caller(stage.peer, invite, await stage.peer.response("200 INVITE"))
        dialog.ack(7)
        await asyncio.sleep(1.0)
        assert not answering.done()
        dialog.ack(1)
        await answering
        await dialog.bye()


async def test_repeated_invite_is_absorbed_before_and_after_the_answer() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        await call.ring()
        stage.peer.send(invite)
        await asyncio.sleep(0.1)
        assert len(stage.peer.all("180 INVITE")) == 2
        answering = stage.soon(call.answer())
        ok = await stage.peer.response("200 INVITE")
        stage.peer.send(invite)
        await asyncio.sleep(0.1)
        assert len(stage.peer.all("200 INVITE")) == 1
        assert stage.calls.empty()
        dialog = RawDialog.as_caller(stage.peer, invite, ok)
        dialog.ack(1)
        await answering
        await dialog.bye()


async def test_merged_invite_is_answered_482() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        invite.headers.set("Via", stage.peer.via())
        stage.peer.send(invite)
        refusal = await stage.peer.response("482 INVITE")
        ack = stage.peer.new("ACK", ("To", header(refusal, "To")), ("Via", header(invite, "Via")))
        stage.peer.send(ack)
        await call.reject()
        await stage.peer.response("603 INVITE")


@pytest.mark.parametrize("is_ringing", [False, True])
async def test_cancel_before_the_answer_gets_200_and_the_invite_487(is_ringing: bool) -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        if is_ringing:
            await call.ring()
        stage.peer.send(make_cancel(invite))
        ok = await stage.peer.response("200 CANCEL")
        terminated = await stage.peer.response("487 INVITE")
        assert tag_of(ok) == tag_of(terminated)  # RFC 3261 §9.2
        ending = await call.wait_ended()
        assert (ending.by, ending.status) == (EndedBy.PEER, 487)
        with pytest.raises(CallEndedError):
            await call.answer()


async def test_cancel_after_the_200_changes_nothing() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        answering = stage.soon(call.answer())
        ok = await stage.peer.response("200 INVITE")
        stage.peer.send(make_cancel(invite))
        await stage.peer.response("200 CANCEL")
        dialog = RawDialog.as_caller(stage.peer, invite, ok)
        dialog.ack(1)
        await answering
        assert call.is_confirmed
        await dialog.bye()


async def test_cancel_and_200_that_cross_leave_an_established_call() -> None:
    async with raw_stage(delay=(0.05, 0.05)) as stage:
        call, invite = await stage.incoming()
        answering = stage.soon(call.answer())
        stage.peer.send(make_cancel(invite))
        ok = await stage.peer.response("200 INVITE")
        await stage.peer.response("200 CANCEL")
        dialog = RawDialog.as_caller(stage.peer, invite, ok)
        dialog.ack(1)
        await answering
        await dialog.bye()
        assert "487 INVITE" not in stage.peer.unread()


async def test_cancel_of_nothing_is_answered_481() -> None:
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new("CANCEL"))
        await stage.peer.response("481 CANCEL")


async def test_bye_in_the_early_dialog_is_answered_and_the_invite_gets_487() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        await call.ring()
        ringing = await stage.peer.response("180 INVITE")
        RawDialog.as_caller(stage.peer, invite, ringing).send("BYE")
        await stage.peer.response("200 BYE")
        await stage.peer.response("487 INVITE")
        assert (await call.wait_ended()).by is EndedBy.PEER


async def test_bye_before_the_ack_ends_the_call_and_the_repetitions() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        answering = stage.soon(call.answer())
        dialog = RawDialog.as_caller(stage.peer, invite, await stage.peer.response("200 INVITE"))
        await dialog.bye()
        with pytest.raises(CallEndedError):
            await answering
        ending = await call.wait_ended()
        assert (ending.by, ending.status) == (EndedBy.PEER, 0)
        await asyncio.sleep(2)
        assert len(stage.peer.all("200 INVITE")) == 1


async def test_invite_without_offer_gets_one_and_the_ack_has_the_answer() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(body=b"")
        assert stage.peer.all("200 INVITE")[0].body.startswith(b"v=0")
        assert call.is_confirmed
        assert call.media.machine.current is not None
        await dialog.bye()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"", ""), (b"rubbish", SDP), (VIDEO, SDP), (OFFER, "text/plain"), (OFFER, "application/sdp;;=;"), (OFFER, "@@ @@")],
)
async def test_missing_or_bad_answer_in_the_ack_ends_the_call(body: bytes, content_type: str) -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming(body=b"")
        answering = stage.soon(call.answer())
        dialog = RawDialog.as_caller(stage.peer, invite, await stage.peer.response("200 INVITE"))
        ack = dialog.request("ACK", cseq=1, body=body)
        if content_type:
            ack.headers.set("Content-Type", content_type)
        stage.peer.send(ack)
        bye = await stage.peer.request("BYE", 0.1)
        stage.peer.reply(bye, 200)
        stage.peer.send(ack)
        with pytest.raises(CallEndedError):
            await answering
        assert (await call.wait_ended()).by is EndedBy.LOCAL


async def test_offer_that_can_not_be_taken_gets_488_with_warning() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming(body=VIDEO)
        with pytest.raises(CallError):
            await call.answer()
        refusal = await stage.peer.response("488 INVITE")
        assert header(refusal, "Warning").startswith("30")
        ending = await call.wait_ended()
        assert (ending.by, ending.status) == (EndedBy.LOCAL, 488)


async def test_broken_offer_is_answered_400_or_488() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming(body=b"v=1\r\nnonsense")
        with pytest.raises(CallError):
            await call.answer()
        assert {message[:3] for message in stage.peer.unread()} <= {"100", "400", "488"}
        await call.wait_ended()


@pytest.mark.parametrize(
    ("headers", "status", "name", "value"),
    [
        ((("Content-Type", "text/plain"),), 415, "Accept", "application/sdp, multipart/mixed"),
        ((("Content-Encoding", "gzip"),), 415, "Accept-Encoding", "identity"),
        ((("Require", "foo, 100rel, bar"),), 420, "Unsupported", "foo, bar"),
        ((("Contact", ""),), 400, "", ""),
        ((("Contact", "*"),), 400, "", ""),
        ((("Contact", "<<>>"),), 400, "", ""),
        ((("Record-Route", "<sip:a;lr>, <<"),), 400, "", ""),
        ((("Content-Type", ";;"),), 400, "", ""),
        ((("Accept", "text/plain, message/sipfrag"),), 406, "", ""),
        ((("Accept", "application/sdp;q=0.00"),), 406, "", ""),
        ((("Accept", "application/sdp;q=0, ;;"),), 400, "", ""),
    ],
)
async def test_invite_that_breaks_a_rule_is_refused(headers: tuple[tuple[str, str], ...], status: int, name: str, value: str) -> None:
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new("INVITE", *headers, body=OFFER))
        refusal = await stage.peer.response(f"{status} INVITE")
        assert tag_of(refusal)
        if name:
            assert header(refusal, name) == value
        assert stage.calls.empty()
        await stage.still_serves()


@pytest.mark.parametrize(
    "headers",
    [
        ("Contact", "<sips:peer@10.0.0.9>"),
        ("Contact", "<sip:peer@10.0.0.9;transport=tls>"),
        ("Contact", "<sip:peer@10.0.0.9;transport=ws>"),
        ("Record-Route", "<sip:10.0.0.8;transport=tls;lr>"),
    ],
)
async def test_invite_whose_dialog_needs_a_transport_that_we_lack_is_refused(
    headers: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A call that could be answered and never hung up is none."""
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new("INVITE", headers, body=OFFER))
        await stage.peer.response("480 INVITE")
        assert stage.calls.empty()
        await stage.still_serves()
    assert "no way to" in caplog.text


@pytest.mark.parametrize(
    "accept", ["application/sdp", "text/plain, APPLICATION/SDP;level=1", "application/*;q=0.1", "*/*", "application/sdp;q=0.01"]
)
async def test_accept_that_has_room_for_a_description_is_fine(accept: str) -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming(("Accept", accept))
        await call.reject(486)
        await stage.peer.response("486 INVITE")


async def test_foreign_body_with_optional_handling_is_passed_over() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming(("Content-Type", "text/plain"), ("Content-Disposition", "render;handling=optional"))
        await call.reject(486)
        await stage.peer.response("486 INVITE")


async def test_request_uri_of_another_scheme_gets_416() -> None:
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new("INVITE", uri="tel:+49123", body=OFFER))
        await stage.peer.response("416 INVITE")


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("PRACK", 481),
        ("MESSAGE", 405),
        ("PUBLISH", 405),
        ("REGISTER", 405),
        ("FROBNICATE", 501),
        ("BYE", 481),
        ("UPDATE", 481),
        ("INFO", 481),
    ],
)
async def test_request_outside_a_call_is_refused(method: str, status: int) -> None:
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new(method))
        refusal = await stage.peer.response(f"{status} {method}")
        if status in (405, 501):
            assert "INVITE" in header(refusal, "Allow")


@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "NOTIFY", "OPTIONS", "REFER", "INFO"])
async def test_request_for_an_unknown_dialog_gets_481(method: str) -> None:
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new(method, ("To", f"<sip:100@{AGENT}>;tag=gone")))
        await stage.peer.response(f"481 {method}")


async def test_ack_for_an_unknown_dialog_is_ignored() -> None:
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new("ACK", ("To", f"<sip:100@{AGENT}>;tag=gone")))
        await asyncio.sleep(1)
        assert stage.peer.unread() == []


async def test_refused_invite_may_be_tried_again_by_another_branch_once_it_has_its_ack() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        await call.reject(503)
        stage.peer.send(make_ack(invite, await stage.peer.response("503 INVITE")))
        invite.headers.set("Via", stage.peer.via())  # a proxy's fail-over: same Call-ID and CSeq
        stage.peer.send(invite)
        second = await asyncio.wait_for(stage.calls.get(), 0.1)
        await second.reject(486)
        await stage.peer.response("486 INVITE", 0.1)


@pytest.mark.parametrize("is_ringing", [False, True])
async def test_hangup_of_an_unanswered_call_refuses_it(is_ringing: bool) -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming()
        if is_ringing:
            await call.ring(183)
        await call.hangup()
        await call.hangup()
        await stage.peer.response("480 INVITE")
        ending = await call.wait_ended()
        assert (ending.by, ending.status) == (EndedBy.LOCAL, 480)


async def test_hangup_of_an_answered_call_sends_bye_with_the_reason() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        await call.hangup(480, 'SIP;cause=200;text="transferred"')
        bye = await stage.peer.request("BYE")
        assert header(bye, "Reason") == 'SIP;cause=200;text="transferred"'
        assert "Contact" not in bye.headers
        stage.peer.reply(bye, 481)
        ending = await call.wait_ended()
        assert (ending.by, ending.status) == (EndedBy.LOCAL, 0)
        dialog.send("INFO")
        await stage.peer.response("481 INFO")


async def test_byes_that_cross_end_the_call_once() -> None:
    async with raw_stage(delay=(0.05, 0.05)) as stage:
        call, dialog = await stage.established()
        await call.hangup()
        dialog.send("BYE")
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        await asyncio.sleep(1)
        assert len([text for text in stage.peer.unread() if text in ("200 BYE", "481 BYE")]) == 1
        assert (await call.wait_ended()).by is EndedBy.LOCAL


@pytest.mark.parametrize("status", [200, 100, 700, 0])
async def test_statuses_that_are_no_refusal_are_not_sent_as_one(status: int) -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming()
        with pytest.raises(ValueError, match="status"):
            await call.reject(status)
        with pytest.raises(ValueError, match="status"):
            await call.hangup(status)
        with pytest.raises(ValueError, match="status"):
            await call.ring(status)
        await call.reject(486, "busy\r\nX-Evil: 1")
        refusal = await stage.peer.response("486 INVITE")
        assert "X-Evil" not in refusal.headers


async def test_handler_that_raises_ends_the_call_with_500(caplog: pytest.LogCaptureFixture) -> None:
    async with raw_stage(faults=True) as stage:

        async def broken(call: Call) -> None:
            raise RuntimeError("oops")

        stage.agent.on_call = broken
        stage.peer.send(stage.peer.new("INVITE", body=OFFER))
        await stage.peer.response("500 INVITE")
        assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
        await stage.still_serves()


async def test_handler_that_raises_in_an_answered_call_ends_it_by_bye(caplog: pytest.LogCaptureFixture) -> None:
    async with raw_stage(faults=True) as stage:

        async def broken(call: Call) -> None:
            await call.answer()
            raise RuntimeError("oops")

        stage.agent.on_call = broken
        invite = stage.peer.new("INVITE", body=OFFER)
        stage.peer.send(invite)
        RawDialog.as_caller(stage.peer, invite, await stage.peer.response("200 INVITE")).ack(1)
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


async def test_record_route_is_copied_and_used_for_our_requests() -> None:
    async with raw_stage() as stage:
        routes = f"<sip:{PEER};lr;ep>, <sip:10.0.0.9;lr>"
        call, _ = await stage.established(("Record-Route", routes))
        ok = stage.peer.all("200 INVITE")[0]
        assert ok.headers.values("Record-Route") == [f"<sip:{PEER};lr;ep>", "<sip:10.0.0.9;lr>"]
        await call.hangup()
        bye = await stage.peer.request("BYE")
        assert bye.headers.values("Route") == [f"<sip:{PEER};lr;ep>", "<sip:10.0.0.9;lr>"]
        assert bye.uri == f"sip:peer@{PEER}:5060"


async def test_strict_router_gets_its_own_uri_and_the_target_last() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.established(("Record-Route", f"<sip:{PEER}:5060>, <sip:10.0.0.9;lr>"))
        await call.hangup()
        bye = await stage.peer.request("BYE")
        assert bye.uri == f"sip:{PEER}:5060"
        assert bye.headers.values("Route") == ["<sip:10.0.0.9;lr>", f"<sip:peer@{PEER}:5060>"]


async def test_strange_user_in_the_request_uri_comes_back_escaped() -> None:
    async with raw_stage() as stage:
        stage.peer.send(stage.peer.new("INVITE", uri=f"sip:a%0d%0a%00%22%3c%40x@{AGENT}", body=OFFER))
        call = await stage.calls.get()
        await call.ring()
        ringing = await stage.peer.response("180 INVITE")
        assert header(ringing, "Contact").count("@") == 1
        assert ringing.contact is not None
        await call.reject()


async def test_minute_of_ringing_is_kept_alive() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming()
        await call.ring()
        await asyncio.sleep(125)
        assert stage.peer.times("180 INVITE") == pytest.approx([0.0, 60.0, 120.0], abs=0.1)
        await call.reject()


async def test_user_handler_of_the_end_does_not_unseat_the_agents() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        ends: list[str] = []
        call.on_end(lambda: ends.append("over"))
        await dialog.bye()
        await call.wait_ended()
        assert ends == ["over"]
        assert stage.agent.calls == set()


async def test_connection_that_closes_under_a_call_is_replaced_for_the_next_request() -> None:
    async with raw_stage(use_tcp=True) as stage:
        call, _ = await stage.established()
        assert header(stage.peer.all("200 INVITE")[0], "Contact") == f"<sip:100@{AGENT}:5060;transport=tcp>"
        stage.network.reset_streams()
        await asyncio.sleep(1)
        assert call.is_confirmed
        assert stage.peer.streams == []
        await call.hangup()
        bye = await stage.peer.request("BYE")
        assert stage.peer.transport_of(bye) == "TCP"
        stage.peer.reply(bye, 200)


async def test_cancel_while_the_media_port_opens_closes_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket:
        local_port = 20000
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

    socket = Socket()

    async def slow(*_: object, **__: object) -> Socket:
        await asyncio.sleep(1)
        return socket

    monkeypatch.setattr(RtpSession, "open", slow)
    media = MediaSettings(mode=MediaMode.RECEIVE, ports=PortAllocator(20000, 20100))
    async with raw_stage(settings=CallSettings(media=media)) as stage:
        call, invite = await stage.incoming()
        answering = stage.soon(call.answer())
        await asyncio.sleep(0.1)
        stage.peer.send(make_cancel(invite))
        await stage.peer.response("487 INVITE")
        with pytest.raises(CallEndedError):
            await answering
        assert socket.is_closed


async def test_second_answer_waits_for_the_same_ack() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        answers = [stage.soon(call.answer()) for _ in range(2)]
        dialog = RawDialog.as_caller(stage.peer, invite, await stage.peer.response("200 INVITE"))
        dialog.ack(1)
        await asyncio.gather(*answers)
        assert len(stage.peer.all("200 INVITE")) == 1
        await call.answer()
        await dialog.bye()


async def test_rfc_2543_peer_without_tags_is_served() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(("From", f"<sip:old@{PEER}>"))
        dialog.send("INFO")
        await stage.peer.response("200 INFO")
        await call.hangup()
        bye = await stage.peer.request("BYE")
        assert "tag" not in header(bye, "To")
        stage.peer.reply(bye, 200)


async def test_a_call_without_a_media_port_may_come_again_soon(caplog: pytest.LogCaptureFixture) -> None:
    ports = PortAllocator(40000, 40001)
    async with raw_stage(settings=CallSettings(media=MediaSettings(MediaMode.RECEIVE, ports)), faults=True) as stage:
        ports.take(0.0)
        call, invite = await stage.incoming()
        with pytest.raises(CallError):
            await call.answer()
        refusal = await stage.peer.response("503 INVITE")
        assert refusal.headers.get("Retry-After") == "5"
        assert f"no media port for Call-ID {invite.call_id}" in caplog.text
        await call.wait_ended()
