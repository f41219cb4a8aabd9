"""Broken messages of every kind: nothing escapes, nothing is left, and the agent goes on answering."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sipua.auth import Credential
from sipua.errors import SipError
from sipua.message import Message, Request, make_response
from sipua.usage.call.call import Call
from tests.support.raw_peer import OFFER, RawDialog, RawStage, header, raw_stage

pytestmark = pytest.mark.looptime

JUNK = st.one_of(
    st.sampled_from(
        [
            b"",
            b";",
            b";;=;",
            b"<",
            b"<<>>",
            b"<>",
            b"*",
            b"<sip:>",
            b"<sip:a@[::1>",
            b"<sip:a@b;transport=ws>",
            b"<tel:+1>",
            b"<urn:x:y>",
            b"sip:a@b?x=y",
            b"<sip:a@10.0.0.2>;tag=;tag=x",
            b"4294967296 INVITE",
            b"-1",
            b"0",
            b"99999999999999999999",
            b"\xff\xfe\x00",
            b'"unfinished',
            b"refer;id=;id=1",
            b"terminated;reason=;expires=x",
            b"application/sdp;x",
            b"multipart/mixed;boundary=",
            b"message/sipfrag",
            b"gzip",
            b'Digest realm="a", nonce="b',
            b"x" * 3000,
            b"a, b, , <sip:c>, ;",
            b"SIP/2.0/UDP",
            b"SIP/2.0/TCP 10.0.0.2;branch=z9hG4bKx",
        ]
    ),
    st.binary(max_size=30).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"")),
)
NAMES = st.sampled_from(
    [
        "Via",
        "From",
        "To",
        "Call-ID",
        "CSeq",
        "Contact",
        "Content-Type",
        "Content-Disposition",
        "Content-Encoding",
        "Content-Length",
        "Max-Forwards",
        "Record-Route",
        "Route",
        "Require",
        "Supported",
        "Event",
        "Subscription-State",
        "Refer-To",
        "Referred-By",
        "Refer-Sub",
        "Expires",
        "Retry-After",
        "Reason",
        "Allow",
        "WWW-Authenticate",
        "Proxy-Authenticate",
        "Authentication-Info",
        "Replaces",
        "Info-Package",
        "RSeq",
        "Session-Expires",
        "Warning",
        "Timestamp",
    ]
)


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[str, bytes, bytes]]:
    """Changes: replace, add or remove a header, or cut, insert and overwrite octets."""
    kinds = st.sampled_from(["set", "set", "set", "add", "remove", "cut", "insert", "body"])
    return [(draw(kinds), draw(NAMES).encode(), draw(JUNK)) for _ in range(draw(st.integers(1, 3)))]


def mutate(message: Message, changes: list[tuple[str, bytes, bytes]]) -> bytes:
    """Return the octets of *message* with *changes*."""
    head, _, body = message.encode().partition(b"\r\n\r\n")
    for kind, name, value in changes:
        lines = head.split(b"\r\n")
        mine = [number for number, line in enumerate(lines) if number and line.lower().startswith(name.lower() + b":")]
        position = sum(value) % max(1, len(head))
        match kind:
            case "remove":
                lines = [line for number, line in enumerate(lines) if number not in mine]
            case "set" if mine:
                lines[mine[0]] = name + b": " + value
            case "set" | "add":
                lines.append(name + b": " + value)
            case "body":
                body = value
        head = b"\r\n".join(lines)
        if kind == "cut":
            head = head[:position] + head[position + 7 :]
        elif kind == "insert":
            head = head[:position] + value + head[position:]
    return head + b"\r\n\r\n" + body


async def served(call: Call) -> None:
    """Answer, refer and hang up, as an application does."""
    try:
        await call.answer()
        await call.transfer("sip:x@10.0.0.3")
    except SipError:
        pass
    await call.hangup()
    await call.wait_ended()


common = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@common
@given(changes=mutations(), has_offer=st.booleans())
async def test_broken_invite_and_ack_cost_at_most_the_call(changes: list[tuple[str, bytes, bytes]], has_offer: bool) -> None:
    async with raw_stage() as stage:
        stage.agent.on_call = served
        stage.peer.answers = {"BYE": 200, "REFER": 603}
        invite = stage.peer.new("INVITE", body=OFFER if has_offer else b"")
        stage.peer.send(mutate(invite, changes))
        await asyncio.sleep(0.1)
        await stage.still_serves()
        plain = stage.peer.new("INVITE", body=b"" if has_offer else OFFER, call_id="plain")
        stage.peer.send(plain)
        ok = await stage.peer.response("200 INVITE", 5)
        while ok.call_id != "plain":
            ok = await stage.peer.response("200 INVITE", 5)
        dialog = RawDialog.as_caller(stage.peer, plain, ok)
        stage.peer.send(mutate(dialog.request("ACK", cseq=1, body=OFFER if has_offer else b""), changes))
        await stage.still_serves()


@common
@given(
    changes=mutations(), method=st.sampled_from(["BYE", "INVITE", "UPDATE", "INFO", "OPTIONS", "NOTIFY", "REFER", "ACK", "CANCEL", "PRACK"])
)
async def test_broken_request_in_a_call_costs_at_most_the_call(changes: list[tuple[str, bytes, bytes]], method: str) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        call.on_transfer_request(lambda transfer: transfer.accept())
        stage.peer.answers = {"NOTIFY": 200}
        running = stage.soon(call.transfer("sip:x@10.0.0.3"))
        stage.peer.reply(await stage.peer.request("REFER"), 202)
        request = dialog.request(method, body=OFFER if method in ("INVITE", "UPDATE") else b"")
        if method == "NOTIFY":
            request = make_notify(dialog)
        elif method == "REFER":
            request.headers.add("Refer-To", "<sip:c@d>")
        stage.peer.send(mutate(request, changes))
        await stage.still_serves()
        await asyncio.sleep(0.1)
        await call.hangup()
        await running
        await asyncio.sleep(190)  # a REFER that was taken is reported for 180 s


def make_notify(dialog: RawDialog) -> Request:
    """Make the final NOTIFY of a transfer."""
    request = dialog.request("NOTIFY", ("Event", "refer"), ("Subscription-State", "terminated;reason=noresource"))
    request.set_body(b"SIP/2.0 200 OK", "message/sipfrag")
    return request


@common
@given(changes=mutations(), statuses=st.lists(st.sampled_from([100, 180, 183, 200, 202, 302, 401, 407, 486, 699]), min_size=1, max_size=3))
async def test_broken_responses_cost_at_most_the_call(changes: list[tuple[str, bytes, bytes]], statuses: list[int]) -> None:
    async with raw_stage(credentials=(Credential("a", "b"),)) as stage:
        stage.peer.answers = {"BYE": 200, "CANCEL": 200}
        call = await stage.agent.call("sip:bob@10.0.0.2")
        invite = await stage.peer.request("INVITE")
        for status in statuses:
            stage.peer.send(mutate(answered(stage, invite, status), changes))
            await asyncio.sleep(0.05)
        await stage.still_serves()
        await call.hangup()
        stage.peer.reply(invite, 487)
        await call.wait_ended()


@common
@given(
    changes=mutations(),
    status=st.sampled_from([100, 180, 200, 202, 302, 401, 407, 481, 486, 491, 500]),
    method=st.sampled_from(["REFER", "INVITE", "INFO"]),
)
async def test_broken_responses_in_a_call_cost_at_most_the_call(changes: list[tuple[str, bytes, bytes]], status: int, method: str) -> None:
    async with raw_stage(credentials=(Credential("a", "b"),)) as stage:
        call, _ = await stage.established()
        stage.peer.answers = {"BYE": 200, "CANCEL": 200}
        verb = {"REFER": call.transfer("sip:x@10.0.0.3"), "INVITE": call.refresh(), "INFO": call.request("INFO")}
        running = stage.soon(verb.pop(method))
        for unused in verb.values():
            unused.close()
        request = await stage.peer.request(method)
        stage.peer.send(mutate(answered(stage, request, status), changes))
        await asyncio.sleep(0.2)
        await stage.still_serves()
        await call.hangup()
        try:
            async with asyncio.timeout(100):
                await running
        except SipError:
            pass


def answered(stage: RawStage, request: Request, status: int) -> Message:
    """Make a sound answer."""
    response = make_response(request, status, to_tag="peer")
    response.headers.add("Contact", stage.peer.contact)
    response.headers.add("WWW-Authenticate", 'Digest realm="x", nonce="y"')
    response.headers.add("Proxy-Authenticate", 'Digest realm="x", nonce="y"')
    if request.method == "INVITE":
        response.set_body(OFFER, "application/sdp")
    return response


@pytest.mark.parametrize("name", ["From", "To", "Call-ID", "CSeq", "Via"])
async def test_request_without_a_mandatory_header_gets_400_or_silence(name: str) -> None:
    async with raw_stage() as stage:
        _, dialog = await stage.established()
        for method in ("BYE", "INFO", "NOTIFY", "REFER", "INVITE"):
            request = dialog.request(method)
            request.headers.remove(name)
            stage.peer.send(request)
        await asyncio.sleep(0.5)
        assert set(stage.peer.unread()) <= {f"400 {method}" for method in ("BYE", "INFO", "NOTIFY", "REFER", "INVITE")}
        await stage.still_serves()
        await dialog.bye()


async def test_thousand_calls_from_one_peer_leave_nothing() -> None:
    async with raw_stage() as stage:
        stage.agent.on_call = served
        stage.peer.answers = {"BYE": 200}
        for number in range(300):
            stage.peer.send(stage.peer.new("INVITE", call_id=f"flood{number}", body=OFFER))
        await asyncio.sleep(0.1)
        assert len(stage.agent.calls) == 300
        assert header(stage.peer.all("200 INVITE")[0], "Contact")
        await stage.still_serves()
