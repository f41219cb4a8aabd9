"""Pure. Session descriptions and the offer/answer machine (RFC 8866, RFC 3264)."""

from sipua.sdp.machine import Answered, OfferAnswer, OfferAnswerState
from sipua.sdp.model import Attribute, Codec, Connection, Direction, MediaDescription, Origin, RtpMap, SessionDescription
from sipua.sdp.negotiate import DISCARD_PORT, AgreedCodec, LocalMedia, Negotiated, Refusal, WarningCode
from sipua.sdp.parser import parse_sdp, serialize_sdp

__all__ = [
    "DISCARD_PORT",
    "AgreedCodec",
    "Answered",
    "Attribute",
    "Codec",
    "Connection",
    "Direction",
    "LocalMedia",
    "MediaDescription",
    "Negotiated",
    "OfferAnswer",
    "OfferAnswerState",
    "Origin",
    "Refusal",
    "RtpMap",
    "SessionDescription",
    "WarningCode",
    "parse_sdp",
    "serialize_sdp",
]
