"""Pure. A request at rest: thousands of calls wait, and nearly nobody asks again what their INVITE said.

Its headers are deflated against what stands in every INVITE, which leaves about a third; the body stays as it is, for the media hold the
same octets.
"""

import zlib
from typing import Final

from sipua.message import Headers, Request

_WINDOW_BITS: Final = -10  # 1 KiB and no checksum: a head is rarely longer, and what is packed here is unpacked here
_MEMORY_LEVEL: Final = 4  # enough for that window
_USUAL: Final = (
    b"P-Asserted-Identity: <sip:Supported: 100rel, replaces, timer\r\nSession-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\n"
    b"User-Agent: Asterisk PBX FreeSWITCH-mod_sofia\r\nAllow-Events: talk, hold, conference, refer\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, SUBSCRIBE, UPDATE, INFO, PRACK, MESSAGE, PUBLISH, REGISTER\r\n"
    b"Record-Route: <sip:;lr>\r\nContent-Length: \r\n\r\nContent-Type: application/sdp\r\nMax-Forwards: 70\r\n"
    b"Contact: <sip:;transport=UDP>\r\nCSeq: 1 INVITE\r\nCall-ID: @\r\nTo: <sip:>\r\nFrom: <sip:>;tag=\r\n"
    b"Via: SIP/2.0/UDP :5060;rport=5060;branch=z9hG4bK;received=INVITE sip: SIP/2.0\r\n"
)
"""The best matches stand last."""


class PackedRequest:
    """A request that can be had back as it was."""

    __slots__ = ("_body", "_head", "_sender")

    def __init__(self, request: Request) -> None:
        data, body = request.encode(), request.body
        packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, _USUAL)
        self._head = packer.compress(data[: len(data) - len(body)]) + packer.flush()
        self._body = body
        self._sender = request.sender

    def unpack(self) -> Request:
        """Return the request. No limit holds here: written out in full it may be longer than what was let in."""
        unpacker = zlib.decompressobj(_WINDOW_BITS, _USUAL)
        head = unpacker.decompress(self._head).decode("utf-8", "surrogateescape")
        start, *lines = head.split("\r\n")
        method, _, rest = start.partition(" ")
        pairs = [line.partition(": ") for line in lines[:-3]]  # the last are Content-Length and the empty line
        headers = Headers([(name, value) for name, _, value in pairs])
        request = Request(method, rest.removesuffix(" SIP/2.0"), headers, self._body)
        request.sender = self._sender
        return request
