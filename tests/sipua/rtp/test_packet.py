"""RTP packets (RFC 3550 §5.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.rtp.g711 import SILENCE
from sipua.rtp.packet import RtpPacket, build_packet, build_plain_packet, is_rtcp, parse_packet, payload_type_of
from sipua.sdp.model import Codec

HEADER = bytes.fromhex("80000001000000a0deadbeef")


def test_a_plain_packet_is_read() -> None:
    assert parse_packet(HEADER + b"\xff" * 160) == RtpPacket(0, 1, 160, 0xDEADBEEF, b"\xff" * 160)


def test_marker_sources_extension_and_padding_are_read() -> None:
    data = bytes.fromhex("b288 ffff ffffffff 00000001 00000002 00000003 bede 0001 aabbccdd 01 02 000003")
    packet = parse_packet(data)
    assert packet == RtpPacket(8, 0xFFFF, 0xFFFFFFFF, 1, b"\x01\x02", True, (2, 3), (0xBEDE, bytes.fromhex("aabbccdd")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEADER[:11],
        b"\x00" + HEADER[1:],
        b"\xc0" + HEADER[1:],
        b"\x81" + HEADER[1:],
        b"\x90" + HEADER[1:],
        b"\x90" + HEADER[1:] + b"\0\0\0\x01",
        b"\xa0" + HEADER[1:],
        b"\xa0" + HEADER[1:] + b"\x00",
        b"\xa0" + HEADER[1:] + b"\x02",
    ],
)
def test_a_packet_that_lies_about_a_length_is_a_parse_error(data: bytes) -> None:
    for read in (parse_packet, payload_type_of):
        with pytest.raises(ParseError):
            read(data)


def test_padding_may_fill_the_whole_payload() -> None:
    assert parse_packet(b"\xa0" + HEADER[1:] + b"\x00\x02").payload == b""


@given(st.binary(max_size=60), st.integers(0, 63))
def test_arbitrary_bytes_give_a_packet_or_a_parse_error(data: bytes, first: int) -> None:
    for text in (data, bytes([0x80 | first]) + data):
        is_rtcp(text)
        try:
            packet = parse_packet(text)
        except ParseError:
            continue
        assert packet.payload_type == payload_type_of(text)
        assert parse_packet(build_packet(packet)) == packet


WORD = st.integers(0, 0xFFFFFFFF)


@given(
    st.builds(
        RtpPacket,
        st.integers(0, 127),
        st.integers(0, 0xFFFF),
        WORD,
        WORD,
        st.binary(max_size=20),
        st.booleans(),
        st.lists(WORD, max_size=15).map(tuple),
        st.none() | st.tuples(st.integers(0, 0xFFFF), st.integers(0, 3).map(lambda words: b"abcd" * words)),
    )
)
def test_what_is_built_reads_the_same(packet: RtpPacket) -> None:
    assert parse_packet(build_packet(packet)) == packet


@pytest.mark.parametrize(
    "packet",
    [
        RtpPacket(128, 0, 0, 0),
        RtpPacket(-1, 0, 0, 0),
        RtpPacket(0, 0x10000, 0, 0),
        RtpPacket(0, 0, -1, 0),
        RtpPacket(0, 0, 0, 0, csrcs=(0,) * 16),
        RtpPacket(0, 0, 0, 0, csrcs=(-1,)),
        RtpPacket(0, 0, 0, 0, extension=(0, b"abc")),
        RtpPacket(0, 0, 0, 0, extension=(0x10000, b"")),
    ],
)
def test_a_field_that_does_not_fit_is_a_value_error(packet: RtpPacket) -> None:
    with pytest.raises(ValueError, match=r"."):
        build_packet(packet)


@pytest.mark.parametrize("marker", [False, True])
def test_the_short_way_builds_the_same_packet(marker: bool) -> None:
    packet = RtpPacket(8, 7, 9, 11, b"xyz", marker)
    assert build_plain_packet(8, 7, 9, 11, b"xyz", marker=marker) == build_packet(packet)


def test_rtcp_on_the_rtp_port_is_known_by_its_type() -> None:
    """RFC 5761 §4: sender report 200 to application 204."""
    for kind in range(200, 205):
        assert is_rtcp(bytes([0x80, kind, 0, 0]))
    assert not is_rtcp(HEADER)
    assert not is_rtcp(b"\x80")
    assert not is_rtcp(bytes([0x80, 101]))


def test_silence_is_twenty_milliseconds_of_zero_amplitude() -> None:
    assert SILENCE == {Codec.PCMU: b"\xff" * 160, Codec.PCMA: b"\xd5" * 160}
