"""What nearly all peers send is read by a shorter way than the rest of the grammar, and reads the same."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.message import Address, CSeq, Headers, MessageError, Params, Request, Response, Uri, Value, Via, parse_message, parser
from sipua.message.memory import MAX_CHARACTERS, MAX_REMEMBERED, Memory
from tests.support.strategies import addresses, params, requests, responses, uris, vias

ODD = st.sampled_from(
    [*" \t\r\n\0\x1c\x85\xa0;=,:@<>\"'\\/[]%?&*-._aZ09é٣", ";;", "\r\n", "\r\n ", '""', "SIP/2.0", "<sip:", ">;tag=", "z9hG4bK"]
)
"""What the grammar gives a meaning to, and what it has no place for."""


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """Return a text with up to three odd pieces put in or characters taken out."""
    text = draw(texts)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(text)))
        piece = draw(ODD | st.just(""))
        text = text[:place] + piece + text[place + (1 if not piece else 0) :]
    return text


def outcome(parse: Callable[[str], object], text: str) -> object:
    """Return what *text* is parsed to, or the reason and status of its refusal."""
    try:
        return parse(text)
    except ParseError as error:
        return error.reason, error.status


@given(damaged(params().map(str)))
@example(";a=b=c;d=;e")
@example(";" + ";".join(["a"] * 65))
@example(";a\x1cb=1")
@example(";\x1ctag=x")
@example(";tag=x\u180e")
@example(";tag\u2028=x")
def test_parameters(text: str) -> None:
    assert outcome(Params.parse, text) == outcome(Params.parse_any, text)


@given(damaged(addresses().map(str)))
@example('"a\\"b" <sip:x@y>')
@example('" a " <sip:x@y>;tag=1 ')
@example('Al <sip:x@y;lr>;tag="<;>"')
@example("<sip:x@y>tag=1")
def test_addresses(text: str) -> None:
    assert outcome(Address.parse, text) == outcome(Address.parse_any, text)


@given(damaged(vias().map(str)))
@example("SIP/2.0/UDP h:65536")
@example("SIP/2.0/UDP h:0;rport")
@example("SIP/2.0/UDP h-;rport")
@example("SIP/2.0/UDP h;branch=z9hG4bK1\u180e")
def test_vias(text: str) -> None:
    assert outcome(Via.parse, text) == outcome(Via.parse_any, text)


@given(damaged(uris().map(str)))
def test_uris(text: str) -> None:
    for _ in range(2):
        first, again = outcome(Uri.parse, text), outcome(Uri.parse_any, text)
        assert first == again
        if isinstance(first, Uri) and isinstance(again, Uri):
            assert [getattr(first, name) for name in Uri.__slots__] == [getattr(again, name) for name in Uri.__slots__]


@given(damaged(params().map(lambda made: f"refer{made}")))
def test_values(text: str) -> None:
    assert outcome(Value.parse, text) == outcome(Value.parse_any, text)


@given(damaged(st.builds(CSeq, st.integers(0, 2**33), st.sampled_from(["INVITE", "ACK", "X-y"])).map(str)))
@example("٣ ACK")
@example("0000000001 ACK")
def test_cseqs(text: str) -> None:
    assert outcome(CSeq.parse, text) == outcome(CSeq.parse_any, text)


def whole(data: bytes) -> object:
    """Return all of what a datagram is parsed to, or what is known of a broken one."""
    try:
        message: object = parse_message(data)
    except MessageError as error:
        return error.reason, error.status, parts(error.message)
    return parts(message)


def parts(message: object) -> object:
    """Return what a message consists of, and what its map of headers says of repetitions and first lines."""
    if not isinstance(message, Request | Response):
        return message
    headers = message.headers
    firsts = [headers.get(name.swapcase()) for name, _ in headers]
    return type(message), message.start_line, list(headers), firsts, headers.has_repetitions, message.body


@given(damaged((requests() | responses()).map(lambda message: message.encode().decode("utf-8", "surrogateescape"))))
@example("OPTIONS sip:a SIP/2.0\r\nVia: a\r\nl: 5 \r\n\r\nabcdef")
@example("OPTIONS sip:a SIP/2.0\r\nVia: a\r\nContent-Length:     3\r\n\r\nabcdef")
@example("OPTIONS sip:a SIP/2.0\r\nA: b:  c\r\nContent-Length:     3\r\n\r\nabcdef")
@example("OPTIONS sip:a SIP/2.0\r\nVia: a\r\nl:   0\r\nContent-Length:   1\r\n\r\nabcdef")
@example("OPTIONS sip:a SIP/2.0\r\nVia: a\r\nVia: b\r\nContent-Length:   00003\r\n\r\nabcdef")
@example("OPTIONS sip:a SIP/2.0\r\nVia: a\r\nContent-Length:   \r\n\r\nabcdef")
@example("OPTIONS sip:a SIP/2.0\r\nVia: a\r\nContent-Length:  - 1\r\n\r\nabcdef")
@example("SIP/2.0 200 O\rK\r\nA: b\r\n\r\n")
@example("SIP/2.0 200 \r\nA: b\nC: d\n\r\n\r\n")
@example("OPTIONS sip:a SIP/2.0\r\nA: b\nC: d\n\r\n\r\nx")
@example("OPTIONS sip:a SIP/2.0\r\nVia: a\r\nvia: b\r\nContent-length: 1\r\n\r\nxy")
@example("OPTIONS sip:a SIP/2.0\r\nTo: b\r\nContent-Length:     2\r\n\r\nxyz")
@example("OPTIONS sip:a SIP/2.0\r\nTo:  b\r\nContent-Length:     2\r\n\r\nxyz")
@example("OPTIONS sip:a SIP/2.0\r\nX: a\r\nX: b\r\nContent-Length:  \r\n\r\nxyz")
@example("OPTIONS sip:a SIP/2.0\r\nTo:  b\r\nX Y: c\r\n\r\n")
@example("OPTIONS  SIP/2.0 SIP/2.0\r\nX-a: 1\r\nx-A : 2 \t\r\nVia:\r\n\r\n")
@example("OPTIONS sip:a SIP/2.0\r\nA: b\rc\r\n\n\r\n")
def test_messages(text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    found = whole(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parser, "_plain_head", lambda _text: None)
        assert found == whole(data)


def test_a_padded_length_is_no_detour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "_parse_any_head", lambda _text: pytest.fail("the long way"))
    for fields in (b"CSeq: 1 OPTIONS\r\nContent-Length:     3", b"v: SIP/2.0/UDP h2\r\nCSeq: 1 OPTIONS\r\nContent-Length:    3"):
        head = b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\n"
        message = parse_message(head + fields + b"\r\n\r\nabc")
        assert message.body == b"abc"
        assert "Content-Length" not in message.headers


def test_an_ordinary_message_is_read_by_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "_parse_any_head", lambda _text: pytest.fail("the long way"))
    message = parse_message(
        b"OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h\r\nf: <sip:a@b>;tag=1\r\nt: <sip:a@b>\r\ni: 1\r\nCSEQ: 1 OPTIONS\r\n"
        b"Content-Length:   0\r\n\r\n"
    )
    assert message.headers == Headers(
        [("Via", "SIP/2.0/UDP h"), ("From", "<sip:a@b>;tag=1"), ("To", "<sip:a@b>"), ("Call-ID", "1"), ("CSeq", "1 OPTIONS")]
    )


# --- what is remembered


def test_a_memory_parses_once_and_forgets_what_was_not_asked_for_long() -> None:
    parsed: list[str] = []

    def parse(text: str) -> str:
        parsed.append(text)
        return text.upper()

    memory = Memory(parse)
    for number in range(2 * MAX_REMEMBERED):
        assert memory.read("often") == "OFTEN"
        assert memory.read(str(number)) == str(number)
        assert len(memory) <= MAX_REMEMBERED
    assert parsed.count("often") == 1
    assert memory.read("0") == "0"
    assert parsed.count("0") == 2


def test_long_texts_and_refusals_are_not_remembered() -> None:
    def parse(text: str) -> str:
        if not text:
            raise ParseError("nothing")
        return text

    memory = Memory(parse)
    assert memory.read("x" * (MAX_CHARACTERS + 1))
    for _ in range(2):
        with pytest.raises(ParseError):
            memory.read("")
    assert len(memory) == 0
    memory.note("a", "b")
    assert memory.read("a") == "b"
