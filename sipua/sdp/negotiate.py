"""Pure. What two descriptions have in common, and the audio section that says so (RFC 3264 §5, §6).

Owns the choice of the audio stream, of its formats and directions, and the text of our own ``m=`` section. The order
of offers and answers is the business of :mod:`sipua.sdp.machine`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from sipua.sdp.model import (
    CLOCK_RATE,
    STATIC_PAYLOAD_TYPES,
    TELEPHONE_EVENT,
    Attribute,
    Codec,
    Direction,
    MediaDescription,
    RtpMap,
    SessionDescription,
    direction,
)

DISCARD_PORT = 9
"""The port that an answer carries if no socket is open: nothing ever listens there (RFC 863). Meant for ``inactive``."""

DEFAULT_PTIME = 20
"""Milliseconds of audio in a packet when nobody says otherwise (RFC 3551 §4.2)."""

DTMF_PAYLOAD_TYPE = 101
"""The number that we offer for telephone-event; the one that most peers use."""

_PTIMES = range(10, 61)  # what peers use; anything else is a mistake and reads as the default
_PROTOCOLS = ("RTP/AVP", "RTP/AVPF")  # plain RTP; a peer may ask for feedback, nothing forces us to give any
_STATIC_MAPS = {number: RtpMap(number, codec, CLOCK_RATE) for codec, number in STATIC_PAYLOAD_TYPES.items()}
_DYNAMIC = range(96, 128)  # RFC 3551 §6


class WarningCode(IntEnum):
    """Codes of the ``Warning`` header that a 488 carries (RFC 3261 §20.43)."""

    ADDRESS_FORMAT = 301
    TRANSPORT = 302
    MEDIA_TYPE = 304
    MEDIA_FORMAT = 305


_WARNING_TEXTS = {
    WarningCode.ADDRESS_FORMAT: "Incompatible network address formats",
    WarningCode.TRANSPORT: "Incompatible transport protocol",
    WarningCode.MEDIA_TYPE: "Media type not available",
    WarningCode.MEDIA_FORMAT: "Incompatible media format",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a description can't be used.

    *status* answers the request that carried it; 491 and 500 with *retry_after* say "not now" (RFC 3261 §14.2, RFC 3311 §5.2).
    *warning* is the code for a ``Warning`` header, if one helps. *text* is fit for it and for a log.
    """

    status: int
    text: str
    warning: WarningCode | None = None
    retry_after: bool = False


def not_acceptable(warning: WarningCode) -> Refusal:
    """Return the 488 with this warning."""
    return Refusal(488, _WARNING_TEXTS[warning], warning)


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """Our end of the audio stream.

    *address* is an IP literal, *port* the UDP port the peer shall send to; nothing here checks that it is open.
    *direction* is what we want when nobody is on hold. *codecs* are in our order of preference; *dtmf* says whether
    telephone-event is offered and accepted.
    """

    address: str
    port: int
    direction: Direction = Direction.SENDRECV
    codecs: tuple[Codec, ...] = (Codec.PCMU, Codec.PCMA)
    dtmf: bool = True
    ptime: int = DEFAULT_PTIME

    @property
    def address_type(self) -> str:
        """``IP4`` or ``IP6``."""
        return "IP6" if ":" in self.address else "IP4"


@dataclass(frozen=True, slots=True)
class Formats:
    """Payload types of the formats that both sides know, codecs in order of preference."""

    codecs: Mapping[Codec, int]
    dtmf: int | None


@dataclass(frozen=True, slots=True)
class AgreedCodec:
    """A codec with the number the peer listed for it (we send that one) and the number we listed (we get that one)."""

    codec: Codec
    payload_type: int
    receive_payload_type: int


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The audio stream that both sides agreed on.

    *local_direction* is what we do, after both sides' wishes; *remote_direction* what the peer said of itself, where an
    address of 0.0.0.0 takes its receiving away. *codecs* is never empty, its first is the one to send. *ptime* is in ms.
    """

    remote_address: str
    remote_port: int
    codecs: tuple[AgreedCodec, ...]
    local_direction: Direction
    remote_direction: Direction
    dtmf_payload_type: int | None = None
    dtmf_receive_payload_type: int | None = None
    ptime: int = DEFAULT_PTIME

    @property
    def is_held_by_peer(self) -> bool:
        """True if the peer does not want our media."""
        return not self.remote_direction.receives

    @property
    def receive_payload_types(self) -> frozenset[int]:
        """The payload types that the peer may send."""
        numbers = {item.receive_payload_type for item in self.codecs}
        if self.dtmf_receive_payload_type is not None:
            numbers.add(self.dtmf_receive_payload_type)
        return frozenset(numbers)


def find_audio(session: SessionDescription, local: LocalMedia) -> tuple[int, Formats] | Refusal:
    """Return the index and the formats of the first audio section that we can use, or why none will do.

    Several audio sections: the first usable one is taken, the others are refused (RFC 3264 §6).
    """
    first: Refusal | None = None
    for index, media in enumerate(session.media):
        if media.media.lower() == "audio" and media.port != 0:
            formats = audio_formats(session, index, local)
            if isinstance(formats, Formats):
                return index, formats
            first = first or formats
    return first or not_acceptable(WarningCode.MEDIA_TYPE)


def audio_formats(session: SessionDescription, index: int, local: LocalMedia) -> Formats | Refusal:
    """Return the formats of the audio section at *index* that we speak, or why it is no usable audio stream."""
    media = session.media[index] if index < len(session.media) else None
    if media is None or media.media.lower() != "audio" or media.port == 0:
        return not_acceptable(WarningCode.MEDIA_TYPE)
    if media.protocol.upper() not in _PROTOCOLS:
        return not_acceptable(WarningCode.TRANSPORT)
    connection = session.connection_of(media)
    if connection is None or connection.network.upper() != "IN" or connection.address_type.upper() != local.address_type:
        return not_acceptable(WarningCode.ADDRESS_FORMAT)
    formats = known_formats(media, local)
    return formats if formats.codecs else not_acceptable(WarningCode.MEDIA_FORMAT)


def known_formats(media: MediaDescription, local: LocalMedia) -> Formats:
    """Return the formats of *media* that we speak, in its order, each with its number there (RFC 3264 §6.1).

    telephone-event counts only at the audio's clock: peers offer it for wide band too (RFC 4733 §2.1).
    """
    maps = media.rtpmaps()
    codecs: dict[Codec, int] = {}
    dtmf: int | None = None
    for text in media.formats:
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else -1
        rtpmap = maps.get(number) or _STATIC_MAPS.get(number)
        if rtpmap is None or rtpmap.clock_rate != CLOCK_RATE or rtpmap.channels != 1:
            continue
        encoding = rtpmap.encoding.upper()
        if encoding in local.codecs:
            codecs.setdefault(Codec(encoding), number)
        elif encoding == TELEPHONE_EVENT.upper() and local.dtmf and dtmf is None:
            dtmf = number
    return Formats(codecs, dtmf)


def offered_formats(local: LocalMedia, agreed: Formats | None = None) -> Formats:
    """Return all formats that we speak, those agreed before first and with their numbers (RFC 3264 §8.3.2)."""
    codecs = dict(agreed.codecs) if agreed else {}
    for codec in local.codecs:
        codecs.setdefault(codec, STATIC_PAYLOAD_TYPES[codec])
    dtmf = agreed.dtmf if agreed else None
    if dtmf is None and local.dtmf:
        taken = set(codecs.values())
        dtmf = next(number for number in (DTMF_PAYLOAD_TYPE, *_DYNAMIC) if number not in taken)
    return Formats(codecs, dtmf)


def audio_section(local: LocalMedia, formats: Formats, wanted: Direction, protocol: str = "RTP/AVP") -> MediaDescription:
    """Return our ``m=audio`` section."""
    maps = [RtpMap(number, codec, CLOCK_RATE) for codec, number in formats.codecs.items()]
    attributes = [Attribute("rtpmap", str(item)) for item in maps]
    numbers = [item.payload_type for item in maps]
    if formats.dtmf is not None:
        numbers.append(formats.dtmf)
        attributes.append(Attribute("rtpmap", str(RtpMap(formats.dtmf, TELEPHONE_EVENT, CLOCK_RATE))))
        attributes.append(Attribute("fmtp", f"{formats.dtmf} 0-15"))
    attributes += [Attribute("ptime", str(local.ptime)), Attribute(wanted.value)]
    return MediaDescription("audio", local.port, protocol, tuple(map(str, numbers)), attributes=tuple(attributes))


def refused_sections(media: Iterable[MediaDescription]) -> list[MediaDescription]:
    """Return each section with port 0, its protocol and formats kept (RFC 3264 §6).

    A section that came without a format gets one, as the grammar wants at least one.
    """
    return [MediaDescription(item.media, 0, item.protocol, item.formats or ("0",)) for item in media]


def remote_direction(session: SessionDescription, media: MediaDescription) -> Direction:
    """Return the peer's direction; without an address it can't receive, the old form of hold (RFC 3264 §8.4)."""
    said = session.direction_of(media)
    connection = session.connection_of(media)
    return said.without_receive if connection is not None and connection.is_unspecified else said


def agree(theirs: SessionDescription, index: int, known: Formats, ours: Formats, said: Direction) -> Negotiated | Refusal:
    """Return the stream between *theirs* at *index*, whose formats are *known*, and our section with *ours* and *said*.

    Refused if no codec is in both.
    """
    media = theirs.media[index]
    connection = theirs.connection_of(media)
    codecs = tuple(AgreedCodec(codec, number, ours.codecs[codec]) for codec, number in known.codecs.items() if codec in ours.codecs)
    if not codecs or connection is None:
        return not_acceptable(WarningCode.MEDIA_FORMAT)
    has_dtmf = known.dtmf is not None and ours.dtmf is not None
    remote = remote_direction(theirs, media)
    return Negotiated(
        remote_address=connection.host,
        remote_port=media.port,
        codecs=codecs,
        local_direction=direction(sends=said.sends and remote.receives, receives=said.receives and remote.sends),
        remote_direction=remote,
        dtmf_payload_type=known.dtmf if has_dtmf else None,
        dtmf_receive_payload_type=ours.dtmf if has_dtmf else None,
        ptime=_ptime(media),
    )


def _ptime(media: MediaDescription) -> int:
    wanted = media.number("ptime") or DEFAULT_PTIME
    longest = media.number("maxptime")
    if longest is not None:
        wanted = min(wanted, longest)
    return wanted if wanted in _PTIMES else DEFAULT_PTIME
