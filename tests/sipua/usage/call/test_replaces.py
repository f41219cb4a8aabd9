"""INVITEs that take the place of a call (RFC 3891): the tables of docs/spec/replaces.md, and calls message by message."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import CallError, ParseError
from sipua.message import Request
from sipua.message.replaces import Replaces
from sipua.usage.call.call import Call
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.machine.replacement import Found, answer_replacing, read_replaces
from sipua.usage.call.session import CallState
from tests.support.messages import request
from tests.support.raw_peer import OFFER, PEER, VIDEO, RawDialog, RawPeer, RawStage, header, raw_stage, tag_of
from tests.support.tables import SPEC, read_table

TABLE = SPEC / "replaces.md"
HEADERS = read_table(TABLE, "The header")
ANSWERS = read_table(TABLE, "What it points at")
THIRD = "10.0.0.3"


@pytest.mark.parametrize("row", HEADERS, ids=lambda row: row["Header"])
def test_every_row_of_the_header_holds(row: dict[str, str]) -> None:
    invite = request("INVITE")
    for line in row["Header"].split(" and "):
        name, _, value = line.partition(": ")
        invite.headers.add(name, value)
    if row["Answer"] == "go on":
        replaces = read_replaces(invite)
        assert (replaces.call_id, replaces.to_tag, replaces.from_tag) == ("c1", "ours", "theirs")
        assert replaces.is_early_only is ("early-only" in row["Header"])
    else:
        with pytest.raises(ParseError) as error:
            read_replaces(invite)
        assert error.value.status == int(row["Answer"])


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: f"{row['It points at']}-{row['early-only']}")
def test_every_row_of_what_it_points_at_holds(row: dict[str, str]) -> None:
    status = answer_replacing(Found(row["It points at"]), is_early_only=row["early-only"] == "yes")
    assert (str(status) if status else "replace") == row["Answer"]


def test_the_table_has_everything_that_can_be_found() -> None:
    assert {row["It points at"] for row in ANSWERS} == {found.value for found in Found}


def test_a_tag_of_zero_is_the_null_tag() -> None:
    assert Replaces.parse("c;to-tag=0;from-tag=1") == Replaces("c", "", "1")


@given(st.from_regex(r"[\w.@-]{1,20}", fullmatch=True), st.from_regex(r"[a-z1-9]{1,9}", fullmatch=True), st.booleans())
def test_what_is_written_is_read_again(call_id: str, tag: str, is_early_only: bool) -> None:
    replaces = Replaces(call_id, tag, f"x{tag}", is_early_only)
    assert Replaces.parse(str(replaces)) == replaces


@given(st.text(max_size=60))
def test_any_text_is_read_or_a_parse_error(text: str) -> None:
    try:
        Replaces.parse(text)
    except ParseError:
        return


# -- on calls -------------------------------------------------------------------------------------------------------------------------


def pointing_at(dialog: RawDialog, extra: str = "") -> tuple[str, str]:
    ours, theirs = (re.findall(r"tag=([^;>]+)", value)[0] for value in (dialog.remote, dialog.local))
    return "Replaces", f"{dialog.call_id};to-tag={ours};from-tag={theirs}{extra}"


def replacing(peer: RawPeer, replaces: tuple[str, str], *headers: tuple[str, str], body: bytes = OFFER) -> Request:
    invite = peer.new("INVITE", replaces, *headers, body=body, call_id="c2")
    peer.send(invite)
    return invite


async def taken_over(stage: RawStage, dialog: RawDialog) -> tuple[RawDialog, Request]:
    """Replace the call of *dialog*; return the new dialog and the BYE of the old one."""
    invite = replacing(stage.peer, pointing_at(dialog))
    ok = await stage.peer.response("200 INVITE")
    bye = await stage.peer.request("BYE")
    stage.peer.reply(bye, 200)
    new = RawDialog.as_caller(stage.peer, invite, ok)
    new.ack(1)
    return new, bye


@pytest.mark.looptime
async def test_a_call_that_is_up_goes_on_with_the_new_party() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        former: list[str] = []
        ends: list[str] = []
        call.on_replaced(former.append)
        call.on_end(lambda: ends.append(call.id))
        waiting = stage.soon(call.wait_ended())
        new, bye = await taken_over(stage, dialog)
        assert (bye.call_id, header(bye, "Reason")) == ("c1", 'SIP;cause=200;text="Replaced"')
        await asyncio.sleep(0.1)
        assert (call.id, former, ends) == ("c2", ["c1"], [])
        assert call.is_confirmed
        assert not waiting.done()
        assert stage.calls.empty(), "it is no new call"
        assert len(stage.agent.calls) == 1
        info = new.send("INFO")
        await stage.peer.response("200 INFO")
        assert info.call_id == "c2"
        await new.bye()
        assert (await waiting).by is EndedBy.PEER
        assert ends == ["c2"]


@pytest.mark.looptime
async def test_a_transfer_after_the_change_goes_to_the_new_party() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        new, _ = await taken_over(stage, dialog)
        transferring = stage.soon(call.transfer("sip:x@10.0.0.9"))
        refer = await stage.peer.request("REFER")
        assert refer.call_id == "c2"
        stage.peer.reply(refer, 202)
        new.notify(200, "terminated;reason=noresource")
        await stage.peer.response("200 NOTIFY")
        assert (await transferring).kind.value == "transferred"
        await call.hangup()
        bye = await stage.peer.request("BYE")
        assert bye.call_id == "c2"
        stage.peer.reply(bye, 200)


@pytest.mark.looptime
@pytest.mark.parametrize("progress", ["unanswered", "accepted", "ringing"])
@pytest.mark.parametrize("late", ["", "200 terminated;reason=noresource", "180 active"])
async def test_a_transfer_that_runs_when_its_call_is_taken_over_ends_as_if_we_had_hung_up(progress: str, late: str) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        transferring = stage.soon(call.transfer("sip:x@10.0.0.9"))
        refer = await stage.peer.request("REFER")
        if progress != "unanswered":
            stage.peer.reply(refer, 202)
        if progress == "ringing":
            dialog.notify(180, "active;expires=60")
            await stage.peer.response("200 NOTIFY")
        await asyncio.sleep(0.1)
        new, _ = await taken_over(stage, dialog)
        if late:
            status, _, state = late.partition(" ")
            dialog.notify(int(status), state)
        if progress == "unanswered":
            stage.peer.reply(refer, 481)
        outcome = await transferring
        expected = ("call_lost", 481) if progress == "unanswered" else ("local_hangup", 202)
        assert (outcome.kind.value, outcome.refer_code) == expected
        await asyncio.sleep(0.1)
        assert call.is_confirmed
        again = stage.soon(call.transfer("sip:y@10.0.0.9"))
        refer = await stage.peer.request("REFER")
        assert refer.call_id == "c2"
        stage.peer.reply(refer, 202)
        new.notify(200, "terminated;reason=noresource")
        assert (await again).kind.value == "transferred"
        dialog.notify(200, "terminated;reason=noresource")  # else the subscription would last until it expires
        await new.bye()


@pytest.mark.looptime
async def test_a_transfer_that_was_not_sent_yet_is_sent_to_the_new_party() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        transferring = stage.soon(call.transfer("sip:x@10.0.0.9", settle_s=5.0))
        waiting = stage.soon(call.transfer("sip:y@10.0.0.9", settle_s=0.0))
        await asyncio.sleep(1.0)
        new, _ = await taken_over(stage, dialog)
        for number, transfer in enumerate((transferring, waiting), 1):
            refer = await stage.peer.request("REFER", 10.0)
            assert refer.call_id == "c2"
            stage.peer.reply(refer, 202)
            new.notify(200, "terminated;reason=noresource")
            assert (await transfer).kind.value == "transferred", number
        await new.bye()


@pytest.mark.looptime
async def test_a_call_can_be_taken_over_again_and_only_by_its_newest_dialog() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        new, _ = await taken_over(stage, dialog)
        stage.peer.send(stage.peer.new("INVITE", pointing_at(dialog), body=OFFER, call_id="c3"))
        await stage.peer.response("481 INVITE")
        invite = stage.peer.new("INVITE", pointing_at(new), body=OFFER, call_id="c4")
        stage.peer.send(invite)
        newest = RawDialog.as_caller(stage.peer, invite, await stage.peer.response("200 INVITE"))
        newest.ack(1)
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        await asyncio.sleep(0.1)
        assert call.id == "c4"
        await newest.bye()


@pytest.mark.looptime
async def test_a_bye_of_the_old_party_that_crosses_ours_ends_nothing() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        invite = replacing(stage.peer, pointing_at(dialog))
        ok = await stage.peer.response("200 INVITE")
        bye = await stage.peer.request("BYE")
        dialog.send("BYE")
        await stage.peer.response("481 BYE")
        stage.peer.reply(bye, 481)
        new = RawDialog.as_caller(stage.peer, invite, ok)
        new.ack(1)
        await asyncio.sleep(0.1)
        assert call.is_confirmed
        await new.bye()


@pytest.mark.looptime
async def test_a_bye_that_is_served_first_leaves_nothing_to_replace() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        replacing(stage.peer, pointing_at(dialog))
        dialog.send("BYE")
        await stage.peer.response("200 BYE")
        await stage.peer.response("481 INVITE")
        assert (await call.wait_ended()).by is EndedBy.PEER


@pytest.mark.looptime
async def test_a_missing_ack_ends_the_call_that_was_taken_over() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        replacing(stage.peer, pointing_at(dialog))
        await stage.peer.response("200 INVITE")
        stage.peer.answers["BYE"] = 200
        ending = await call.wait_ended()
        assert ending.by is EndedBy.NO_ACK
        assert call.was_confirmed


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("extra", "body", "status"),
    [(";early-only", OFFER, 486), ("", VIDEO, 488), ("", b"v=9\r\n", 400)],
)
async def test_a_refusal_leaves_the_call_as_it_is(extra: str, body: bytes, status: int) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        replacing(stage.peer, pointing_at(dialog, extra), body=body)
        await stage.peer.response(f"{status} INVITE")
        await asyncio.sleep(1.0)
        assert (call.id, call.is_confirmed, stage.peer.all("BYE")) == ("c1", True, [])
        await dialog.bye()


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("replaces", "status"),
    [
        ("nobody;to-tag=a;from-tag=b", 481),
        ("c1;to-tag=a;from-tag=b", 481),
        ("c1;to-tag=a", 400),
        ("a;to-tag=1;from-tag=2, b;to-tag=1;from-tag=2", 400),
    ],
)
async def test_a_header_that_points_at_nothing(replaces: str, status: int) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        refused = replacing(stage.peer, ("Replaces", replaces))
        refusal = await stage.peer.response(f"{status} INVITE")
        assert refusal.call_id == refused.call_id
        assert tag_of(refusal)
        assert call.is_confirmed
        await dialog.bye()


@pytest.mark.looptime
async def test_tags_the_wrong_way_round_point_at_nothing() -> None:
    async with raw_stage() as stage:
        _, dialog = await stage.established()
        name, value = pointing_at(dialog)
        swapped = value.replace("to-tag", "x").replace("from-tag", "to-tag").replace(";x=", ";from-tag=")
        replacing(stage.peer, (name, swapped))
        await stage.peer.response("481 INVITE")
        await dialog.bye()


@pytest.mark.looptime
async def test_a_call_that_rings_here_or_has_no_ack_yet_is_not_replaced() -> None:
    async with raw_stage() as stage:
        call, first = await stage.incoming()
        await call.ring()
        dialog = RawDialog.as_caller(stage.peer, first, await stage.peer.response("180 INVITE"))
        replacing(stage.peer, pointing_at(dialog))
        await stage.peer.response("481 INVITE")
        answering = stage.soon(call.answer())
        await stage.peer.response("200 INVITE")
        stage.peer.send(stage.peer.new("INVITE", pointing_at(dialog), body=OFFER, call_id="c3"))
        await stage.peer.response("481 INVITE")
        dialog.ack(1)
        await answering
        await dialog.bye()


@pytest.mark.looptime
async def test_a_call_of_ours_that_rings_is_answered_by_the_invite_and_cancelled() -> None:
    async with raw_stage() as stage:
        stage.peer.answers["CANCEL"] = 200
        call = await stage.agent.call(f"sip:bob@{PEER}")
        answered = stage.soon(call.wait_answered())
        invite = await stage.peer.request("INVITE")
        ringing = stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        await asyncio.sleep(0.1)
        picked = replacing(stage.peer, pointing_at(RawDialog.as_callee(stage.peer, invite, ringing), ";early-only"))
        ok = await stage.peer.response("200 INVITE")
        await asyncio.sleep(0.1)
        assert stage.peer.all("CANCEL")
        stage.peer.reply(invite, 487)
        await stage.peer.request("ACK")
        assert not answered.done()
        new = RawDialog.as_caller(stage.peer, picked, ok)
        new.ack(1)
        await answered
        assert call.state is CallState.CONFIRMED
        await new.bye()


@pytest.mark.looptime
async def test_another_peer_may_not_take_a_call_over() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        third = RawPeer(stage.network, THIRD)
        await third.open()
        replacing(third, pointing_at(dialog))
        await third.response("403 INVITE")
        assert (call.id, call.is_confirmed) == ("c1", True)
        await dialog.bye()
        await third.aclose()


@pytest.mark.looptime
async def test_a_peer_is_who_the_access_rules_say() -> None:
    async with raw_stage() as stage:

        def admit(message: Request, _channel: object) -> None:
            message.sender = header(message, "X-Peer")

        stage.agent.admit = admit
        call, dialog = await stage.established(("X-Peer", "pbx"))
        third = RawPeer(stage.network, THIRD)
        await third.open()
        replacing(third, pointing_at(dialog), ("X-Peer", "other"))
        await third.response("403 INVITE")
        invite = third.new("INVITE", pointing_at(dialog), ("X-Peer", "pbx"), body=OFFER, call_id="c3")
        third.send(invite)
        ok = await third.response("200 INVITE")
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        new = RawDialog.as_caller(third, invite, ok)
        new.ack(1)
        await asyncio.sleep(0.1)
        assert call.remote is not None
        assert call.remote.host == THIRD
        await new.bye()
        await third.aclose()


@pytest.mark.looptime
async def test_a_call_whose_dialog_serves_only_a_subscription_is_over() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        transferring = stage.soon(call.transfer("sip:x@10.0.0.9"))
        refer = await stage.peer.request("REFER")
        dialog.send("BYE")
        await stage.peer.response("200 BYE")
        replacing(stage.peer, pointing_at(dialog))
        await stage.peer.response("603 INVITE")
        stage.peer.reply(refer, 202)
        dialog.notify(200, "terminated;reason=noresource")
        await stage.peer.response("200 NOTIFY")
        assert (await transferring).kind.value == "transferred"


@pytest.mark.looptime
async def test_an_agent_that_closes_hangs_up_on_the_new_party() -> None:
    async with raw_stage(is_quiet=False) as stage:
        call, dialog = await stage.established()
        await taken_over(stage, dialog)
        stage.peer.answers["BYE"] = 200
        await stage.agent.aclose()
        assert call.is_ended
        assert [message.call_id for message in stage.peer.all("BYE")] == ["c1", "c2"]


@pytest.mark.looptime
async def test_the_option_is_offered_and_may_be_required() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        assert "replaces" in header(stage.peer.all("200 INVITE")[0], "Supported")
        replacing(stage.peer, pointing_at(dialog), ("Require", "replaces"))
        await stage.peer.response("200 INVITE")
        stage.peer.reply(await stage.peer.request("BYE"), 200)
        stage.peer.answers["BYE"] = 200
        assert (await call.wait_ended()).by is EndedBy.NO_ACK


@pytest.mark.looptime
async def test_handlers_go_with_the_call() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        seen: list[str] = []
        call.on_info(lambda message: seen.append(message.call_id))
        call.on_transfer_request(lambda transfer: transfer.reject(486))
        new, _ = await taken_over(stage, dialog)
        await asyncio.sleep(0.1)
        new.send("INFO")
        await stage.peer.response("200 INFO")
        new.send("REFER", ("Refer-To", "<sip:x@y>"))
        await stage.peer.response("486 REFER")
        assert seen == ["c2"]
        with pytest.raises(CallError):
            await call.request("BYE")
        await new.bye()


def call_of(stage: RawStage) -> Call:
    (call,) = stage.agent.calls
    return call


@pytest.mark.looptime
async def test_a_flood_of_replacing_invites_leaves_one_call() -> None:
    async with raw_stage() as stage:
        _, dialog = await stage.established()
        stage.peer.answers["BYE"] = 200
        for number in range(20):
            stage.peer.send(stage.peer.new("INVITE", pointing_at(dialog), body=OFFER, call_id=f"f{number}"))
        await asyncio.sleep(1.0)
        assert len({message.call_id for message in stage.peer.all("200 INVITE")} - {"c1"}) == 1
        assert len({message.call_id for message in stage.peer.all("481 INVITE")}) == 19
        call = call_of(stage)
        winner = stage.peer.all("200 INVITE")[1]
        assert call.id == winner.call_id
        await call.hangup()
