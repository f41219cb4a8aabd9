"""Pure. RTP packets between bytes and values (RFC 3550 §5.1, §5.3.1).

Every length is checked before use (RFC 3550 appendix A.1); a packet that lies about one is a :class:`ParseError`.
"""

import struct
from dataclasses import dataclass

from sipua.errors import ParseError

RTP_VERSION = 2
HEADER_BYTES = 12
MAX_CSRCS = 15  # the CC field has four bits

_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")
_PADDING, _EXTENDED, _CSRC_COUNT = 0x20, 0x10, 0x0F
_MARKER, _PAYLOAD_TYPE = 0x80, 0x7F
_RTCP_TYPES = range(64, 96)  # RFC 5761 §4: seven bits of the RTCP packet types 192 to 223


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet. *extension* is the profile's number and the extension's octets, a multiple of four."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes = b""
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None


def payload_type_of(data: bytes) -> int:
    """Return the payload type of the packet *data* without copying it. Raises :class:`ParseError` as :func:`parse_packet`."""
    _bounds(data)
    return data[1] & _PAYLOAD_TYPE


def is_rtcp(data: bytes) -> bool:
    """Return whether *data* looks like RTCP that came to the RTP port (RFC 5761 §4)."""
    return len(data) >= 2 and data[0] >> 6 == RTP_VERSION and (data[1] & _PAYLOAD_TYPE) in _RTCP_TYPES


def parse_packet(data: bytes) -> RtpPacket:
    """Return the packet that *data* holds, padding removed.

    Raises :class:`ParseError` for another version and for any length that passes the end of the datagram.
    """
    body, start, end = _bounds(data)
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    extension = None
    if first & _EXTENDED:
        extension = (_EXTENSION.unpack_from(data, body)[0], data[body + _EXTENSION.size : start])
    return RtpPacket(
        payload_type=second & _PAYLOAD_TYPE,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=data[start:end],
        marker=bool(second & _MARKER),
        csrcs=struct.unpack_from(f"!{first & _CSRC_COUNT}I", data, HEADER_BYTES),
        extension=extension,
    )


def build_packet(packet: RtpPacket) -> bytes:
    """Return the octets of *packet*, without padding. Raises :class:`ValueError` if a field does not fit."""
    if len(packet.csrcs) > MAX_CSRCS:
        raise ValueError("more than 15 CSRCs")
    if not 0 <= packet.payload_type <= _PAYLOAD_TYPE:
        raise ValueError("payload type out of range")
    extension = b""
    if packet.extension is not None:
        profile, octets = packet.extension
        if len(octets) % 4:
            raise ValueError("extension is not a multiple of four octets")
        extension = _fields(_EXTENSION, profile, len(octets) // 4) + octets
    first = RTP_VERSION << 6 | (_EXTENDED if packet.extension is not None else 0) | len(packet.csrcs)
    second = (_MARKER if packet.marker else 0) | packet.payload_type
    header = _fields(_HEADER, first, second, packet.sequence, packet.timestamp, packet.ssrc)
    return header + _fields(struct.Struct(f"!{len(packet.csrcs)}I"), *packet.csrcs) + extension + packet.payload


def build_plain_packet(payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, *, marker: bool) -> bytes:
    """Return a packet without CSRCs and extension: the short way for a sender that keeps its own counters in range."""
    second = payload_type | _MARKER if marker else payload_type
    return _HEADER.pack(RTP_VERSION << 6, second, sequence, timestamp, ssrc) + payload


def _fields(layout: struct.Struct, *values: int) -> bytes:
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise ValueError(f"RTP field out of range: {error}") from None


def _bounds(data: bytes) -> tuple[int, int, int]:
    """Return where the extension header would stand, where the payload starts, and where it ends."""
    size = len(data)
    if size < HEADER_BYTES:
        raise ParseError("RTP packet shorter than its header")
    first = data[0]
    if first >> 6 != RTP_VERSION:
        raise ParseError("not RTP version 2")
    body = start = HEADER_BYTES + 4 * (first & _CSRC_COUNT)
    if first & _EXTENDED:
        if size < body + _EXTENSION.size:
            raise ParseError("RTP extension passes the end")
        start = body + _EXTENSION.size + 4 * _EXTENSION.unpack_from(data, body)[1]
    if start > size:
        raise ParseError("RTP header passes the end")
    end = size
    if first & _PADDING:
        padding = data[-1]
        if padding == 0 or padding > size - start:
            raise ParseError("RTP padding passes the payload")
        end -= padding
    return body, start, end
