"""Pure. The section about certificates, and which other settings need it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from cxml.daemon.config.section import Section, Timeout
from cxml.daemon.config.values import Whole
from sipua.transport.certificates import HANDSHAKE_SECONDS, TlsSettings, VerifyClients

DEFAULT_WARNING_DAYS = 21  # authorities that renew by themselves do so a month before the end: then something is broken


class TlsVersion(StrEnum):
    """The oldest version that is spoken."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class Tls(Section):
    """Certificates for SIP over TLS. SIGHUP reads the files again: new connections use them, running ones stay."""

    certificate: str = Field(
        default="",
        description="PEM file with our certificate and those between it and its authority; a tls: listener needs one.",
        examples=["/etc/cxmld/tls/cert.pem"],
    )
    private_key: str = Field(
        default="", description="PEM file with its private key, without a password.", examples=["/etc/cxmld/tls/key.pem"]
    )
    ca_file: str = Field(
        default="",
        description="PEM file with the authorities that peers' certificates come from; empty: the system's, for servers only.",
        examples=["/etc/cxmld/tls/ca.pem"],
    )
    verify_clients: VerifyClients = Field(
        default=VerifyClients.NONE,
        description="Whether those who connect must show a certificate: none, optional (checked if shown) or required.",
    )
    verify_servers: bool = Field(
        default=True, description="Check that servers that we connect to stand for the domain asked for; false: encryption only."
    )
    minimum_version: TlsVersion = Field(default=TlsVersion.TLS_1_2, description="Oldest version of TLS: 1.2 or 1.3.")
    handshake_timeout_s: Timeout = Field(default=HANDSHAKE_SECONDS, description="How long a handshake may take.")
    expiry_warning_days: Annotated[Whole, Field(ge=0, le=365)] = Field(
        default=DEFAULT_WARNING_DAYS, description="Warn in the log when our certificate ends in fewer days."
    )

    @property
    def settings(self) -> TlsSettings:
        """The same for `sipua`."""
        return TlsSettings(
            certificate=self.certificate,
            private_key=self.private_key,
            ca_file=self.ca_file,
            verify_clients=self.verify_clients,
            verify_servers=self.verify_servers,
            minimum_version=str(self.minimum_version),
            handshake_seconds=self.handshake_timeout_s,
        )
