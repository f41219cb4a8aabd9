"""Pure. SIP messages: framing, parsing, the header map, typed values, and messages built from others (RFC 3261 §7)."""

from sipua.message.address import Address
from sipua.message.build import copy_record_route, make_ack, make_cancel, make_response
from sipua.message.fields import Value
from sipua.message.framing import Broken, Frame, Ping, StreamFramer
from sipua.message.headers import Headers, canonical
from sipua.message.model import Message, MessageError, Request, Response
from sipua.message.params import Params
from sipua.message.parser import MAX_MESSAGE_BYTES, parse_message
from sipua.message.rack import RAck
from sipua.message.status import reason_phrase
from sipua.message.uri import Uri
from sipua.message.via import MAGIC_COOKIE, CSeq, Via

__all__ = [
    "MAGIC_COOKIE",
    "MAX_MESSAGE_BYTES",
    "Address",
    "Broken",
    "CSeq",
    "Frame",
    "Headers",
    "Message",
    "MessageError",
    "Params",
    "Ping",
    "RAck",
    "Request",
    "Response",
    "StreamFramer",
    "Uri",
    "Value",
    "Via",
    "canonical",
    "copy_record_route",
    "make_ack",
    "make_cancel",
    "make_response",
    "parse_message",
    "reason_phrase",
]
