"""Pure. The settings of the daemon: every section, every key, its default and its one line of explanation.

``etc/cxmld.toml``, ``docs/reference/config.md`` and the checks are made from these classes. All are frozen; a default is
always a usable value. Times are in seconds and say so by ``_s``.
"""

import ipaddress
from enum import StrEnum
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from cxml.calls.facts import SidStyle
from cxml.daemon.allow import is_allowed
from cxml.daemon.config_values import (
    Network,
    PortRange,
    Seconds,
    Texts,
    Whole,
    check_endpoint,
    check_host,
    check_http_listen,
    check_method,
    check_name,
    check_network,
    check_sip_uri,
    check_store,
    check_url,
    check_user_agent,
    parse_http_listen,
)
from cxml.interpreter.context import DEFAULT_MAX_DOCUMENTS, DEFAULT_MAX_VERBS, OnBye
from sipua.message import MAX_MESSAGE_BYTES, Uri
from sipua.usage.call.core import REFER_SETTLE_S
from sipua.usage.call.media import MediaMode
from sipua.usage.registration.client import DEFAULT_EXPIRES_S
from sipua.usage.subscription.refer import MAX_BYE_GRACE_S

DEFAULT_MAX_CALLS = 1000  # a thousand calls need some 2,000 file descriptors, twice what a shell grants and a fraction of the unit's
DEFAULT_MAX_CALLS_PER_S = 50  # half of what one core sets up: running calls keep their time
DEFAULT_MAX_CONNECTIONS = 1000  # file descriptors are finite; a PBX uses a handful
MIN_MESSAGE_BYTES = 1300  # what every SIP element must take in a datagram (RFC 3261 §18.1.1)
MAX_TIMEOUT_S = 3600.0  # an hour: more is a mistake of units

Timeout = Annotated[Seconds, Field(gt=0, le=MAX_TIMEOUT_S)]
Url = Annotated[str, AfterValidator(check_url)]
Method = Annotated[str, AfterValidator(check_method)]


class LogLevel(StrEnum):
    """What is logged: this level and the ones above."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a line is written."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class Section(BaseModel):
    """A table of the configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)


class Sip(Section):
    """The SIP side."""

    listen: tuple[Annotated[str, AfterValidator(check_endpoint)], ...] = Field(
        default=("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"),
        description="Where SIP is received: udp:ADDRESS:PORT or tcp:ADDRESS:PORT, IPv6 in brackets.",
    )
    advertised_host: Annotated[str, AfterValidator(check_host)] = Field(
        default="", description="Name or address that peers are told instead of the local address; no port."
    )
    user_agent: Annotated[str, AfterValidator(check_user_agent)] = Field(
        default="cxmld", description="What the headers User-Agent and Server say."
    )
    drain_timeout_s: Annotated[Seconds, Field(ge=0, le=MAX_TIMEOUT_S)] = Field(
        default=60.0, description="How long running calls may go on after SIGTERM; then they are hung up."
    )


class Http(Section):
    """The HTTP side: /health/live, /health/ready and /metrics. It asks for no password: keep it in your own network."""

    listen: Annotated[str, AfterValidator(check_http_listen)] = Field(
        default="127.0.0.1:8080", description="ADDRESS:PORT, IPv6 in brackets; empty: no HTTP side."
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen at, None for no HTTP side."""
        return parse_http_listen(self.listen)


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


class Account(Section):
    """What requests to the web application say of the account, and what they are signed with."""

    sid: str = Field(default="", max_length=64, description="The parameter AccountSid.", examples=["AC00000000000000000000000000000000"])
    auth_token: SecretStr = Field(default=SecretStr(""), description="Secret: signs requests in X-Twilio-Signature; empty: no such header.")
    signing_key: SecretStr = Field(
        default=SecretStr(""), description="Secret: signs requests in X-SignalWire-Signature; empty: no such header."
    )
    sid_style: SidStyle = Field(default=SidStyle.UUID, description="What a CallSid looks like: uuid, or twilio (CA and 32 hex digits).")


class Store(Section):
    """Where the position of each call is kept."""

    url: Annotated[str, AfterValidator(check_store)] = Field(
        default="memory:", description="Only memory: in this version: calls do not survive a restart of the daemon."
    )


class Refer(Section):
    """Transfers. Each key may stand in a [[peers]] table, too, and then holds for that peer."""

    notify_timeout_s: Timeout = Field(default=180.0, description="How long the verb waits for the next NOTIFY.")
    bye_grace_s: Annotated[Seconds, Field(ge=0, le=MAX_BYE_GRACE_S)] = Field(
        default=2.0, description="How long a NOTIFY may come after the peer's BYE."
    )
    on_bye: OnBye = Field(
        default=OnBye.CANCELED,
        description="What it means that the peer hangs up without a result: canceled, success or unknown.",
    )
    allow: Texts = Field(
        default=("*",),
        description="Patterns of SIP URIs that calls may be transferred to; * is any text; parameters and headers are not compared.",
        examples=[["sip:[1-4]??@pbx.example.com", "sip:*@10.0.0.5"]],
    )
    settle_s: Annotated[Seconds, Field(ge=0, le=10)] = Field(
        default=REFER_SETTLE_S, description="Wait between the ACK and a REFER: a PBX needs a moment to bridge the call."
    )

    def is_allowed(self, target: str) -> bool:
        """Tell whether a call may be transferred to *target*, the text of ``<Sip>``."""
        return is_allowed(target, self.allow)


class Media(Section):
    """Audio of calls that play and record nothing."""

    mode: MediaMode = Field(
        default=MediaMode.RECEIVE,
        description="receive: discard what comes; silence: send silence, too; none: no socket, audio inactive.",
    )
    rtp_ports: PortRange = Field(default=(10000, 20000), validate_default=False, description="UDP ports for RTP, two for each call.")


class Limits(Section):
    """What the daemon takes on. Beyond the limits for calls an INVITE gets 503."""

    max_calls: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(default=DEFAULT_MAX_CALLS, description="Calls at a time.")
    max_calls_per_s: Annotated[Whole, Field(ge=1, le=100_000)] = Field(
        default=DEFAULT_MAX_CALLS_PER_S, description="New calls in a second."
    )
    max_message_bytes: Annotated[Whole, Field(ge=MIN_MESSAGE_BYTES, le=MAX_MESSAGE_BYTES)] = Field(
        default=MAX_MESSAGE_BYTES, description="Largest SIP message, in bytes."
    )
    max_connections: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(
        default=DEFAULT_MAX_CONNECTIONS, description="SIP connections over TCP at a time."
    )
    max_verbs: Annotated[Whole, Field(ge=1)] = Field(default=DEFAULT_MAX_VERBS, description="Verbs that one call may run.")
    max_documents: Annotated[Whole, Field(ge=1)] = Field(default=DEFAULT_MAX_DOCUMENTS, description="Documents that one call may run.")


class Log(Section):
    """The log, on standard error."""

    level: LogLevel = Field(default=LogLevel.INFO, description="debug, info, warning or error.")
    format: LogFormat = Field(default=LogFormat.AUTO, description="json, console, or auto: console on a terminal, else json.")
    sip_trace: bool = Field(default=False, description="Log every SIP message, whatever the level; passwords are left out.")


class Peer(Section):
    """A PBX. A call is taken only from an address that some peer's ``match`` has; the smallest matching block decides.

    Without any [[peers]] calls are taken from this machine's own addresses only (127.0.0.0/8 and ::1).
    """

    name: Annotated[str, AfterValidator(check_name)] = Field(
        description="Required. Stands in logs, metrics and names of environment variables.", examples=["pbx"]
    )
    match: tuple[Annotated[str, AfterValidator(check_network)], ...] = Field(
        default=(), description="Addresses and blocks it calls from; empty: the address in uri.", examples=[["10.0.0.5", "10.1.0.0/16"]]
    )
    uri: Annotated[str, AfterValidator(check_sip_uri)] = Field(
        default="", description="Where it is reached: for registration.", examples=["sip:pbx.example.com;transport=tcp"]
    )
    username: str = Field(default="", max_length=128, description="User name for its challenges and of the registered address.")
    password: SecretStr = Field(default=SecretStr(""), description="Secret: the password for its challenges.")
    is_registering: bool = Field(default=False, alias="register", description="Register username at uri, so that the PBX finds us.")
    register_expires_s: Annotated[Whole, Field(ge=30, le=86400)] = Field(
        default=DEFAULT_EXPIRES_S, description="How long a registration is asked to hold."
    )
    notify_timeout_s: Timeout | None = Field(default=None, description="As in [refer].")
    bye_grace_s: Annotated[Seconds, Field(ge=0, le=MAX_BYE_GRACE_S)] | None = Field(default=None, description="As in [refer].")
    on_bye: OnBye | None = Field(default=None, description="As in [refer].")
    allow: Texts | None = Field(default=None, description="As in [refer].")
    settle_s: Annotated[Seconds, Field(ge=0, le=10)] | None = Field(default=None, description="As in [refer].")

    @property
    def networks(self) -> tuple[Network, ...]:
        """The blocks of addresses it calls from."""
        if self.match:
            return tuple(ipaddress.ip_network(text) for text in self.match)
        try:
            return (ipaddress.ip_network(Uri.parse(self.uri).bare_host),) if self.uri else ()
        except ValueError:
            return ()


class Config(Section):
    """The whole configuration."""

    sip: Sip = Sip()
    http: Http = Http()
    voice: Voice = Voice()
    webhook: Webhook = Webhook()
    account: Account = Account()
    store: Store = Store()
    refer: Refer = Refer()
    media: Media = Media()
    limits: Limits = Limits()
    log: Log = Log()
    peers: tuple[Peer, ...] = ()

    def refer_for(self, peer: Peer | None) -> Refer:
        """Return the settings of transfers for calls of *peer*: its own where it has some, else those of ``[refer]``."""
        own = {} if peer is None else {key: value for key in Refer.model_fields if (value := getattr(peer, key)) is not None}
        return self.refer.model_copy(update=own) if own else self.refer

    def secrets(self) -> tuple[str, ...]:
        """Return every secret text, for the log to leave out: tokens, keys, passwords, and credentials in URLs."""
        values = [self.account.auth_token, self.account.signing_key, *(peer.password for peer in self.peers)]
        texts = [value.get_secret_value() for value in values]
        for url in (self.voice.url, self.voice.fallback_url):
            userinfo = urlsplit(url).netloc.rpartition("@")[0]
            user, colon, password = userinfo.partition(":")
            texts += [password, unquote(password)] if colon else [user, unquote(user)]
        return tuple(dict.fromkeys(text for text in texts if text))
