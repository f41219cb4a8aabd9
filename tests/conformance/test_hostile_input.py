"""Malformed SIP against a running daemon: the RFC's answer or silence, and calls go on afterwards.

The messages are this project's own; tests/sipua/message has those of RFC 4475.
"""

import asyncio
import logging
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxml.calls.registry import CallLimits
from sipua.message import parse_message
from tests.support.pbx import EMPTY, REFER_DOCUMENT, Application, Stage, refer_after
from tests.support.wire import Wire

pytestmark = pytest.mark.looptime

QUIET_S = 70.0
THINK = "<Response><Pause length='2'/><Reject/></Response>"


def line(name: str, value: str | None, method: str = "INVITE") -> Callable[[Wire], str]:
    """Return a maker of a request whose header *name* is *value*, or absent."""

    def make(wire: Wire) -> str:
        text = wire.invite() if method == "INVITE" else wire.request(method)
        head, _, body = text.partition("\r\n\r\n")
        lines = [one for one in head.split("\r\n") if not one.startswith(f"{name}:")]
        if value is not None:
            lines.insert(1, f"{name}: {value}")
        return "\r\n".join(lines) + "\r\n\r\n" + body

    return make


def first(text: str) -> Callable[[Wire], str]:
    """Return a maker of an INVITE with another first line."""
    return lambda wire: text + wire.invite().removeprefix("INVITE sip:1000@10.0.0.1 SIP/2.0")


def replaced(old: str, new: str) -> Callable[[Wire], str]:
    return lambda wire: wire.invite().replace(old, new)


def extra(*lines: str) -> Callable[[Wire], str]:
    return lambda wire: wire.invite(extra=lines)


VIA = "SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKx"

MESSAGES: dict[str, tuple[Callable[[Wire], str | bytes], set[int]]] = {
    # what has no answer: nothing says where to send it, or it is no request
    "nothing": (lambda _: b"", set()),
    "a keep-alive": (lambda _: b"\r\n\r\n", set()),
    "line ends only": (lambda _: b"\r\n" * 100, set()),
    "zeros": (lambda _: b"\x00" * 500, set()),
    "no Via": (line("Via", None), set()),
    "a first line only": (lambda _: b"INVITE sip:a@b SIP/2.0\r\n\r\n", set()),
    "HTTP": (lambda _: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", set()),
    "a stray response": (lambda w: w.request("OPTIONS").replace("OPTIONS sip:1000@10.0.0.1 SIP/2.0", "SIP/2.0 200 OK", 1), set()),
    "a stray ACK": (lambda w: w.request("ACK", to_tag="x"), set()),
    "a broken ACK": (line("CSeq", "x ACK", "ACK"), set()),
    "a status that is none": (lambda w: w.request("OPTIONS").replace("OPTIONS sip:1000@10.0.0.1 SIP/2.0", "SIP/2.0 99999 OK", 1), set()),
    # 400 and its kin
    "no From": (line("From", None), {400}),
    "no To": (line("To", None), {400}),
    "no Call-ID": (line("Call-ID", None), {400}),
    "no CSeq": (line("CSeq", None), {400}),
    "CSeq without method": (line("CSeq", "1"), {400}),
    "CSeq of another method": (line("CSeq", "1 BYE"), {400}),
    "CSeq that is no number": (line("CSeq", "one INVITE"), {400}),
    "CSeq beyond 2**31": (line("CSeq", "99999999999999 INVITE"), {400}),
    "a negative CSeq": (line("CSeq", "-1 INVITE"), {400}),
    "two Call-IDs": (extra("Call-ID: other"), {400}),
    "two From": (extra("From: <sip:a@b>;tag=q"), {400}),
    "a broken From": (line("From", "<<sip:9@10.0.0.9;tag=1"), {400}),
    "a From that never closes its quotes": (line("From", '"unclosed <sip:9@10.0.0.9>;tag=1'), {400}),
    "a broken To": (line("To", "<sip:"), {400}),
    "a broken Contact": (line("Contact", "<sip:@@@>"), {400}),
    "no Contact": (line("Contact", None), {400}),
    "a broken Record-Route": (extra("Record-Route: <<>>"), {400}),
    "a negative Content-Length": (replaced("Content-Length: ", "Content-Length: -"), {400}),
    "a Content-Length beyond the datagram": (replaced("Content-Length: ", "Content-Length: 9"), {400}),
    "a header without colon": (extra("this is no header"), {400}),
    "a header with a space in its name": (extra("Bad Name: x"), {400}),
    "Max-Forwards that is no number": (line("Max-Forwards", "many"), {400}),
    "a Request-URI with spaces": (first("INVITE sip:10 00@10.0.0.1 SIP/2.0"), {400}),
    "a Request-URI in brackets": (first("INVITE <sip:1000@10.0.0.1> SIP/2.0"), {400}),
    "an empty host": (first("INVITE sip:1000@ SIP/2.0"), {400}),
    "a port beyond 65535": (first("INVITE sip:1000@10.0.0.1:99999 SIP/2.0"), {400}),
    # the other refusals
    "another version": (first("INVITE sip:1000@10.0.0.1 SIP/7.0"), {505}),
    "an unknown scheme": (first("INVITE news:comp.protocols SIP/2.0"), {416}),
    "an unknown method": (lambda w: w.request("BREW"), {405, 501}),
    "a required extension": (extra("Require: teleportation"), {420}),
    "Max-Forwards 0 is nothing to a user agent": (line("Max-Forwards", "0"), {603}),
    "a body of another kind": (replaced("application/sdp", "application/x-brew"), {415}),
    "a body that is no SDP": (lambda w: w.invite(sdp="hello there"), {400, 488, 603}),
    "an encoded body": (extra("Content-Encoding: brotli"), {415}),
    # what is odd and has to be taken
    "a From without tag": (line("From", "<sip:9@10.0.0.9>"), {603}),  # RFC 3261 §12.1.1: peers of RFC 2543
    "two Contacts": (line("Contact", "<sip:a@10.0.0.9>, <sip:b@10.0.0.9>"), {603}),
    "a long Subject": (extra("Subject: " + "x" * 8000), {603}),
    "compact names": (
        lambda w: w.invite().replace("Via:", "v:").replace("From:", "f:").replace("To:", "t:").replace("Call-ID:", "i:"),
        {603},
    ),
    "folded headers": (replaced("Max-Forwards: 70", "Max-Forwards:\r\n  70"), {603}),
    "odd case": (replaced("Max-Forwards: 70", "mAX-fORWARDS   :   70"), {603}),
    "line feeds only": (lambda w: w.invite().replace("\r\n", "\n"), {400, 603}),
    "undecodable octets": (lambda w: w.invite(extra=("Subject: @@",)).encode().replace(b"@@", b"\xff\xfe\x80"), {603}),
    "junk after the body": (lambda w: w.invite() + "\r\nINVITE junk", {603}),
    "a terminal's escapes": (extra("Subject: \x1b[2J\x07"), {603}),
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_a_broken_message_gets_its_answer_or_silence_and_calls_go_on(name: str, caplog: pytest.LogCaptureFixture) -> None:
    make, expected = MESSAGES[name]
    async with Stage(Application({"/voice": THINK})) as stage:
        wire = await Wire().open(stage.network)
        text = make(wire)
        wire.send(text)
        await asyncio.sleep(3)
        # by their first lines: an answer copies the headers of its request, broken ones included
        finals = {int(data[8:11]) for data in wire.received if data.startswith(b"SIP/2.0 ") and data[8:9] != b"1"}
        assert finals <= expected
        assert bool(finals) == bool(expected)
        assert (await stage.pbx.options("sip:10.0.0.1")).status == 200
        await asyncio.sleep(QUIET_S)
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
        assert stage.daemon.transactions.statistics.user_faults == 0
        assert stage.daemon.transports.counters["user_errors"] == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("name", MESSAGES)
async def test_a_broken_message_in_the_middle_of_a_transfer_changes_nothing(name: str) -> None:
    make, _ = MESSAGES[name]
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})) as stage:
        wire = await Wire().open(stage.network)
        call = await stage.dial()
        call.on_transfer_request(refer_after((1.0, 486)))
        await asyncio.sleep(0.5)
        wire.send(make(wire))
        wire.close()
        await call.wait_ended()
        done = [params for params in stage.application.of("/done") if params["SipCallId"] == call.id]
        assert [params["CxmldReferOutcome"] for params in done] == ["busy"]


def mutants(rng: random.Random, seeds: list[bytes], count: int) -> list[bytes]:
    """Return *count* messages made of *seeds* by cutting, doubling, swapping and overwriting octets and lines."""
    made = []
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data) or 1)
            match rng.randrange(6):
                case 0:
                    data[at : at + rng.randint(1, 8)] = rng.randbytes(rng.randint(0, 8))
                case 1:
                    del data[at : at + rng.randint(1, 60)]
                case 2:
                    data[at:at] = data[: rng.randint(1, 200)]
                case 3:
                    data[at:at] = rng.choice([b"\r\n", b"\x00", b";", b",", b"<", b'"', b"\xff", b": ", b"\r\n\r\n", b"%", b"[", b"9" * 30])
                case 4:
                    lines = bytes(data).split(b"\r\n")
                    rng.shuffle(lines)
                    data = bytearray(b"\r\n".join(lines))
                case _:
                    del data[at:]
        made.append(bytes(data))
    return made


def valid_messages(wire: Wire) -> list[bytes]:
    texts = [wire.invite(), wire.request("OPTIONS"), wire.request("BYE", to_tag="x"), wire.request("CANCEL"), wire.request("ACK")]
    texts.append(wire.request("NOTIFY", to_tag="x", extra=("Event: refer", "Subscription-State: active")))
    texts.append(wire.request("REFER", extra=("Refer-To: <sip:a@b>",)))
    texts.append(wire.request("OPTIONS").replace("OPTIONS sip:1000@10.0.0.1 SIP/2.0", "SIP/2.0 200 OK", 1))
    return [text.encode() for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_two_thousand_mutants_leave_the_daemon_as_it_was(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    async with Stage(Application({"/voice": THINK}), record=False) as stage:
        wire = await Wire().open(stage.network)
        for number, mutant in enumerate(mutants(random.Random(seed), valid_messages(wire), 2000)):
            wire.send(mutant)
            if number % 50 == 0:
                await asyncio.sleep(0.2)
                assert stage.daemon.transactions.server_count < 2000
        await asyncio.sleep(1)
        assert stage.daemon.transports.counters["received"] > 100
        assert stage.daemon.transports.counters["rejected"] > 20
        assert (await stage.pbx.options("sip:10.0.0.1")).status == 200
        await asyncio.sleep(QUIET_S * 2)
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
        assert stage.daemon.transactions.statistics.user_faults == 0
        assert stage.daemon.transports.counters["user_errors"] == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.slow
async def test_mutants_over_streams_end_their_own_connection_only() -> None:
    rng = random.Random(5)
    async with Stage(Application({"/voice": THINK}), record=False) as stage:

        class Receiver:
            def on_data(self, data: bytes) -> None:
                """Of no interest."""

            def on_closed(self) -> None:
                """Expected."""

        for mutant in mutants(rng, [data.replace(b"/UDP", b"/TCP") for data in valid_messages(Wire())], 400):
            stream = await stage.network.host("10.0.0.9").connect_tcp("10.0.0.1", 5060, lambda _stream: Receiver())
            stream.write(mutant)
            await asyncio.sleep(0.02)
            stream.close()
        assert (await stage.pbx.options("sip:10.0.0.1;transport=tcp")).status == 200
        await asyncio.sleep(QUIET_S * 2)
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)


@given(st.data())
@settings(max_examples=40)
async def test_any_octets_within_a_call_do_not_disturb_it(data: st.DataObject) -> None:
    """The peer of a running transfer says anything, with the right tags."""
    async with Stage(Application({"/voice": REFER_DOCUMENT, "/done": EMPTY})) as stage:
        wire = await Wire().open(stage.network)
        wire.send(wire.invite())
        ok = await wire.final("INVITE")
        wire.ack(ok)
        refer = await wire.request_of("REFER")
        wire.answer(refer, 202)
        body = data.draw(st.one_of(st.binary(max_size=80), st.sampled_from([b"SIP/2.0 100", b"SIP/2.0 9999 X", b"SIP/2.0", b""])))
        clean = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=30)
        event = data.draw(st.one_of(st.just("refer"), st.just(f"refer;id={refer.cseq.number}"), clean))
        state = data.draw(st.one_of(st.sampled_from(["active", "terminated;reason=noresource", "pending", "active;expires=x"]), clean))
        extra_lines = (f"Event: {event}", f"Subscription-State: {state}", "Content-Type: message/sipfrag")
        text = wire.request("NOTIFY", number=2, to_tag=ok.to.tag, extra=extra_lines).encode()
        wire.send(text.replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: %d\r\n\r\n" % len(body)) + body)
        await asyncio.sleep(1)
        wire.send(wire.request("BYE", number=3, call_id=ok.call_id, to_tag=ok.to.tag))
        assert (await wire.final("BYE")).status in (200, 481)  # 481: what we sent was a result, and the daemon hung up first
        await asyncio.sleep(QUIET_S + 200)  # the subscription may go on for 180 s
        assert len(stage.application.of("/done")) == 1
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
        for sent in wire.received:
            parse_message(sent)


@pytest.mark.slow
async def test_a_flood_of_calls_keeps_dialogs_and_transactions_within_the_limits() -> None:
    limits = CallLimits(max_calls=10, max_calls_per_s=50)
    async with Stage(Application({"/voice": THINK}), limits=limits, record=False) as stage:
        wire = await Wire().open(stage.network)
        stranger = await Wire("192.0.2.66").open(stage.network)
        most = 0
        for number in range(3000):
            (wire if number % 2 else stranger).send(wire.invite(call_id=f"flood{number}"))
            if number % 100 == 0:
                await asyncio.sleep(0.1)
                most = max(most, len(stage.daemon.dialogs))
                assert len(stage.registry) <= 10
        assert 0 < most <= 10
        # nobody acknowledges the refusals: each is kept until timer H, then nothing is left
        assert (await stage.pbx.options("sip:10.0.0.1")).status == 200
        await asyncio.sleep(QUIET_S)
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
        assert stage.observer.refused.count("stranger") == 1500
