"""Reliable provisional responses on calls, message by message (RFC 3262)."""

import asyncio
from dataclasses import dataclass

import pytest

from sipua.errors import CallEndedError, CallError, CallFailedError
from sipua.message import Request, Response, make_cancel
from sipua.rtp.ports import PortAllocator
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallSettings
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.machine.reliable_uas import ReliableUse
from sipua.usage.call.media import MediaMode, MediaSettings
from tests.support.raw_peer import AGENT, OFFER, PEER, SDP, VIDEO, RawDialog, RawStage, header, raw_stage, tag_of
from tests.support.tables import SPEC, read_table

pytestmark = pytest.mark.looptime

REQUIRE = ("Require", "100rel")
TARGET = f"sip:bob@{PEER}"
SESSION = OFFER.replace(b"o=- 7 1", b"o=- 7 2")


def prack(dialog: RawDialog, response: Response, *, body: bytes = b"", rseq: int | None = None) -> Request:
    return dialog.send("PRACK", ("RAck", f"{rseq or response.rseq} {response.cseq.number} INVITE"), body=body)


async def ringing(stage: RawStage, status: int = 180, *, body: bytes = OFFER) -> tuple[Call, Request, Response, RawDialog]:
    """Let the peer call with Require: 100rel and the agent ring."""
    call, invite = await stage.incoming(REQUIRE, body=body)
    await call.ring(status)
    response = await stage.peer.response(f"{status} INVITE")
    return call, invite, response, RawDialog.as_caller(stage.peer, invite, response)


# -- as callee ------------------------------------------------------------------------------------------------------------------------


async def test_a_required_180_is_repeated_until_its_prack() -> None:
    async with raw_stage() as stage:
        call, invite, response, dialog = await ringing(stage)
        assert header(response, "Require") == "100rel"
        assert 1 <= (response.rseq or 0) < 2**31
        assert header(response, "Contact") == f"<sip:100@{AGENT}:5060>"
        assert "PRACK" in header(response, "Allow")
        await asyncio.sleep(4.0)
        times = stage.peer.times("180 INVITE")
        assert [round(time - times[0], 1) for time in times] == [0.0, 0.5, 1.5, 3.5]
        assert len({message.encode() for message in stage.peer.all("180 INVITE")}) == 1
        prack(dialog, response)
        await stage.peer.response("200 PRACK")
        await asyncio.sleep(20.0)
        assert len(stage.peer.times("180 INVITE")) == 4
        answering = stage.soon(call.answer())
        ok = await stage.peer.response("200 INVITE")
        assert header(ok, "Content-Type") == SDP
        assert ok.rseq is None
        dialog.ack(invite.cseq.number)
        await answering
        await dialog.bye()


async def test_without_prack_the_invite_is_refused_after_64_t1() -> None:
    async with raw_stage() as stage:
        call, *_ = await ringing(stage)
        refusal = await stage.peer.response("504 INVITE")
        assert tag_of(refusal)
        times = stage.peer.times("180 INVITE")
        assert [round(time - times[0], 1) for time in times] == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
        ending = await call.wait_ended()
        assert (ending.by, ending.status) == (EndedBy.NO_ACK, 504)


async def test_a_wrong_prack_gets_481_and_ends_nothing() -> None:
    async with raw_stage() as stage:
        call, _, response, dialog = await ringing(stage)
        prack(dialog, response, rseq=(response.rseq or 0) + 1)
        await stage.peer.response("481 PRACK")
        dialog.send("PRACK", ("RAck", f"{response.rseq} 99 INVITE"))
        await stage.peer.response("481 PRACK")
        dialog.send("PRACK", ("RAck", "soon"))
        await stage.peer.response("400 PRACK")
        prack(dialog, response)
        await stage.peer.response("200 PRACK")
        prack(dialog, response)
        await stage.peer.response("481 PRACK")
        await call.reject(486)
        await stage.peer.response("486 INVITE")


async def test_a_second_one_waits_for_the_prack_of_the_first() -> None:
    async with raw_stage() as stage:
        call, _, first, dialog = await ringing(stage)
        await call.ring(182)
        await call.ring(181)
        await asyncio.sleep(1.0)
        assert stage.peer.all("181 INVITE") == stage.peer.all("182 INVITE") == []
        prack(dialog, first)
        await stage.peer.response("200 PRACK")
        second = await stage.peer.response("181 INVITE")
        assert second.rseq == (first.rseq or 0) + 1
        prack(dialog, second)
        await stage.peer.response("200 PRACK")
        await call.hangup()
        await stage.peer.response("480 INVITE")


async def test_the_repetition_of_every_minute_is_a_new_reliable_response() -> None:
    async with raw_stage() as stage:
        call, _, first, dialog = await ringing(stage)
        prack(dialog, first)
        await stage.peer.response("200 PRACK")
        await asyncio.sleep(60.0)
        second = await stage.peer.response("180 INVITE", 1.0)
        assert second.rseq == (first.rseq or 0) + 1
        prack(dialog, second)
        await stage.peer.response("200 PRACK")
        await call.hangup()


@dataclass(frozen=True, slots=True)
class Exchange:
    """A row of the table of descriptions."""

    invite: str
    ring: int
    response: str
    prack: str
    ok: str


def exchanges() -> list[Exchange]:
    rows = []
    for row in read_table(SPEC / "reliable-provisional.md", "Descriptions"):
        ring = 183 if row["180"] == "not sent" else 180
        rows.append(Exchange(row["INVITE"], ring, row[str(ring)], row["PRACK"], row["2xx"]))
    return rows


@pytest.mark.parametrize("row", exchanges(), ids=str)
async def test_every_row_of_the_descriptions_holds(row: Exchange) -> None:
    async with raw_stage() as stage:
        call, invite, response, dialog = await ringing(stage, row.ring, body=b"" if row.invite == "–" else OFFER)
        assert bool(response.body) is (row.response != "–")
        answering = stage.soon(call.answer())
        await asyncio.sleep(1.0)
        is_held = row.response != "–"
        assert (stage.peer.all("200 INVITE") == []) is is_held, "a 2xx waits for the PRACK of a description (RFC 3262 §3)"
        prack(dialog, response, body=b"" if row.prack == "–" else SESSION)
        acknowledged = await stage.peer.response("200 PRACK")
        assert bool(acknowledged.body) is ("answered" in row.prack)
        ok = await stage.peer.response("200 INVITE")
        assert bool(ok.body) is (row.ok == "answer")
        dialog.ack(invite.cseq.number)
        await answering
        assert call.media.machine.current is not None
        dialog.send("INVITE", body=OFFER.replace(b"o=- 7 1", b"o=- 7 3"))
        await stage.peer.response("200 INVITE")
        dialog.ack(dialog.cseq)
        await dialog.bye()


async def test_a_late_prack_after_the_2xx_is_answered() -> None:
    async with raw_stage() as stage:
        call, invite, response, dialog = await ringing(stage)
        answering = stage.soon(call.answer())
        await stage.peer.response("200 INVITE")
        await asyncio.sleep(3.0)
        assert len(stage.peer.times("180 INVITE")) == 1, "nothing is repeated beside the 2xx"
        prack(dialog, response)
        await stage.peer.response("200 PRACK")
        dialog.ack(invite.cseq.number)
        await answering
        await dialog.bye()


@pytest.mark.parametrize(("body", "status"), [(b"", 400), (VIDEO, 488), (b"v=9\r\n", 400)])
async def test_a_prack_without_a_usable_answer_gets_200_and_the_invite_a_refusal(body: bytes, status: int) -> None:
    async with raw_stage() as stage:
        call, _, response, dialog = await ringing(stage, body=b"")
        answering = stage.soon(call.answer())
        prack(dialog, response, body=body)
        await stage.peer.response("200 PRACK")
        refusal = await stage.peer.response(f"{status} INVITE")
        assert tag_of(refusal) == tag_of(response)
        with pytest.raises(CallEndedError):
            await answering
        assert stage.peer.all("200 INVITE") == []


async def test_an_offer_in_prack_that_cannot_be_taken_is_answered_with_every_stream_refused() -> None:
    async with raw_stage() as stage:
        call, _, response, dialog = await ringing(stage, 183)
        prack(dialog, response, body=VIDEO)
        acknowledged = await stage.peer.response("200 PRACK")
        assert b"m=video 0 RTP/AVP" in acknowledged.body
        await stage.peer.response("488 INVITE")
        await call.wait_ended()


async def test_a_description_in_prack_out_of_turn_is_passed_over() -> None:
    async with raw_stage() as stage:
        call, invite, response, dialog = await ringing(stage)
        prack(dialog, response, body=SESSION)
        assert (await stage.peer.response("200 PRACK")).body == b""
        answering = stage.soon(call.answer())
        assert (await stage.peer.response("200 INVITE")).body
        dialog.ack(invite.cseq.number)
        await answering
        await dialog.bye()


async def test_a_foreign_body_in_prack_is_refused() -> None:
    async with raw_stage() as stage:
        call, _, response, dialog = await ringing(stage)
        request = dialog.request("PRACK", ("RAck", f"{response.rseq} 1 INVITE"))
        request.set_body(b"x", "text/plain")
        stage.peer.send(request)
        await stage.peer.response("415 PRACK")
        await call.hangup()


async def test_an_offer_that_has_no_audio_is_refused_in_place_of_a_reliable_183() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming(REQUIRE, body=VIDEO)
        await call.ring(183)
        assert header(await stage.peer.response("488 INVITE"), "Warning")
        assert stage.peer.all("183 INVITE") == []
        await call.wait_ended()


async def test_an_update_after_the_answer_in_183_is_taken_and_before_it_is_not() -> None:
    async with raw_stage() as stage:
        call, _, response, dialog = await ringing(stage)
        prack(dialog, response)
        await stage.peer.response("200 PRACK")
        dialog.send("UPDATE", body=SESSION)
        await stage.peer.response("500 UPDATE")
        await call.ring(183)
        answered = await stage.peer.response("183 INVITE")
        assert answered.body
        prack(dialog, answered)
        await stage.peer.response("200 PRACK")
        dialog.send("UPDATE", body=SESSION)
        assert (await stage.peer.response("200 UPDATE")).body
        await call.hangup()


async def test_an_update_while_our_offer_is_open_gets_491() -> None:
    async with raw_stage() as stage:
        call, _, _, dialog = await ringing(stage, body=b"")
        dialog.send("UPDATE", body=SESSION)
        await stage.peer.response("491 UPDATE")
        await call.hangup()


@pytest.mark.parametrize("is_held", [False, True])
async def test_cancel_before_the_prack_ends_the_call_with_487(is_held: bool) -> None:
    async with raw_stage() as stage:
        call, invite, response, dialog = await ringing(stage, 183)
        answering = stage.soon(call.answer()) if is_held else None
        stage.peer.send(make_cancel(invite))
        await stage.peer.response("200 CANCEL")
        await stage.peer.response("487 INVITE")
        prack(dialog, response)
        await stage.peer.response("481 PRACK")
        if answering is not None:
            with pytest.raises(CallEndedError):
                await answering
        await asyncio.sleep(10.0)
        assert len(stage.peer.times("183 INVITE")) == 1
        assert (await call.wait_ended()).by is EndedBy.PEER


async def test_bye_in_the_early_dialog_ends_a_call_whose_2xx_is_held() -> None:
    async with raw_stage() as stage:
        call, _, _, dialog = await ringing(stage, 183)
        answering = stage.soon(call.answer())
        dialog.send("BYE")
        await stage.peer.response("200 BYE")
        await stage.peer.response("487 INVITE")
        with pytest.raises(CallEndedError):
            await answering


async def test_hangup_while_the_2xx_is_held_refuses_the_call() -> None:
    async with raw_stage() as stage:
        call, *_ = await ringing(stage, 183)
        answering = stage.soon(call.answer())
        await asyncio.sleep(0.1)
        await call.hangup(486)
        await stage.peer.response("486 INVITE")
        with pytest.raises(CallEndedError):
            await answering


@pytest.mark.parametrize(
    ("use", "headers", "is_reliable"),
    [
        (ReliableUse.REQUIRED, ("Supported", "100rel"), False),
        (ReliableUse.SUPPORTED, ("Supported", "100rel"), True),
        (ReliableUse.SUPPORTED, ("Supported", "timer"), False),
        (ReliableUse.NEVER, ("Supported", "100rel"), False),
    ],
)
async def test_the_setting_says_when_responses_are_reliable(use: ReliableUse, headers: tuple[str, str], is_reliable: bool) -> None:
    async with raw_stage(settings=CallSettings(reliable_provisional=use)) as stage:
        call, _ = await stage.incoming(headers)
        await call.ring()
        response = await stage.peer.response("180 INVITE")
        assert (response.rseq is not None) is is_reliable
        await call.hangup()


async def test_never_refuses_what_requires_it_and_says_so_in_options() -> None:
    async with raw_stage(settings=CallSettings(reliable_provisional=ReliableUse.NEVER)) as stage:
        stage.peer.send(stage.peer.new("INVITE", REQUIRE, body=OFFER))
        assert header(await stage.peer.response("420 INVITE"), "Unsupported") == "100rel"
        stage.peer.send(stage.peer.new("OPTIONS", call_id="o"))
        assert "100rel" not in header(await stage.peer.response("200 OPTIONS"), "Supported")


async def test_a_reliable_response_with_an_offer_needs_a_port() -> None:
    ports = PortAllocator(40000, 40001)
    settings = CallSettings(media=MediaSettings(MediaMode.RECEIVE, ports))
    async with raw_stage(settings=settings, faults=True) as stage:
        ports.take(0.0)
        call, _ = await stage.incoming(REQUIRE, body=b"")
        with pytest.raises(CallError):
            await call.ring()
        refusal = await stage.peer.response("503 INVITE")
        assert header(refusal, "Retry-After") == "5"
        await call.wait_ended()


# -- as caller ------------------------------------------------------------------------------------------------------------------------


async def calling(stage: RawStage) -> tuple[Call, Request]:
    call = await stage.agent.call(TARGET)
    return call, await stage.peer.request("INVITE")


def reliable(stage: RawStage, invite: Request, rseq: int, *, status: int = 180, body: bytes = b"", tag: str = "peer") -> Response:
    lines = (("Contact", stage.peer.contact), REQUIRE, ("RSeq", str(rseq)))
    return stage.peer.reply(invite, status, *lines, body=body, tag=tag)


async def test_a_reliable_180_is_acknowledged_once_and_in_order() -> None:
    async with raw_stage() as stage:
        stage.peer.answers["PRACK"] = 200
        call, invite = await calling(stage)
        assert "100rel" in header(invite, "Supported")
        assert "PRACK" in header(invite, "Allow")
        statuses: list[int] = []
        call.on_progress(statuses.append)
        for rseq, status in ((7, 180), (7, 180), (9, 183), (8, 182), (7, 180), (9, 183)):
            reliable(stage, invite, rseq, status=status)
            await asyncio.sleep(0.1)
        racks = [header(message, "RAck") for message in stage.peer.all("PRACK")]
        number = invite.cseq.number
        assert racks == [f"{rseq} {number} INVITE" for rseq in (7, 8, 9)]
        assert [message.cseq.number for message in stage.peer.all("PRACK")] == [number + 1, number + 2, number + 3]
        assert statuses == [180, 182, 183]
        ok = stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        ack = await stage.peer.request("ACK")
        assert ack.cseq.number == number
        await call.wait_answered()
        await RawDialog.as_callee(stage.peer, invite, ok).bye()


async def test_the_answer_in_a_reliable_183_counts_and_the_2xx_needs_none() -> None:
    async with raw_stage() as stage:
        stage.peer.answers["PRACK"] = 200
        call, invite = await calling(stage)
        response = reliable(stage, invite, 3, status=183, body=OFFER)
        await asyncio.sleep(0.1)
        assert call.media.machine.current is not None
        dialog = RawDialog.as_callee(stage.peer, invite, response)
        dialog.send("UPDATE", body=SESSION)
        assert (await stage.peer.response("200 UPDATE")).body, "offer and answer are done: UPDATE may follow (RFC 3311 §5.1)"
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact))
        await stage.peer.request("ACK")
        await call.wait_answered()
        await dialog.bye()


async def test_another_fork_than_that_of_the_reliable_answer_may_win() -> None:
    async with raw_stage() as stage:
        stage.peer.answers["PRACK"] = 200
        call, invite = await calling(stage)
        reliable(stage, invite, 3, status=183, body=OFFER, tag="a")
        reliable(stage, invite, 900, tag="b")
        ok = stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER.replace(b"20000", b"30000"), tag="b")
        await stage.peer.request("ACK")
        await call.wait_answered()
        assert call.media.machine.remote_description is not None
        assert call.media.machine.remote_description.media[0].port == 30000
        assert {tag_of(message): header(message, "RAck").split()[0] for message in stage.peer.all("PRACK")} == {"a": "3", "b": "900"}
        await RawDialog.as_callee(stage.peer, invite, ok).bye()


async def test_a_bad_answer_in_a_reliable_183_ends_the_call_when_it_is_answered() -> None:
    async with raw_stage() as stage:
        stage.peer.answers["PRACK"] = 200
        call, invite = await calling(stage)
        reliable(stage, invite, 3, status=183, body=VIDEO)
        await asyncio.sleep(0.1)
        stage.peer.reply(invite, 200, ("Contact", stage.peer.contact), body=OFFER)
        await stage.peer.request("ACK")
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        with pytest.raises(CallFailedError):
            await call.wait_answered()


@pytest.mark.parametrize("status", [481, 500, 408])
async def test_a_refused_prack_ends_nothing(status: int) -> None:
    async with raw_stage() as stage:
        stage.peer.answers["PRACK"] = status
        call, invite = await calling(stage)
        reliable(stage, invite, 1)
        await asyncio.sleep(0.2)
        assert not call.is_ended
        stage.peer.reply(invite, 486)
        await stage.peer.request("ACK")
        with pytest.raises(CallFailedError):
            await call.wait_answered()


async def test_a_reliable_response_without_a_number_or_with_a_broken_one_is_dropped() -> None:
    async with raw_stage() as stage:
        call, invite = await calling(stage)
        for rseq in ("", "0", "x", "4294967296"):
            lines = [("Contact", stage.peer.contact), REQUIRE, *([("RSeq", rseq)] if rseq else [])]
            stage.peer.reply(invite, 180, *lines)
        await asyncio.sleep(0.1)
        assert stage.peer.all("PRACK") == []
        assert call.state.value == "trying"
        stage.peer.reply(invite, 486)
        await stage.peer.request("ACK")


async def test_a_flood_of_forks_costs_a_limited_number_of_pracks() -> None:
    async with raw_stage() as stage:
        stage.peer.answers["PRACK"] = 200
        call, invite = await calling(stage)
        for number in range(100):
            reliable(stage, invite, 1, tag=f"t{number}")
        await asyncio.sleep(0.5)
        assert len(stage.peer.all("PRACK")) == 32
        stage.peer.reply(invite, 486)
        await stage.peer.request("ACK")
        await call.wait_ended()


async def test_hangup_after_a_reliable_180_cancels() -> None:
    async with raw_stage() as stage:
        stage.peer.answers |= {"PRACK": 200, "CANCEL": 200}
        call, invite = await calling(stage)
        reliable(stage, invite, 1)
        await asyncio.sleep(0.1)
        await call.hangup()
        stage.peer.reply(invite, 487)
        await stage.peer.request("ACK")
        assert (await call.wait_ended()).by is EndedBy.LOCAL
        assert stage.peer.all("CANCEL")


async def test_a_2xx_that_requires_what_we_do_not_have_is_acknowledged_and_ended() -> None:
    async with raw_stage() as stage:
        call, invite = await calling(stage)
        stage.peer.reply(invite, 200, ("Contact", f"<sip:other@{PEER}>"), ("Require", "teleport\x01"), body=OFFER)
        ack = await stage.peer.request("ACK")
        assert ack.uri == f"sip:other@{PEER}"
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        with pytest.raises(CallFailedError) as failed:
            await call.wait_answered()
        assert failed.value.status == 488


async def test_a_prack_for_a_caller_gets_481() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.dialed()
        dialog.send("PRACK", ("RAck", "1 1 INVITE"))
        await stage.peer.response("481 PRACK")
        await dialog.bye()
        assert call.is_ended
