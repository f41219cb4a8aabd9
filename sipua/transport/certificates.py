"""Certificate files: what is wrong with them, and the contexts of :mod:`ssl` that are made from them.

A context is made anew at each reload; connections keep the one that they began with.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from sipua.errors import SipError, printable
from sipua.transport.identity import Certificate, identities
from sipua.transport.tls_errors import separate

HANDSHAKE_SECONDS: Final = 10.0
"""How long a peer may take: several round trips on a bad line."""

_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: the dates are looked at by ourselves
_MAX_FLIGHTS: Final = 10


class VerifyClients(StrEnum):
    """Whether those who connect must show a certificate."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Paths of PEM files (empty: none) and how strict to be.

    *ca_file* holds whom peers' certificates must come from; without it servers are checked with the system's authorities.
    """

    certificate: str = ""
    private_key: str = ""
    ca_file: str = ""
    verify_clients: VerifyClients = VerifyClients.NONE
    verify_servers: bool = True
    minimum_version: str = "1.2"
    handshake_seconds: float = HANDSHAKE_SECONDS


class CertificateError(SipError):
    """A file can't be used. *setting* is the field of :class:`TlsSettings` that names it."""

    def __init__(self, setting: str, text: str) -> None:
        """Keep the field and the text."""
        super().__init__(text)
        self.setting = setting


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """What our certificate says: the domains it stands for, since when and until when it holds."""

    names: tuple[str, ...]
    begins: datetime
    ends: datetime
    serves: bool
    """False when its extended key usage forbids TLS servers."""

    def problem(self, now: datetime) -> str:
        """Return why peers refuse it at *now*, ``""`` when they have no reason to."""
        if now >= self.ends:
            return f"has expired on {self.ends:%Y-%m-%d %H:%M} UTC; put a new certificate there"
        if now < self.begins:
            return f"is not valid before {self.begins:%Y-%m-%d %H:%M} UTC; check the clock of this machine"
        return ""


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """What handshakes are made with. *server* and *own* are None without a certificate."""

    server: ssl.SSLContext | None
    client: ssl.SSLContext
    own: OwnCertificate | None


def load(settings: TlsSettings) -> TlsContexts:
    """Read the files and return the contexts. Raises :class:`CertificateError` for the first that can't be used.

    Raises :class:`sipua.errors.TransportError` for a Python that can't be used.
    """
    found = problems(settings)
    if found:
        raise found[0]
    separate()
    server = own = None
    client = _client(settings)
    if settings.certificate:
        server = _server(settings)
        _load_pair(client, settings)
        own = read_certificate(settings)
    return TlsContexts(server, client, own)


def problems(settings: TlsSettings) -> list[CertificateError]:
    """Return what is wrong with the files, at most one problem of each; dates are not looked at (:meth:`OwnCertificate.problem`)."""
    found = []
    if settings.certificate:
        found += _problem("certificate", settings.certificate, "CERTIFICATE-----")
    if settings.private_key:
        found += _problem("private_key", settings.private_key, "PRIVATE KEY-----")
    if settings.certificate and not settings.private_key:
        found.append(CertificateError("private_key", "is missing; a certificate is of no use without its key"))
    if settings.private_key and not settings.certificate:
        found.append(CertificateError("certificate", "is missing; a private key is of no use without its certificate"))
    if not found and settings.certificate:
        found += _attempt(lambda: _load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), settings))
    if settings.ca_file:
        found += _problem("ca_file", settings.ca_file, "CERTIFICATE-----") or _attempt(lambda: _authorities(settings))
    elif settings.verify_clients is not VerifyClients.NONE:
        text = "is missing; verify_clients needs the certificates of the authorities that clients' come from"
        found.append(CertificateError("ca_file", text))
    return found


def _attempt(action: Callable[[], object]) -> list[CertificateError]:
    try:
        action()
    except CertificateError as error:
        return [error]
    return []


def _problem(setting: str, path: str, mark: str) -> list[CertificateError]:
    """Return what keeps the file from being read as PEM."""
    try:
        text = Path(path).read_text("ascii", "replace")
    except OSError as error:
        remedy = {
            "FileNotFoundError": "write the path of a PEM file",
            "PermissionError": "let the user that the daemon runs as read it",
        }.get(type(error).__name__, "write the path of a PEM file that can be read")
        return [CertificateError(setting, f"{printable(path)}: {error.strerror or error}; {remedy}")]
    if mark in text:
        if setting == "private_key" and "ENCRYPTED" in text:
            text = f"{printable(path)} is encrypted, and nobody is there to type its password; decrypt it with 'openssl pkey'"
            return [CertificateError(setting, text)]
        return []
    other = "holds a private key and no certificate" if "PRIVATE KEY-----" in text else "holds no certificate in PEM form"
    if setting == "private_key":
        other = "holds a certificate and no private key" if "CERTIFICATE-----" in text else "holds no private key in PEM form"
    return [CertificateError(setting, f"{printable(path)} {other}; write the path of another file")]


def _load_pair(context: ssl.SSLContext, settings: TlsSettings) -> None:
    try:
        context.load_cert_chain(settings.certificate, settings.private_key, lambda: "")
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", "") or error)
        if reason == "KEY_VALUES_MISMATCH":
            text = f"{printable(settings.private_key)} is not the key of {printable(settings.certificate)}; write the paths of one pair"
            raise CertificateError("private_key", text) from error
        if reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"}:
            text = f"{printable(settings.certificate)} has too weak a key or digest; make one with RSA 2048 or P-256 and SHA-256"
            raise CertificateError("certificate", text) from error
        text = f"{printable(settings.certificate)} and {printable(settings.private_key)} can't be read: {printable(reason)}"
        raise CertificateError("certificate", f"{text}; they must be PEM files, undamaged and in full") from error


def _authorities(settings: TlsSettings) -> ssl.SSLContext:
    """Return a client's context that trusts the authorities of the settings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # SIP has rules of its own (RFC 5922 §7): sipua.transport.identity
    _trust(context, settings)
    return context


def _trust(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if not settings.ca_file:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    try:
        context.load_verify_locations(settings.ca_file)
    except (OSError, ValueError) as error:
        reason = printable(str(getattr(error, "reason", "") or error))
        text = f"{printable(settings.ca_file)} can't be read: {reason}; it must be a PEM file, undamaged and in full"
        raise CertificateError("ca_file", text) from error
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # a peer's own certificate may be listed, too


def _common(context: ssl.SSLContext, settings: TlsSettings) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if settings.minimum_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _client(settings: TlsSettings) -> ssl.SSLContext:
    if settings.verify_servers:
        return _common(_authorities(settings), settings)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _common(context, settings)


def _server(settings: TlsSettings) -> ssl.SSLContext:
    context = _common(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), settings)
    # no session outlives its connection: those of SIP last, and a resumed one would skip the check of the client's certificate
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    _load_pair(context, settings)
    if settings.verify_clients is not VerifyClients.NONE:
        _trust(context, settings)
        is_required = settings.verify_clients is VerifyClients.REQUIRED
        context.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
    return context


def read_certificate(settings: TlsSettings) -> OwnCertificate:
    """Return what our certificate says, by a handshake with ourselves that trusts it. Raises :class:`CertificateError`."""
    for as_server in (True, False):
        certificate = _handshake(settings, as_server=as_server)
        if certificate:
            begins, ends = (ssl.cert_time_to_seconds(str(certificate[key])) for key in ("notBefore", "notAfter"))
            return OwnCertificate(
                identities(certificate), datetime.fromtimestamp(begins, UTC), datetime.fromtimestamp(ends, UTC), serves=as_server
            )
    text = f"{printable(settings.certificate)} is for neither TLS servers nor clients; see its extended key usage"
    raise CertificateError("certificate", text)


def _handshake(settings: TlsSettings, *, as_server: bool) -> Certificate | None:
    """Return our certificate as a peer sees it that trusts nothing else, None when it refuses."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if as_server else ssl.PROTOCOL_TLS_CLIENT)
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if as_server else ssl.PROTOCOL_TLS_SERVER)
    for context in (ours, other):
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # there the client's certificate is checked before the handshake ends
        _load_pair(context, settings)
        if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
            context.check_hostname = False
    ours.verify_mode = ssl.CERT_NONE
    other.load_verify_locations(settings.certificate)
    other.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    other.verify_mode = ssl.CERT_REQUIRED
    to_ours, to_other = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = ours.wrap_bio(to_ours, to_other, server_side=as_server)
    two = other.wrap_bio(to_other, to_ours, server_side=not as_server)
    try:
        for _ in range(_MAX_FLIGHTS):
            if all([_step(two), _step(one)]):
                break
        return two.getpeercert() or None
    except (ssl.SSLError, ValueError):
        return None


def _step(tls: ssl.SSLObject) -> bool:
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
