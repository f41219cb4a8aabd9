"""Certificates for tests: authorities and what they sign, as files."""

import itertools
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from sipua.transport.certificates import TlsSettings, VerifyClients
from sipua.transport.tls import Tls

DAY = timedelta(days=1)


class Authority:
    """An authority whose certificates stand as files in *folder*."""

    _numbers = itertools.count(1)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.file = folder / f"ca{next(self._numbers)}.pem"
        self.ca.cert_pem.write_to_path(self.file)

    def issue(self, *names: str, begins: datetime | None = None, ends: datetime | None = None) -> tuple[str, str]:
        """Issue a certificate for domains and addresses; return the paths of certificate and key."""
        number = next(self._numbers)
        made = self.ca.issue_cert(*names, key_type=trustme.KeyType.ECDSA, not_before=begins, not_after=ends)
        certificate, key = self.folder / f"cert{number}.pem", self.folder / f"key{number}.pem"
        for index, pem in enumerate(made.cert_chain_pems):
            pem.write_to_path(certificate, append=index > 0)
        made.private_key_pem.write_to_path(key)
        return str(certificate), str(key)

    def expired(self, *names: str) -> tuple[str, str]:
        """Issue a certificate that ended yesterday."""
        now = datetime.now(UTC)
        return self.issue(*names, begins=now - 30 * DAY, ends=now - DAY)

    def settings(self, *names: str, pair: tuple[str, str] | None = None, verify: VerifyClients = VerifyClients.NONE) -> TlsSettings:
        """Return settings with a certificate for *names* (or *pair*) that trust this authority."""
        certificate, key = pair or (self.issue(*names) if names else ("", ""))
        return TlsSettings(certificate, key, str(self.file), verify)

    def tls(self, *names: str, pair: tuple[str, str] | None = None, verify: VerifyClients = VerifyClients.NONE, **changes: object) -> Tls:
        """Return loaded certificates."""
        return Tls(replace(self.settings(*names, pair=pair, verify=verify), **changes))  # type: ignore[arg-type]


def self_signed(folder: Path, subject: str, alternatives: str = "") -> tuple[str, str]:
    """Make a self-signed certificate with openssl: *alternatives* as in ``DNS:a,URI:sip:b``; return the paths of it and its key."""
    certificate, key = folder / "self.pem", folder / "self-key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", subject, "-out", str(certificate), "-keyout", str(key)]
    command += ["-addext", f"subjectAltName={alternatives}"] if alternatives else []
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return str(certificate), str(key)
