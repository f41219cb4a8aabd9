"""Session descriptions: text to model and back (RFC 8866)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.sdp import (
    Attribute,
    Connection,
    Direction,
    MediaDescription,
    Origin,
    RtpMap,
    SessionDescription,
    parse_sdp,
    serialize_sdp,
)
from sipua.sdp.parser import MAX_LINE_LENGTH, MAX_LINES, MAX_MEDIA, MAX_SDP_BYTES

PBX_OFFER = b"""v=0\r
o=- 3020111 3020111 IN IP4 192.0.2.20\r
s=PBX\r
c=IN IP4 192.0.2.20\r
t=0 0\r
m=audio 20014 RTP/AVP 0 8 101\r
a=rtpmap:0 PCMU/8000\r
a=rtpmap:8 PCMA/8000\r
a=rtpmap:101 telephone-event/8000\r
a=fmtp:101 0-16\r
a=ptime:20\r
a=maxptime:140\r
a=sendrecv\r
"""


def sdp(*lines: str) -> bytes:
    return "\r\n".join(("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", *lines, "")).encode()


def test_an_offer_of_a_pbx_is_read_in_full() -> None:
    session = parse_sdp(PBX_OFFER)
    assert session.origin == Origin("-", "3020111", "3020111", "192.0.2.20")
    assert session.name == "PBX"
    assert session.connection == Connection("192.0.2.20")
    [audio] = session.media
    assert (audio.media, audio.port, audio.protocol, audio.formats) == ("audio", 20014, "RTP/AVP", ("0", "8", "101"))
    assert audio.rtpmaps() == {0: RtpMap(0, "PCMU", 8000), 8: RtpMap(8, "PCMA", 8000), 101: RtpMap(101, "telephone-event", 8000)}
    assert session.direction_of(audio) is Direction.SENDRECV
    assert audio.number("ptime") == 20
    assert audio.number("maxptime") == 140
    assert serialize_sdp(session) == PBX_OFFER


def test_ipv6_and_a_large_session_identifier_are_kept() -> None:
    session = parse_sdp(
        b"v=0\r\no=helper 971731711378798081123 0 IN IP6 2001:db8::7\r\ns=Stream for today's meeting\r\n"
        b"c=IN IP6 2001:db8::7\r\nt=3338481189 3370017201\r\nm=audio 6000 RTP/AVP 2\r\na=rtpmap:2 G726-32/8000\r\n"
        b"m=video 6024 RTP/AVP 107\r\na=rtpmap:107 H263-1998/90000\r\n"
    )
    assert session.origin.session_id == "971731711378798081123"
    assert session.origin.address_type == "IP6"
    assert session.timings == ("3338481189 3370017201",)
    assert [media.media for media in session.media] == ["audio", "video"]


def test_each_section_may_have_its_own_address_and_an_empty_name_is_fine() -> None:
    """RFC 5118 §4.10 has both."""
    session = parse_sdp(
        b"v=0\no=bob 2 2 IN IP4 host.example.com\ns=\nt=0 0\nm=audio 22334 RTP/AVP 0\nc=IN IP4 192.0.2.1\n"
        b"m=video 6024 RTP/AVP 107\nc=IN IP6 2001:db8::1\na=rtpmap:107 H263-1998/90000\n"
    )
    assert session.name == "-"
    assert [session.connection_of(media) for media in session.media] == [Connection("192.0.2.1"), Connection("2001:db8::1", "IP6")]


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_any_line_end_will_do(end: str) -> None:
    assert parse_sdp(PBX_OFFER.replace(b"\r\n", end.encode())) == parse_sdp(PBX_OFFER)


def test_a_missing_last_line_end_blank_lines_and_trailing_blanks_do_no_harm() -> None:
    ragged = PBX_OFFER.replace(b"a=sendrecv\r\n", b"\r\n  \r\na=sendrecv  ")
    assert parse_sdp(ragged) == parse_sdp(PBX_OFFER)


def test_unknown_lines_are_passed_over() -> None:
    plain = sdp("c=IN IP4 192.0.2.1", "t=0 0", "m=audio 4000 RTP/AVP 0")
    noisy = sdp(
        "u=http://x/", "e=a@b", "p=1", "c=IN IP4 192.0.2.1", "t=0 0", "r=1 2", "z=0", "k=clear:x", "Z=?", "m=audio 4000 RTP/AVP 0", "k=x"
    )
    assert parse_sdp(noisy) == parse_sdp(plain)


def test_of_lines_that_may_come_once_the_first_counts() -> None:
    session = parse_sdp(sdp("i=one", "i=two", "c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.2", "o=- 9 9 IN IP4 192.0.2.9", "s=other"))
    assert (session.title, session.connection, session.name, session.origin.version) == ("one", Connection("192.0.2.1"), "-", "1")


def test_direction_is_that_of_the_section_then_of_the_session_then_sendrecv() -> None:
    session = parse_sdp(sdp("a=inactive", "m=audio 1 RTP/AVP 0", "a=recvonly", "m=audio 2 RTP/AVP 0"))
    assert [session.direction_of(media) for media in session.media] == [Direction.RECVONLY, Direction.INACTIVE]
    bare = parse_sdp(sdp("m=audio 1 RTP/AVP 0", "a=sendonly:no"))
    assert bare.direction_of(bare.media[0]) is Direction.SENDRECV


def test_broken_rtpmaps_are_left_out() -> None:
    values = [
        "0 PCMU/8000",
        "0 OTHER/8000",
        "x PCMU/8000",
        "128 A/8000",
        "97",
        "98 B",
        "99 /8000",
        "100 C/0",
        "101 D/8000/x",
        "102 opus/48000/2",
        "103 E/١",
    ]
    media = parse_sdp(sdp("m=audio 1 RTP/AVP 0", *[f"a=rtpmap:{value}" for value in values])).media[0]
    assert media.rtpmaps() == {0: RtpMap(0, "PCMU", 8000), 102: RtpMap(102, "opus", 48000, 2)}
    assert str(RtpMap(102, "opus", 48000, 2)) == "102 opus/48000/2"


def test_numbers_in_attributes_are_read_leniently() -> None:
    media = parse_sdp(sdp("m=audio 1 RTP/AVP 0", "a=ptime: 20.5", "a=maxptime:many", "a=x")).media[0]
    assert [media.number(name) for name in ("ptime", "maxptime", "x", "none")] == [20, None, None, None]


def test_a_multicast_address_gives_its_host() -> None:
    assert Connection("224.2.36.42/127").host == "224.2.36.42"
    assert Connection("0.0.0.0").is_unspecified
    assert not Connection("192.0.2.1").is_unspecified


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\r\n\r\n",
        b"hello",
        b"v=1\r\no=- 1 1 IN IP4 h\r\n",
        b"o=- 1 1 IN IP4 h\r\nv=0\r\n",
        b"v=0\r\ns=-\r\n",
        b"v=0\r\no=- 1 1 IN IP4\r\n",
        b"v=0\r\no=- 1 1 IN IP4 h x\r\n",
        sdp("c=IN IP4"),
        sdp("c=IN IP4 h 1"),
        sdp("m=audio"),
        sdp("m=audio 1"),
        sdp("m=audio x RTP/AVP 0"),
        sdp("m=audio -1 RTP/AVP 0"),
        sdp("m=audio 65536 RTP/AVP 0"),
        sdp("m=audio ٣ RTP/AVP 0"),
        sdp("m=audio 1/ RTP/AVP 0"),
        sdp("m=audio 1/0 RTP/AVP 0"),
        sdp("m=audio 99999999999999999999 RTP/AVP 0"),
        sdp("no type"),
        sdp("a=x\0y"),
        sdp("a=" + "x" * MAX_LINE_LENGTH),
        sdp(*["a=x"] * MAX_LINES),
        sdp(*["m=audio 1 RTP/AVP 0"] * (MAX_MEDIA + 1)),
        b"v=0\r\n" + b"a=x\r\n" * MAX_SDP_BYTES,
    ],
)
def test_what_is_no_description_is_a_parse_error(text: bytes) -> None:
    with pytest.raises(ParseError):
        parse_sdp(text)


def test_limits_are_inclusive() -> None:
    assert len(parse_sdp(sdp(*["m=audio 1 RTP/AVP 0"] * MAX_MEDIA)).media) == MAX_MEDIA
    assert parse_sdp(sdp("a=" + "x" * (MAX_LINE_LENGTH - 2))).attributes[0].name == "x" * (MAX_LINE_LENGTH - 2)


@pytest.mark.parametrize("evil", ["x\r\na=y", "x\ny", "x\ry", "x\0y"])
def test_a_value_with_a_line_end_is_never_written(evil: str) -> None:
    with pytest.raises(ValueError, match="line end"):
        serialize_sdp(SessionDescription(Origin("-", "1", "1", "h"), attributes=(Attribute("a", evil),)))


@given(st.binary(max_size=400))
def test_arbitrary_bytes_give_a_description_or_a_parse_error(data: bytes) -> None:
    for text in (data, b"v=0\r\no=- 1 1 IN IP4 h\r\n" + data):
        try:
            session = parse_sdp(text)
        except ParseError:
            continue
        assert parse_sdp(serialize_sdp(session)) == session


@given(st.lists(st.sampled_from(PBX_OFFER.splitlines()), max_size=20), st.integers(0, 300), st.binary(max_size=3))
def test_a_shuffled_and_damaged_offer_gives_a_description_or_a_parse_error(lines: list[bytes], at: int, junk: bytes) -> None:
    text = b"\r\n".join([b"v=0", *lines])
    text = text[:at] + junk + text[at:]
    try:
        session = parse_sdp(text)
    except ParseError:
        return
    assert parse_sdp(serialize_sdp(session)) == session
    for media in session.media:
        media.rtpmaps()
        media.number("ptime")


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=12)
TEXTS = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
NAMES = WORDS.filter(lambda word: ":" not in word)
CONNECTIONS = st.builds(Connection, WORDS, st.sampled_from(["IP4", "IP6"]))
ATTRIBUTES = st.lists(st.builds(Attribute, NAMES, st.none() | TEXTS | st.just("")), max_size=4).map(tuple)
MEDIA = st.builds(
    MediaDescription,
    WORDS,
    st.integers(0, 65535),
    WORDS,
    st.lists(WORDS, max_size=4).map(tuple),
    port_count=st.integers(1, 9),
    title=st.none() | TEXTS,
    connection=st.none() | CONNECTIONS,
    bandwidths=st.lists(TEXTS, max_size=2).map(tuple),
    attributes=ATTRIBUTES,
)
SESSIONS = st.builds(
    SessionDescription,
    st.builds(Origin, WORDS, WORDS, WORDS, WORDS, st.sampled_from(["IP4", "IP6"])),
    name=TEXTS,
    title=st.none() | TEXTS,
    connection=st.none() | CONNECTIONS,
    bandwidths=st.lists(TEXTS, max_size=2).map(tuple),
    timings=st.lists(TEXTS, min_size=1, max_size=2).map(tuple),
    attributes=ATTRIBUTES,
    media=st.lists(MEDIA, max_size=4).map(tuple),
)


@given(SESSIONS)
def test_what_is_written_reads_as_the_same_model(session: SessionDescription) -> None:
    assert parse_sdp(serialize_sdp(session)) == session
