"""Answers by what is known of offers like it are the ones that the machine works out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.sdp import Direction, LocalMedia, OfferAnswer, Refusal, parse_sdp, serialize_sdp
from sipua.sdp.first import MAX_BYTES, FirstAnswers, head_of, read_offer
from sipua.sdp.machine import FIRST_ANSWERS
from sipua.sdp.model import Codec

ORIGINS = (
    "- 5 1 IN IP4 192.0.2.20",
    "root 1889 1889 IN IP4 192.0.2.21",
    "x 99999999999999999999 2 IN IP6 ::1",
    "- 5 1 IN IP4",
    "- 5  1 IN IP4 h",
    "- ü 1 IN IP4 h",
)
ADDRESSES = (
    "IN IP4 192.0.2.20",
    "IN IP4 198.51.100.7",
    "IN IP4 0.0.0.0",
    "IN IP6 ::",
    "IN IP6 2001:db8::5",
    "IN IP4 host.example",
    "IN IP4 224.0.0.1/127",
    "IN IP4 1.2.3.4 ",
)
PORTS = ("20000", "4000", "65535", "65536", "0", "9", "007", "4000/2")
FORMATS = ("0", "8 0 101", "0 8 18 101", "18", "101", "9 96 0", "")
LINES = (
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:101 telephone-event/8000",
    "a=rtpmap:96 PCMA/8000",
    "a=fmtp:101 0-16",
    "a=ptime:30",
    "a=maxptime:20",
    "a=sendonly",
    "a=inactive",
    "a=sendrecv",
    "b=AS:64",
    "i=title",
    "c=IN IP4 203.0.113.9",
    " c=IN IP4 203.0.113.10",
    "m=video 3000 RTP/AVP 31",
    "m=audio 3002 RTP/AVP 0",
    "a=x:c=1",
    "bad",
)
BEFORE = ("t=0 0", "t=5 6", "b=AS:9", "a=sendonly", "a=x:ü", "s=PBX", "k=clear:x", "c=IN IP4 203.0.113.11")

values = st.tuples(st.sampled_from(ORIGINS), st.sampled_from(ADDRESSES), st.sampled_from(PORTS))
common = st.tuples(st.sampled_from(ORIGINS[:3]), st.sampled_from(ADDRESSES[:2]), st.sampled_from(PORTS[:3]))
shapes = st.tuples(
    st.lists(st.sampled_from(BEFORE), max_size=3),
    st.sampled_from(("RTP/AVP", "RTP/AVPF", "RTP/SAVP")),
    st.sampled_from(FORMATS),
    st.lists(st.sampled_from(LINES), max_size=6),
    st.sampled_from(("\r\n", "\r\n", "\r\n", "\n", "\r")),
)
Values = tuple[str, str, str]
Shape = tuple[list[str], str, str, list[str], str]
Result = bytes | Refusal | str


def offer_of(shape: Shape, given_values: Values) -> bytes:
    before, protocol, formats, lines, end = shape
    origin, connection, port = given_values
    return end.join(
        ["v=0", f"o={origin}", "s=-", f"c={connection}", "t=0 0", *before, f"m=audio {port} {protocol} {formats}", *lines, ""]
    ).encode()


def local(direction: Direction = Direction.SENDRECV, address: str = "192.0.2.7", port: int = 30000) -> LocalMedia:
    return LocalMedia(address, port, direction)


def answer(made: OfferAnswer, offer: bytes) -> Result:
    try:
        return made.answer(offer)
    except ParseError as error:
        return str(error)


def work_out(made: OfferAnswer, offer: bytes) -> Result:
    """The long way."""
    try:
        refusal = made.receive_offer(parse_sdp(offer))
    except ParseError as error:
        return str(error)
    return refusal or serialize_sdp(made.make_answer().description)


def later(made: OfferAnswer) -> list[object]:
    """What the machine knows, and what it says next."""
    known: list[object] = [
        made.state,
        made.current,
        made.is_on_hold,
        made.local_description,
        made.remote_description,
    ]
    if made.current is not None:
        known.append(made.hold())
        made.rollback()
        known.append(made.make_offer(full=True))
    return known


@given(shape=shapes, first=values, second=values, direction=st.sampled_from(Direction))
def test_an_offer_gets_the_answer_that_the_machine_works_out(shape: Shape, first: Values, second: Values, direction: Direction) -> None:
    for number, given_values in enumerate((first, second, first)):
        offer = offer_of(shape, given_values)
        quick, slow = (OfferAnswer(local(direction), session_id=70 + number, version=4) for _ in range(2))
        assert answer(quick, offer) == work_out(slow, offer)
        assert later(quick) == later(slow)


@given(shape=shapes, first=common, second=common, direction=st.sampled_from(Direction))
def test_offers_of_one_kind_get_the_same_answers_as_by_the_long_way(
    shape: Shape, first: Values, second: Values, direction: Direction
) -> None:
    answer(OfferAnswer(local(direction), session_id=1), offer_of(shape, first))
    offer = offer_of(shape, second)
    quick, slow = (OfferAnswer(local(direction, "192.0.2.9", 4444), session_id=5) for _ in range(2))
    assert answer(quick, offer) == work_out(slow, offer)
    assert later(quick) == later(slow)


def test_a_pbx_whose_offers_differ_in_numbers_and_addresses_is_known_after_its_first() -> None:
    shape: Shape = ([], "RTP/AVP", "8 0 101", ["a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000", "a=ptime:20"], "\r\n")
    OfferAnswer(local(), 1).answer(offer_of(shape, (ORIGINS[0], ADDRESSES[0], "20000")))
    before = len(FIRST_ANSWERS)
    made = OfferAnswer(local(), 2)
    made.answer(offer_of(shape, (ORIGINS[1], ADDRESSES[1], "20002")))
    assert len(FIRST_ANSWERS) == before
    assert made._writer is None
    assert made.current is not None
    assert (made.current.remote_address, made.current.remote_port) == ("198.51.100.7", 20002)


def test_what_depends_on_us_is_not_taken_from_another() -> None:
    shape: Shape = ([], "RTP/AVP", "0 8 101", ["a=rtpmap:101 telephone-event/8000"], "\r\n")
    offer = offer_of(shape, (ORIGINS[0], ADDRESSES[0], "20000"))
    ends = [
        local(),
        local(Direction.INACTIVE),
        LocalMedia("192.0.2.7", 30000, codecs=(Codec.PCMA,)),
        LocalMedia("192.0.2.7", 30000, dtmf=False),
        LocalMedia("192.0.2.7", 30000, ptime=30),
        local(address="2001:db8::1"),
    ]
    for end in ends * 2:
        assert answer(OfferAnswer(end, 3), offer) == work_out(OfferAnswer(end, 3), offer)


def test_a_second_offer_of_a_dialog_is_worked_out() -> None:
    shape: Shape = ([], "RTP/AVP", "0", [], "\r\n")
    quick, slow = OfferAnswer(local(), 3), OfferAnswer(local(), 3)
    for port in ("20000", "20002", "20002"):
        offer = offer_of(shape, (ORIGINS[0], ADDRESSES[0], port))
        assert answer(quick, offer) == work_out(slow, offer)
        assert later(quick) == later(slow)
        quick.rollback()
        slow.rollback()


@pytest.mark.parametrize("body", [b"", b"v=0", b"v=0\r\no=- 1 1 IN IP4 h\r\nm=audio 1 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n", b"\xff" * 40])
def test_other_bodies_are_not_read(body: bytes) -> None:
    assert read_offer(body) is None


def test_a_long_offer_is_not_remembered() -> None:
    shape: Shape = ([], "RTP/AVP", "0", ["a=x:" + "y" * MAX_BYTES], "\r\n")
    assert read_offer(offer_of(shape, (ORIGINS[0], ADDRESSES[0], "20000"))) is None


def test_so_many_kinds_are_remembered_and_no_more() -> None:
    known = FirstAnswers(limit=3)
    head = head_of(local(), 1, 1, local())
    for number in range(10):
        body = offer_of(([], "RTP/AVP", "0", [f"a=x:{number}"], "\r\n"), (ORIGINS[0], ADDRESSES[0], "20000"))
        offer = read_offer(body)
        assert offer is not None
        made = OfferAnswer(local(), 1)
        assert made.receive_offer(parse_sdp(body)) is None
        answered = made.make_answer()
        known.learn(offer, local(), head, serialize_sdp(answered.description).decode(), answered.negotiated)
        found = known.find(offer, local())
        assert found is not None
        assert (found.text(head, local()), found.settled(offer)) == (serialize_sdp(answered.description), answered.negotiated)
    assert len(known) == 3
