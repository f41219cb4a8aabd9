"""What requests get before anybody is asked: docs/spec/answers.md, row by row, sent to an agent (RFC 3261 §8.2, §21)."""

import asyncio

import pytest

from sipua.message import Request, Response
from tests.support.raw_peer import OFFER, VIDEO, RawDialog, change, header, raw_stage, tag_of
from tests.support.tables import SPEC, read_table

pytestmark = pytest.mark.looptime

TABLE = SPEC / "answers.md"
OUTSIDE = read_table(TABLE, "Outside a dialog")
INSIDE = read_table(TABLE, "In a call")


def changed(request: Request, changes: str) -> bytes:
    """Apply what the column says; return the request as it goes on the wire."""
    version = "SIP/2.0"
    for step in [] if changes == "–" else changes.split(" and "):
        kind, _, value = step.partition(" ")
        if kind == "version":
            version = value
        elif kind == "Request-URI":
            request.uri = value
        elif kind == "body":
            request.set_body(VIDEO if value == "video" else b"x" * int(value.split()[0]), "application/sdp")
        elif kind.startswith("-"):
            request.headers.remove(kind[1:])
        else:
            name, _, text = step.partition(": ")
            change(request, ((name, text),))
    first, rest = request.encode().split(b"\r\n", 1)
    return first.replace(b"SIP/2.0", version.encode()) + b"\r\n" + rest


def check(request: Request, response: Response, row: dict[str, str]) -> None:
    if row["Contains"] != "–":
        for part in row["Contains"].split(", ") if ":" not in row["Contains"] else [row["Contains"]]:
            name, _, value = part.partition(": ")
            found = response.headers.get(name)
            assert found is not None, name
            assert not value or found == value
    assert response.headers.lines("Via")[0].startswith(header(request, "Via").removesuffix(";rport"))
    for name in ("From", "Call-ID", "CSeq"):
        assert header(response, name) == header(request, name)
    assert tag_of(response), "every response but 100 has a tag"
    if "tag=" in header(request, "To"):
        assert header(response, "To") == header(request, "To")


@pytest.mark.parametrize("row", OUTSIDE, ids=lambda row: f"{row['Method']}-{row['Changed']}")
async def test_every_row_outside_a_dialog_holds(row: dict[str, str]) -> None:
    # over a stream, so that nothing is repeated and a datagram's limit is no question
    async with raw_stage(use_tcp=True) as stage:
        method = row["Method"]
        request = stage.peer.new(method, body=OFFER if method == "INVITE" else b"")
        stage.peer.send(changed(request, row["Changed"]))
        if row["Answer"] == "nothing":
            await asyncio.sleep(1.0)
            assert stage.peer.unread() == []
        elif row["Answer"] == "taken":
            call = await stage.calls.get()
            await asyncio.sleep(0.5)
            assert set(stage.peer.unread()) <= {"100 INVITE"}
            await call.reject(486)
            await stage.peer.response("486 INVITE")
        else:
            response = await stage.peer.response(f"{row['Answer']} {request.cseq.method}")
            check(request, response, row)
            assert stage.calls.empty() or row["Answer"] == "487"


@pytest.mark.parametrize("row", INSIDE, ids=lambda row: f"{row['Method']}-{row['Changed']}")
async def test_every_row_in_a_call_holds(row: dict[str, str]) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        method = row["Method"]
        request = dialog.request(method, body=OFFER if method == "INVITE" else b"")
        if row["Changed"] == "CSeq: 1 INVITE":
            request.headers.set("Via", stage.peer.via())
        stage.peer.send(changed(request, row["Changed"]))
        response = await stage.peer.response(f"{row['Answer']} {request.cseq.method}")
        check(request, response, row)
        if method == "INVITE" and response.is_success:
            dialog.ack(dialog.cseq)
        if method == "BYE" and response.is_success:
            await call.wait_ended()
        else:
            assert call.is_confirmed
            await dialog.bye()


async def test_a_100_has_the_timestamp_and_no_tag() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming(("Timestamp", "54.21 0.3"))
        trying = await stage.peer.response("100 INVITE")
        assert header(trying, "Timestamp") == "54.21 0.3"
        assert tag_of(trying) == ""
        await call.ring()
        assert header(await stage.peer.response("180 INVITE"), "Timestamp") == ""
        await call.hangup()


async def test_all_responses_to_a_request_have_one_tag_and_every_via() -> None:
    async with raw_stage() as stage:
        invite = stage.peer.new("INVITE", body=OFFER)
        invite.headers.add("Via", "SIP/2.0/TCP 10.0.0.8;branch=z9hG4bKfar")
        stage.peer.send(invite)
        call = await stage.calls.get()
        await call.ring()
        await call.ring(183)
        await call.reject(486)
        responses = [await stage.peer.response(f"{status} INVITE") for status in (180, 183, 486)]
        assert len({tag_of(response) for response in responses}) == 1
        assert all(response.headers.lines("Via")[1] == "SIP/2.0/TCP 10.0.0.8;branch=z9hG4bKfar" for response in responses)


async def test_an_invite_that_expires_while_it_rings_gets_487() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming(("Expires", "30"))
        await call.ring()
        refusal = await stage.peer.response("487 INVITE")
        assert tag_of(refusal)
        assert round(stage.peer.times("487 INVITE")[0]) == 30
        assert (await call.wait_ended()).status == 487


async def test_an_invite_that_is_answered_in_time_does_not_expire() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established(("Expires", "2"))
        await asyncio.sleep(60)
        assert call.is_confirmed
        await dialog.bye()


async def test_a_1xx_is_repeated_every_minute_while_nobody_decides() -> None:
    async with raw_stage() as stage:
        call, _ = await stage.incoming()
        await call.ring()
        await asyncio.sleep(125)
        times = stage.peer.times("180 INVITE")
        assert [round(time - times[0]) for time in times] == [0, 60, 120]
        await call.hangup()


async def test_a_description_in_a_multipart_body_is_answered() -> None:
    async with raw_stage() as stage:
        body = b"--b\r\nContent-Type: application/sdp\r\n\r\n" + OFFER + b"\r\n--b\r\nContent-Type: application/isup\r\n"
        body += b"Content-Disposition: signal;handling=optional\r\n\r\n\x01\r\n--b--\r\n"
        invite = stage.peer.new("INVITE")
        invite.set_body(body, "multipart/mixed;boundary=b")
        stage.peer.send(invite)
        call = await stage.calls.get()
        answering = stage.soon(call.answer())
        ok = await stage.peer.response("200 INVITE")
        assert b"m=audio" in ok.body
        dialog = RawDialog.as_caller(stage.peer, invite, ok)
        dialog.ack(1)
        await answering
        await dialog.bye()


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ("version SIP/3.0 and Request-URI tel:1 and Require: x and Content-Encoding: gzip", 505),
        ("Request-URI tel:1 and Require: x and Content-Encoding: gzip", 416),
        ("Require: x and Content-Encoding: gzip and Accept: text/plain", 420),
        ("Content-Encoding: gzip and Content-Type: text/plain and Accept: text/plain", 415),
        ("Content-Type: text/plain and Accept: text/plain and -Contact", 415),
        ("Accept: text/plain and -Contact and Expires: 0", 406),
        ("-Contact and Session-Expires: 60 and Supported: timer", 400),
        ("Session-Expires: 60 and Supported: timer and Contact: <sip:a@b;transport=ws> and Expires: 0", 422),
        ("Contact: <sip:a@b;transport=ws> and Expires: 0", 480),
    ],
)
async def test_the_order_of_the_checks_is_the_one_that_is_written_down(changes: str, answer: int) -> None:
    async with raw_stage(use_tcp=True) as stage:
        stage.peer.send(changed(stage.peer.new("INVITE", body=OFFER), changes))
        await stage.peer.response(f"{answer} INVITE")
