"""Pure. Why a TLS handshake failed, in words that name the remedy (docs/howto/beside-asterisk-tls.md explains each)."""

from dataclasses import dataclass
from typing import Final

from sipua.errors import printable

HANDSHAKE_RECORD: Final = 0x16
"""The first octet of TLS (RFC 8446 §5.1)."""


_CHANGE_CIPHER_SPEC: Final = 0x14
_ALERT: Final = 0x15
_HEADER_OCTETS: Final = 5


class Records:
    """Walks over the records of one direction, to find an alert behind the handshake of TLS 1.2: there its type is not encrypted."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0
        self._is_encrypted = False

    def find_alert(self, data: bytes) -> int:
        """Return where in *data*, the next octets, the first such alert begins; -1 when there is none."""
        place = 0
        while place < len(data):
            if self._left:
                step = min(self._left, len(data) - place)
                self._left -= step
                place += step
                continue
            if not self._header and data[place] == _ALERT and self._is_encrypted:
                return place
            self._header.append(data[place])
            place += 1
            if len(self._header) == _HEADER_OCTETS:
                self._is_encrypted |= self._header[0] == _CHANGE_CIPHER_SPEC
                self._left = int.from_bytes(self._header[3:], "big")
                self._header.clear()
        return -1


@dataclass(frozen=True, slots=True)
class TlsFailure:
    """*reason* is one word of :data:`REASONS`, for counters; *text* says what happened and what to do."""

    reason: str
    text: str


TIMEOUT: Final = TlsFailure("timeout", "the handshake took too long; is it TLS that the peer speaks there?")
CLOSED: Final = TlsFailure("closed", "the peer closed the connection in the handshake; its log may say why")
PLAIN_TEXT: Final = TlsFailure("plain_text", "the peer sent no TLS; let it use transport TLS here, or our port for TCP")
PLAIN_SERVER: Final = TlsFailure("plain_text", "the peer answered without TLS; is this its port for TLS?")
TOO_LONG: Final = TlsFailure("too_long", "the peer sent more than a handshake has")
NO_CONTEXT: Final = TlsFailure("setup", "we have no certificate to show; set one")

_OF_OPENSSL: Final = {
    "UNSUPPORTED_PROTOCOL": ("version", "the peer speaks only TLS versions older than our minimum; update it"),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("version", "the peer refuses our TLS versions; allow TLS 1.2 or 1.3 there"),
    "NO_SHARED_CIPHER": ("cipher", "the peer has no cipher suite that we have, too; allow those of TLS 1.2 or 1.3 there"),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": ("cipher", "the peer found no common ground; compare TLS versions, ciphers and client certificates"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": ("no_certificate", "the peer showed no certificate; give it one, or require none"),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ("refused", "the peer wants a certificate of ours; set one"),
    "TLSV1_ALERT_UNKNOWN_CA": ("refused", "the peer does not know the authority of our certificate; give it that authority's certificate"),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("refused", "the peer says that our certificate has expired; renew it, or check the peer's clock"),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("refused", "the peer refuses our certificate; its log says why"),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("refused", "the peer refuses our certificate: wrong name, or an authority that it does not know"),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": ("refused", "the peer can't use our certificate: key type or extended key usage"),
    "TLSV1_ALERT_ACCESS_DENIED": ("refused", "the peer refuses our certificate: it may not connect there"),
    "TLSV1_ALERT_DECRYPT_ERROR": ("refused", "the peer could not check our signature; do certificate and key belong together?"),
    "TLSV1_UNRECOGNIZED_NAME": ("refused", "the peer serves no such name; compare the name in the URI with its certificate"),
}
_OF_VERIFICATION: Final = {
    9: ("not_yet_valid", "the peer's certificate is not valid yet; check the clocks"),
    10: ("expired", "the peer's certificate has expired; renew it there"),
    18: ("unknown_ca", "the peer's certificate is self-signed; add it to our authorities"),
    19: ("unknown_ca", "the peer's certificate comes from an authority that we don't know; add that authority"),
    20: ("unknown_ca", "the peer's certificate comes from an authority that we don't know, or the peer leaves an intermediate one out"),
    21: ("unknown_ca", "the peer's certificate comes from an authority that we don't know, or the peer leaves an intermediate one out"),
    26: ("purpose", "the peer's certificate is for another purpose; see its extended key usage"),
}
_PLAIN: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})

REASONS: Final = (
    "timeout",
    "closed",
    "plain_text",
    "too_long",
    "setup",
    "version",
    "cipher",
    "no_certificate",
    "refused",
    "not_yet_valid",
    "expired",
    "unknown_ca",
    "purpose",
    "wrong_name",
    "protocol",
)
"""What may stand in :attr:`TlsFailure.reason`."""


def explain(reason: str | None, verify_code: int, verify_message: str, *, server_side: bool) -> TlsFailure:
    """Return the failure for OpenSSL's *reason* and, where a certificate did not pass, its *verify_code* and *verify_message*."""
    if reason == "CERTIFICATE_VERIFY_FAILED":
        other = ("unknown_ca", f"the peer's certificate does not pass: {printable(verify_message, 80)}")
        word, text = _OF_VERIFICATION.get(verify_code, other)
        return TlsFailure(word, text)
    if reason in _OF_OPENSSL:
        return TlsFailure(*_OF_OPENSSL[reason])
    if reason in _PLAIN:
        return PLAIN_TEXT if server_side else PLAIN_SERVER
    return TlsFailure("protocol", f"the peer broke the rules of TLS ({printable(reason or 'no reason given', 60).lower()})")


def wrong_name(wanted: str, shown: str) -> TlsFailure:
    """Return the failure of a server whose certificate does not stand for the domain *wanted* (RFC 5922 §7)."""
    text = f"the peer's certificate does not stand for {printable(wanted, 64)} but for {shown}; wildcards don't count (RFC 5922 §7.2)"
    return TlsFailure("wrong_name", f"{text}; write one of its names in the URI, or give it another certificate")
