"""Pure. The section about a PBX."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from cxml.access.peers import Proof
from cxml.daemon.config.section import Section, Timeout
from cxml.daemon.config.server import MAX_SESSION_S
from cxml.daemon.config.values import (
    Network,
    Seconds,
    TargetPatterns,
    Whole,
    check_certificate_name,
    check_name,
    check_network,
    check_sip_uri,
)
from cxml.interpreter.context import OnBye
from sipua.message import Uri
from sipua.usage.registration.client import DEFAULT_EXPIRES_S
from sipua.usage.subscription.refer import MAX_BYE_GRACE_S


class Peer(Section):
    """A PBX. A call is taken only from a peer: by default from an address that its ``match`` has; the smallest matching block decides.

    Without any [[peers]] calls are taken from this machine's own addresses only (127.0.0.0/8 and ::1).
    """

    name: Annotated[str, AfterValidator(check_name)] = Field(
        description="Required. Stands in logs, metrics and names of environment variables.", examples=["pbx"]
    )
    match: tuple[Annotated[str, AfterValidator(check_network)], ...] = Field(
        default=(), description="Addresses and blocks it calls from; empty: the address in uri.", examples=[["10.0.0.5", "10.1.0.0/16"]]
    )
    certificate: tuple[Annotated[str, AfterValidator(check_certificate_name)], ...] = Field(
        default=(),
        description="Domains and addresses of its TLS certificate: a call over a connection with such a certificate is its.",
        examples=[["pbx.example.com"]],
    )
    uri: Annotated[str, AfterValidator(check_sip_uri)] = Field(
        default="", description="Where it is reached: for registration.", examples=["sip:pbx.example.com;transport=tcp"]
    )
    username: str = Field(default="", max_length=128, description="User name for its challenges and of the registered address.")
    password: SecretStr = Field(default=SecretStr(""), description="Secret: the password for its challenges.")
    is_trusted: bool = Field(
        default=False, alias="trusted", description="Believe its P-Asserted-Identity: it says who calls, in place of From."
    )
    auth: Proof = Field(
        default=Proof.ADDRESS,
        description="How its requests are known: address (that of match), digest (its password, from any address) or both.",
    )
    inbound_username: str = Field(
        default="", max_length=128, description="User name that it shows with auth digest or both; empty: username."
    )
    inbound_password: SecretStr = Field(
        default=SecretStr(""), description="Secret: the password that it shows with auth digest or both; empty: password."
    )
    is_registering: bool = Field(default=False, alias="register", description="Register username at uri, so that the PBX finds us.")
    register_expires_s: Annotated[Whole, Field(ge=30, le=86400)] = Field(
        default=DEFAULT_EXPIRES_S, description="How long a registration is asked to hold."
    )
    max_calls: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Calls of this peer at a time, within [limits] max_calls."
    )
    max_calls_per_s: Annotated[Whole, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="New calls of this peer in a second, within [limits] max_calls_per_s."
    )
    session_expires_s: Annotated[Whole, Field(ge=0, le=MAX_SESSION_S)] | None = Field(default=None, description="As in [sip].")
    notify_timeout_s: Timeout | None = Field(default=None, description="As in [refer].")
    bye_grace_s: Annotated[Seconds, Field(ge=0, le=MAX_BYE_GRACE_S)] | None = Field(default=None, description="As in [refer].")
    on_bye: OnBye | None = Field(default=None, description="As in [refer].")
    allow: TargetPatterns | None = Field(default=None, description="As in [refer].")
    settle_s: Annotated[Seconds, Field(ge=0, le=10)] | None = Field(default=None, description="As in [refer].")

    @property
    def inbound_user(self) -> str:
        """The user name that it shows."""
        return self.inbound_username or self.username

    @property
    def inbound_secret(self) -> str:
        """The password that it shows."""
        return (self.inbound_password if self.inbound_password.get_secret_value() else self.password).get_secret_value()

    @property
    def networks(self) -> tuple[Network, ...]:
        """The blocks of addresses it calls from; none for one that is known by its password alone, or by a certificate and no ``match``."""
        if self.auth is Proof.DIGEST:
            return ()
        if self.match or self.certificate:
            return tuple(ipaddress.ip_network(text) for text in self.match)
        try:
            return (ipaddress.ip_network(Uri.parse(self.uri).bare_host),) if self.uri else ()
        except ValueError:
            return ()
