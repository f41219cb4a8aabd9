"""TLS over any stream, with what SIP asks of it: the name in the handshake, identities, client certificates (RFC 3261 §26.2.1, RFC 5922).

OpenSSL works between two buffers here and the octets travel over a :class:`sipua.transport.network.Stream`, so that a failed
handshake has a reason that can be told, and the network in memory carries real TLS (ADR 9).
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Final

from sipua.errors import TransportError, printable
from sipua.transport.certificates import TlsContexts, TlsSettings, load
from sipua.transport.handshake import (
    CLOSED,
    HANDSHAKE_RECORD,
    PLAIN_SERVER,
    PLAIN_TEXT,
    REASONS,
    TIMEOUT,
    TOO_LONG,
    Records,
    TlsFailure,
    explain,
    wrong_name,
)
from sipua.transport.identity import canonical, identities, shown_names
from sipua.transport.network import HostPort, Stream, StreamReceiver
from sipua.transport.route import ip_literal

MAX_HANDSHAKE_BYTES: Final = 1 << 16  # a chain of certificates has a few thousand; OpenSSL alone would keep 100 KB and more
ALERT_SECONDS: Final = 2.0  # for the alert that says what is wrong to leave
_READ_BYTES: Final = 1 << 14  # a record holds no more (RFC 8446 §5.1), and PyPy makes room for as much as it is asked for

Opened = Callable[["TlsStream"], StreamReceiver | None]
Failed = Callable[["TlsStream", TlsFailure], None]


class Tls:
    """The certificates in use, and how often handshakes failed, by reason. :meth:`reload` takes new files for new connections."""

    def __init__(self, settings: TlsSettings) -> None:
        """Read the files. Raises :class:`sipua.transport.certificates.CertificateError`."""
        self.settings = settings
        self.contexts: TlsContexts = load(settings)
        self.failures: Counter[str] = Counter(dict.fromkeys(REASONS, 0))

    def reload(self) -> None:
        """Read the files again. Raises :class:`sipua.transport.certificates.CertificateError`, and what was loaded stays in use."""
        self.contexts = load(self.settings)


class TlsStream:
    """TLS over *stream*; itself a stream for the one whom *opened* returns, and the receiver of *stream*'s octets.

    *opened* is called when the handshake is done and the peer's name is checked; *failed* when that went wrong, or when TLS broke later. As
    client it checks that the server's certificate stands for *name* unless *context* verifies nothing.
    """

    transport = "TLS"

    def __init__(
        self,
        stream: Stream,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        name: str = "",
        handshake_seconds: float,
        opened: Opened,
        failed: Failed,
    ) -> None:
        self.local: HostPort = stream.local
        self.remote: HostPort = stream.remote
        self.identity: tuple[str, ...] = ()
        self._stream = stream
        self._server_side = server_side
        self._name = canonical(name)
        self._is_verifying = context.verify_mode != ssl.CERT_NONE
        self._opened = opened
        self._failed = failed
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        asked = self._name if self._name and ip_literal(self._name) is None else None  # addresses are no names (RFC 6066 §3)
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=asked)
        except (ValueError, TypeError) as error:  # a name that OpenSSL can't put into a handshake
            raise TransportError(f"{printable(self._name, 64)} is no name for a TLS handshake") from error
        self._receiver: StreamReceiver | None = None
        self._handshake_bytes = 0
        self._records = Records() if server_side else None
        self._is_up = False
        self._is_closed = False
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(handshake_seconds, self._expired)

    def start(self) -> None:
        """Send the client's first message; a server waits for it."""
        self._advance()

    @property
    def unsent(self) -> int:
        """Octets that wait for the peer to read, as they travel."""
        return self._stream.unsent + self._outgoing.pending

    def write(self, data: bytes) -> None:
        """Encrypt and queue octets; after a close they are dropped."""
        if self._is_closed or not self._is_up or not data:
            return
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            self._break(error)
            return
        self._flush()

    def close(self) -> None:
        """Say so (close_notify), send what is queued, then close."""
        if self._is_closed:
            return
        self._is_closed = True
        self._timer.cancel()
        if self._is_up and not self._is_cached:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                self._is_up = False  # the peer's own close_notify is still on its way: nobody waits for it
        self._flush()
        self._stream.close()

    @property
    def _is_cached(self) -> bool:
        """Tell whether OpenSSL keeps the session for later, 20,480 of them, if it sees or says close_notify: a server of TLS 1.2 does.

        Python can't turn that off; a session that ends without is forgotten (RFC 5246 §7.2.1 lets us).
        """
        return self._server_side and self._tls.version() == "TLSv1.2"

    def _ended_by_alert(self) -> None:
        """The peer's alert is not for OpenSSL (:attr:`_is_cached`): whatever it says, nothing more comes."""
        if self._is_up:
            self.close()
        elif not self._is_closed:
            self._give_up(CLOSED)

    def abort(self) -> None:
        """Close at once; what is queued is lost."""
        self._is_closed = True
        self._timer.cancel()
        self._stream.abort()

    # What the stream below tells

    def on_data(self, data: bytes) -> None:
        """Decrypt what came and hand it up."""
        if self._is_closed:
            return
        if not self._is_up:
            if not self._handshake_bytes and data[0] != HANDSHAKE_RECORD:
                self._incoming.write(data)
                self._give_up(PLAIN_TEXT if self._server_side else PLAIN_SERVER)
                return
            self._handshake_bytes += len(data)
        alert = -1 if self._records is None else self._records.find_alert(data)
        self._incoming.write(data if alert < 0 else data[:alert])
        self._advance()
        if alert >= 0:
            self._ended_by_alert()
            return
        if not self._is_up and self._handshake_bytes > MAX_HANDSHAKE_BYTES:  # once up, messages came behind the handshake
            self._give_up(TOO_LONG)

    def on_closed(self) -> None:
        """The stream is gone."""
        self._timer.cancel()
        was_closed, self._is_closed = self._is_closed, True
        receiver, self._receiver = self._receiver, None  # what holds us and is held by us only the collector would find
        if receiver is not None:
            receiver.on_closed()
        elif not was_closed:
            self._failed(self, CLOSED)
        del self._failed

    def _advance(self) -> None:
        try:
            if self._is_up or self._shake():
                self._read()
        except ssl.SSLError as error:
            self._break(error)
        else:
            self._flush()

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        try:
            certificate = self._tls.getpeercert() or {}
        except ValueError:  # a certificate that OpenSSL passes and Python can't read
            certificate = {}
        self.identity = identities(certificate) if self._is_verifying else ()
        if not self._server_side and self._is_verifying and self._name not in self.identity:
            self._outgoing.read()  # the handshake never ends for the wrong peer
            self._give_up(wrong_name(self._name, shown_names(certificate)))
            return False
        self._is_up = True
        self._timer.cancel()
        self._flush()
        self._receiver = self._opened(self)
        del self._opened
        if self._receiver is None:
            self.abort()
        return not self._is_closed

    def _read(self) -> None:
        while not self._is_closed:
            try:
                data = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                self.close()  # the peer's close_notify: answered by ours (RFC 8446 §6.1)
            elif self._receiver is not None:
                self._receiver.on_data(data)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._stream.write(self._outgoing.read())

    def _break(self, error: ssl.SSLError) -> None:
        code, message = getattr(error, "verify_code", 0), getattr(error, "verify_message", "")
        self._give_up(explain(error.reason, code, message, server_side=self._server_side))

    def _expired(self) -> None:
        if not self._is_closed:
            self._give_up(TIMEOUT)

    def _give_up(self, failure: TlsFailure) -> None:
        """Let OpenSSL's alert leave, close, and tell."""
        if self._is_closed:
            return
        self._is_closed = True
        self._flush()
        self._stream.close()
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(ALERT_SECONDS, self._stream.abort)
        self._failed(self, failure)
