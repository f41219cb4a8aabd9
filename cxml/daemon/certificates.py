"""Our certificate while the daemon runs: read again on SIGHUP, and a warning before it ends."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from cxml.daemon.config import Config
from cxml.daemon.metrics import Metrics
from sipua.errors import SipError
from sipua.message import Uri
from sipua.transport.certificates import CertificateError, OwnCertificate
from sipua.transport.route import parse_endpoint, target_of
from sipua.transport.tls import Tls

log = structlog.get_logger(__name__)

CHECK_INTERVAL_S = 12 * 3600.0
"""How often the end of our certificate is looked at: a warning comes at least once a day."""


def make_tls(config: Config) -> Tls | None:
    """Return the certificates of *config*, None when nothing in it speaks TLS. Raises :class:`CertificateError`."""
    return Tls(config.tls.settings) if wants_tls(config) else None


def wants_tls(config: Config) -> bool:
    """Tell whether a listener, a peer or a setting of ``[tls]`` asks for TLS."""
    if config.tls != type(config.tls)() or any(parse_endpoint(text).transport == "TLS" for text in config.sip.listen):
        return True
    return any(_is_over_tls(peer.uri) for peer in config.peers if peer.uri)


def _is_over_tls(uri: str) -> bool:
    try:
        return target_of(Uri.parse(uri)).transport == "TLS"
    except SipError:
        return False


class CertificateKeeper:
    """Reads certificates again and watches their end."""

    def __init__(self, tls: Tls, warning_days: int, metrics: Metrics, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._tls = tls
        self._warning_days = warning_days
        self._metrics = metrics
        self._now = now

    def reload(self) -> None:
        """Read the files again; broken ones are told, and what was loaded stays in use."""
        try:
            self._tls.reload()
        except CertificateError as error:
            log.error("certificates_not_reloaded", setting=f"[tls] {error.setting}", detail=str(error), in_use="those loaded before")
            return
        own = self._tls.contexts.own
        log.info("certificates_reloaded", names=list(own.names) if own else [], ends=f"{own.ends:%Y-%m-%dT%H:%MZ}" if own else "")
        self.look()

    def look(self) -> None:
        """Tell how long our certificate still holds: in the metric always, in the log when the end is near."""
        own = self._tls.contexts.own
        if own is None:
            return
        self._metrics.set_certificate_end(own.ends.timestamp())
        problem = own.problem(self._now())
        if problem:
            log.error("certificate_invalid", file=self._tls.settings.certificate, detail=problem)
        elif self._days_left(own) < self._warning_days:
            log.warning(
                "certificate_ends_soon",
                file=self._tls.settings.certificate,
                days_left=self._days_left(own),
                ends=f"{own.ends:%Y-%m-%dT%H:%MZ}",
                remedy="put a new certificate and key there and send SIGHUP",
            )

    def _days_left(self, own: OwnCertificate) -> int:
        return (own.ends - self._now()).days

    async def watch(self) -> None:
        """Look now and twice a day; runs until it is cancelled."""
        while True:
            self.look()
            await asyncio.sleep(CHECK_INTERVAL_S)
