"""Pure. ICMP's word that a datagram of ours could not be delivered, and to which request it belongs (RFC 3261 §18.4)."""

import re
import struct

ICMP_ORIGIN, ICMP6_ORIGIN = 2, 3
"""``ee_origin`` of the kernel's ``sock_extended_err``; others are errors of this machine."""

_EXTENDED_ERROR = struct.Struct("=IBBBxII")  # errno, origin, type, code, info, data
_ICMP_UNREACHABLE, _ICMP_CODES = 3, frozenset({0, 1, 2, 3})  # network, host, protocol, port
_ICMP6_UNREACHABLE, _ICMP6_CODES = 1, frozenset({0, 1, 3, 4})  # no route, forbidden, address, port

# our requests begin with the request line and our Via: all that a short quotation may hold
_QUOTED_REQUEST = re.compile(rb"([A-Z]{1,32}) [^\r\n]{1,4096} SIP/2\.0\r\nVia: [^\r\n]{1,512}?;branch=(z9hG4bK[^;,\s]{1,128})[;\r]")


class UnreachableError(OSError):
    """A datagram to *destination* was not delivered; *quoted* is as much of it as the ICMP message had room for."""

    def __init__(self, number: int, text: str, destination: tuple[str, int], quoted: bytes) -> None:
        super().__init__(number, text)
        self.destination = destination
        self.quoted = quoted


def is_unreachable(error: bytes) -> bool:
    """Tell whether a ``sock_extended_err`` says network, host, protocol or port unreachable.

    Other ICMP, such as a TTL that ran out or the size of a path, is no failure of the transport.
    """
    if len(error) < _EXTENDED_ERROR.size:
        return False
    _, origin, kind, code, _, _ = _EXTENDED_ERROR.unpack_from(error)
    if origin == ICMP_ORIGIN:
        return kind == _ICMP_UNREACHABLE and code in _ICMP_CODES
    return origin == ICMP6_ORIGIN and kind == _ICMP6_UNREACHABLE and code in _ICMP6_CODES


def quoted_request(quoted: bytes) -> tuple[str, str] | None:
    """Return branch and method of the request that *quoted* begins with, None when it is none or too little is left of it.

    The branch is what makes the message believable: nobody knows it who has not seen our datagram.
    """
    match = _QUOTED_REQUEST.match(quoted)
    return None if match is None else (match[2].decode("ascii", "replace"), match[1].decode("ascii"))
