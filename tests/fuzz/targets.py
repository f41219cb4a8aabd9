"""What is fuzzed: each target takes octets as they come from the network and raises for a defect only.

The properties: nothing but :class:`ParseError` (documents: nothing at all) leaves a parser, what parses is written and read again as the
same value, and writing that gives the same octets.
"""

import contextlib
from collections.abc import Callable, Iterable

from cxml.document import parse_with_diagnostics
from cxml.services.answer import AnswerReader
from cxml.services.fault import FaultError
from cxml.services.fragment import parse_fragment
from cxml.services.http import HttpResponse
from cxml.services.target import TargetError, parse_target
from sipua.auth.digest import Challenge, parse_auth
from sipua.errors import ParseError
from sipua.message import (
    Address,
    Broken,
    CSeq,
    Frame,
    Message,
    MessageError,
    Params,
    Ping,
    Request,
    Response,
    StreamFramer,
    Uri,
    Value,
    Via,
    make_response,
    parse_message,
)
from sipua.message.fields import delta_seconds
from sipua.message.multipart import split_parts
from sipua.message.rack import RAck, parse_rseq
from sipua.message.reason import read_reasons
from sipua.message.replaces import Replaces
from sipua.rtp.packet import build_packet, parse_packet
from sipua.sdp import LocalMedia, OfferAnswer, Refusal, parse_sdp, serialize_sdp
from sipua.sdp.machine import Answered
from sipua.transport.reject import error_response
from sipua.transport.route import stamp_request
from sipua.usage.subscription.package import NotifyInfo
from sipua.usage.subscription.sipfrag import Sipfrag, parse_sipfrag

_FIELDS = (
    "via", "vias", "from_", "to", "call_id", "cseq", "contacts", "contact", "record_route", "route", "max_forwards", "expires",
    "min_expires", "retry_after", "content_type", "content_disposition", "event", "subscription_state", "refer_to", "referred_by",
    "refer_sub", "session_expires", "supported", "require", "allow", "rack",
)  # fmt: skip
_FRAMER_LIMIT = 4096
_BODY_LIMIT = 512


def _read_fields(message: Message) -> None:
    for name in _FIELDS:
        with contextlib.suppress(ParseError):
            getattr(message, name)


def _same(one: Message, other: Message) -> None:
    assert one.start_line == other.start_line
    assert one.headers == other.headers
    assert one.body == other.body


def _refuse(fault: MessageError) -> None:
    assert 400 <= fault.status < 600
    if fault.message is not None:
        _read_fields(fault.message)
        answer = error_response(fault.message, fault.status, fault.reason, "t")
        if answer is not None:
            with contextlib.suppress(MessageError):  # what could not be read goes back as it came
                parse_message(answer.encode())


def datagram(data: bytes) -> None:
    """Read a datagram, all its fields, and answer it."""
    try:
        message = parse_message(data)
    except MessageError as fault:
        _refuse(fault)
        return
    _read_fields(message)
    assert all(reason.text.isprintable() and reason.protocol.isprintable() for reason in read_reasons(message.headers))
    with contextlib.suppress(ParseError):
        split_parts(message.body, message.content_type or Value("multipart/mixed", Params.parse("boundary=x")))
    written = message.encode()
    again = parse_message(written)
    _same(message, again)
    assert again.encode() == written
    if isinstance(message, Request):
        stamp_request(message, "192.0.2.1", 5060)
        answer = make_response(message, 400, to_tag="t")
        read = parse_message(answer.encode())
        assert isinstance(read, Response)
        assert (read.call_id, read.cseq, read.status) == (message.call_id, message.cseq, 400)
        with contextlib.suppress(ParseError):
            NotifyInfo.from_request(message)


def _feed(pieces: Iterable[bytes]) -> list[Frame]:
    framer = StreamFramer(_FRAMER_LIMIT)
    frames: list[Frame] = []
    for piece in pieces:
        frames += framer.feed(piece)
        if frames and isinstance(frames[-1], Broken) and frames[-1].fatal:
            break
    return frames


def _shape(frame: Frame) -> object:
    if isinstance(frame, Broken):
        return ("broken", frame.fatal)  # a limit may be met earlier in a piece; the fault that is named differs then
    return "ping" if isinstance(frame, Ping) else frame.encode()


def stream(data: bytes) -> None:
    """Read a stream as a whole and in pieces, whose size its length says."""
    step = len(data) % 61 + 1
    whole = _feed([data])
    pieces = _feed(data[start : start + step] for start in range(0, len(data), step))
    if len(data) <= _FRAMER_LIMIT:  # beyond it the size of a piece decides when a head is too large
        assert [_shape(frame) for frame in whole] == [_shape(frame) for frame in pieces]
    for frame in whole:
        if isinstance(frame, Message):
            _read_fields(frame)
            _same(frame, parse_message(frame.encode()))


def sdp(data: bytes) -> None:
    """Read a description, write it, and answer it as an offer."""
    try:
        session = parse_sdp(data)
    except ParseError:
        return
    written = serialize_sdp(session)
    again = parse_sdp(written)
    assert again == session
    assert serialize_sdp(again) == written
    machine = OfferAnswer(LocalMedia("192.0.2.7", 30000), session_id=7)
    refusal = machine.receive_offer(session)
    if refusal is None:
        answered = machine.make_answer()
        assert isinstance(answered, Answered)
        answer = answered.description
        assert len(answer.media) == len(session.media)
        assert parse_sdp(serialize_sdp(answer)) == answer
    else:
        assert 400 <= refusal.status < 700
    offering = OfferAnswer(LocalMedia("192.0.2.7", 30000), session_id=7)
    offering.make_offer()
    result = offering.receive_answer(session)
    assert not isinstance(result, Refusal) or result.text


def sipfrag(data: bytes) -> None:
    """Read the body of a NOTIFY; the first line of *data* is its Content-Type, an empty one: none."""
    kind, _, body = data.partition(b"\n")
    fragment = parse_sipfrag(kind.decode("utf-8", "surrogateescape") or None, body)
    if isinstance(fragment, Sipfrag):
        assert 100 <= fragment.status <= 699
        assert fragment.reason.isprintable()
        assert all(name.isprintable() and value.isprintable() for name, value in fragment.headers)
    else:
        assert fragment.answer in (200, 400, 415)
        assert fragment.why.isprintable()


def document(data: bytes) -> None:
    """Read a document: a document or a fatal diagnostic, and no line of a diagnostic is unprintable."""
    parsed = parse_with_diagnostics(data, "http://192.0.2.1/voice")
    assert (parsed.document is None) == any(diagnostic.fatal for diagnostic in parsed.diagnostics)
    for diagnostic in parsed.diagnostics:
        assert str(diagnostic).isprintable()
    assert parse_with_diagnostics(data, "http://192.0.2.1/voice") == parsed


def _round(parse: Callable[[str], object], text: str) -> None:
    value = parse(text)
    written = str(value)
    assert parse(written) == value, written
    assert str(parse(written)) == written


def _uri(text: str) -> None:
    uri = Uri.parse(text)
    assert str(uri) == text
    assert uri.matches(uri)
    assert Uri.parse(str(uri.as_request_uri())).headers is None or not uri.is_sip
    _ = uri.unescaped_user, uri.bare_host, uri.transport


def _challenge(text: str) -> None:
    parse_auth(text)
    Challenge.parse(text)


def _webhook(text: str) -> None:
    try:
        target = parse_target(text)
    except TargetError:
        return
    assert target == parse_target(text)
    parse_fragment(text)


_VALUES: tuple[Callable[[str], object], ...] = (
    lambda text: _round(Address.parse, text),
    Address.parse_list,
    lambda text: _round(Via.parse, text),
    lambda text: _round(CSeq.parse, text),
    lambda text: _round(Params.parse, text),
    lambda text: _round(Value.parse, text),
    _uri,
    _challenge,
    delta_seconds,
    _webhook,
    lambda text: _round(RAck.parse, text),
    lambda text: _round(Replaces.parse, text),
    parse_rseq,
)
_MOST_VALUES = 32  # room for more: the first octet of a kept input goes on to mean the same


def value(data: bytes) -> None:
    """Read the value of a header, a URI, credentials or a webhook's URL; the first octet says which."""
    if data and data[0] % _MOST_VALUES < len(_VALUES):
        with contextlib.suppress(ParseError):
            _VALUES[data[0] % _MOST_VALUES](data[1:].decode("utf-8", "surrogateescape"))


def rtp(data: bytes) -> None:
    """Read an RTP packet."""
    try:
        packet = parse_packet(data)
    except ParseError:
        return
    assert parse_packet(build_packet(packet)) == packet


def answer(data: bytes) -> None:
    """Read the answer of a web server as it comes in one piece, and in pieces of a size that its first octet gives."""
    size = 1 + data[0] % 16 if data else 1
    whole, pieces = _answer([data]), _answer([data[at : at + size] for at in range(0, len(data), size)])
    if whole is None or pieces is None:
        return
    assert (whole.status, whole.headers, whole.cookies) == (pieces.status, pieces.headers, pieces.cookies)
    if whole.trouble is None and pieces.trouble is None:
        assert whole.body == pieces.body


def _answer(pieces: list[bytes]) -> HttpResponse | None:
    reader = AnswerReader()
    reader.start(_BODY_LIMIT)
    try:
        there = any(reader.feed(piece) for piece in pieces) or reader.end()
    except FaultError:
        return None
    finally:
        reader.close()
    found = reader.response() if there else None
    assert found is None or len(found.body) <= _BODY_LIMIT
    return found


TARGETS: dict[str, Callable[[bytes], None]] = {
    "datagram": datagram,
    "stream": stream,
    "sdp": sdp,
    "sipfrag": sipfrag,
    "document": document,
    "value": value,
    "rtp": rtp,
    "answer": answer,
}
