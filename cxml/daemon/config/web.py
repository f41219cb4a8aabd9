"""Pure. The sections about the web application: what is asked, how, and in whose name."""

from typing import Annotated

from pydantic import Field, SecretStr

from cxml.calls.facts import SidStyle
from cxml.daemon.config.section import Method, Section, Timeout, Url
from cxml.daemon.config.values import HostPatterns, Whole


class Voice(Section):
    """The web application that is asked what to do with a call."""

    url: Url = Field(default="", description="Absolute URL of the first document. Required.", examples=["http://127.0.0.1:8000/voice"])
    method: Method = Field(default="POST", description="How url is requested: GET or POST.")
    fallback_url: Url = Field(
        default="",
        description="Absolute URL that is asked for a document when a request or a document fails; empty: the call ends.",
        examples=["http://127.0.0.1:8000/fallback"],
    )
    fallback_method: Method = Field(default="POST", description="How fallback_url is requested: GET or POST.")


class Webhook(Section):
    """Limits of each request to the web application. The fragment of a URL may override time-outs for that URL."""

    connect_timeout_s: Timeout = Field(default=2.0, description="How long a connection may take.")
    read_timeout_s: Timeout = Field(default=5.0, description="How long the server may say nothing.")
    total_timeout_s: Timeout = Field(default=15.0, description="How long a request may take in all, redirections included.")
    max_redirects: Annotated[Whole, Field(ge=0, le=20)] = Field(default=3, description="Redirections followed for one request.")
    max_body_bytes: Annotated[Whole, Field(ge=1, le=65536)] = Field(default=65536, description="Largest document, in bytes.")
    allow_hosts: HostPatterns = Field(
        default=("*",),
        description="Patterns of the hosts that are requested, also by redirections and actions; host or host:port, * is any text.",
        examples=[["app.example.com", "127.0.0.1:8000", "[::1]:8000"]],
    )
    allow_private: bool = Field(
        default=True, description="Whether private, loopback and link-local addresses are connected to, whatever name leads there."
    )


class Account(Section):
    """What requests to the web application say of the account, and what they are signed with."""

    sid: str = Field(default="", max_length=64, description="The parameter AccountSid.", examples=["AC00000000000000000000000000000000"])
    auth_token: SecretStr = Field(default=SecretStr(""), description="Secret: signs requests in X-Twilio-Signature; empty: no such header.")
    signing_key: SecretStr = Field(
        default=SecretStr(""), description="Secret: signs requests in X-SignalWire-Signature; empty: no such header."
    )
    sid_style: SidStyle = Field(default=SidStyle.UUID, description="What a CallSid looks like: uuid, or twilio (CA and 32 hex digits).")
