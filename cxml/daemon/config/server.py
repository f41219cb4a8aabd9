"""Pure. The sections about the daemon itself: listeners, media, limits, log."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from cxml.daemon.config.section import MAX_TIMEOUT_S, Section
from cxml.daemon.config.values import (
    PortRange,
    Seconds,
    Whole,
    check_advertised,
    check_endpoint,
    check_http_listen,
    check_store,
    check_user_agent,
    parse_http_listen,
)
from cxml.interpreter.context import DEFAULT_MAX_DOCUMENTS, DEFAULT_MAX_VERBS
from sipua.message import MAX_MESSAGE_BYTES
from sipua.transaction.bounds import MAX_SERVERS
from sipua.transport.crowd import MAX_PER_ADDRESS
from sipua.transport.tcp import FIRST_MESSAGE_SECONDS
from sipua.usage.call.machine.interval import DEFAULT_EXPIRES_S, FLOOR_S
from sipua.usage.call.machine.reliable_uas import ReliableUse
from sipua.usage.call.media import MediaMode

DEFAULT_MAX_CALLS = 1000  # a thousand calls need some 2,000 file descriptors, twice what a shell grants and a fraction of the unit's
DEFAULT_MAX_CALLS_PER_S = 50  # half of what one core sets up: running calls keep their time
DEFAULT_MAX_CONNECTIONS = 1000  # file descriptors are finite; a PBX uses a handful
MIN_SESSION_S = 2  # half of it is the pace of refreshes
DEFAULT_MAX_CALL_S = 4 * 3600  # nobody waits longer for a transfer, and a call that was forgotten costs a place
DEFAULT_SOURCE_DATAGRAMS_PER_S = 100  # ten calls a second of a caller who logs in
DEFAULT_STRANGER_DATAGRAMS_PER_S = 2000  # a fraction of what one core parses
MIN_MESSAGE_BYTES = 1300  # what every SIP element must take in a datagram (RFC 3261 §18.1.1)


MAX_SESSION_S = 86400  # a day: a call that is dead for longer is found by nobody


class Sip(Section):
    """The SIP side."""

    listen: tuple[Annotated[str, AfterValidator(check_endpoint)], ...] = Field(
        default=("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"),
        description="Where SIP is received: udp:, tcp: or tls:ADDRESS:PORT, IPv6 in brackets.",
    )
    advertised_host: Annotated[str, AfterValidator(check_advertised)] = Field(
        default="",
        description="Name, address, or IPv4 and IPv6 address with a comma that peers are told instead of the local address; no port.",
        examples=["198.51.100.7, 2001:db8::7"],
    )
    user_agent: Annotated[str, AfterValidator(check_user_agent)] = Field(
        default="cxmld", description="What the headers User-Agent and Server say."
    )
    reliable_provisional: ReliableUse = Field(
        default=ReliableUse.REQUIRED,
        description="When 180 is sent reliably (100rel): required: for a caller that insists; supported: that can; never.",
    )
    drain_timeout_s: Annotated[Seconds, Field(ge=0, le=MAX_TIMEOUT_S)] = Field(
        default=60.0, description="How long running calls may go on after SIGTERM; then they are hung up."
    )
    session_expires_s: Annotated[Whole, Field(ge=0, le=MAX_SESSION_S)] = Field(
        default=DEFAULT_EXPIRES_S,
        description="Session timer: a call that nobody refreshes within this time is hung up; 0: only when the PBX asks for it.",
    )
    min_se_s: Annotated[Whole, Field(ge=MIN_SESSION_S, le=MAX_SESSION_S)] = Field(
        default=FLOOR_S, description="Shortest session timer that is agreed to; RFC 4028 knows none below 90."
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


class Store(Section):
    """Where the position of each call is kept."""

    url: Annotated[str, AfterValidator(check_store)] = Field(
        default="memory:", description="Only memory: in this version: calls do not survive a restart of the daemon."
    )


class Media(Section):
    """Audio of calls that play and record nothing."""

    mode: MediaMode = Field(
        default=MediaMode.RECEIVE,
        description="receive: discard what comes; silence: send silence, too; none: no socket, audio inactive.",
    )
    rtp_ports: PortRange = Field(default=(10000, 20000), validate_default=False, description="UDP ports for RTP, two for each call.")


class Limits(Section):
    """What the daemon takes on. Beyond the limits for calls an INVITE gets 503 with Retry-After."""

    max_calls: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(default=DEFAULT_MAX_CALLS, description="Calls at a time.")
    max_calls_per_s: Annotated[Whole, Field(ge=1, le=100_000)] = Field(
        default=DEFAULT_MAX_CALLS_PER_S, description="New calls in a second."
    )
    max_call_s: Annotated[Whole, Field(ge=1, le=7 * 86400)] = Field(
        default=DEFAULT_MAX_CALL_S, description="How long a call may go on; then it is hung up."
    )
    shed_on_lag: bool = Field(default=True, description="Refuse a share of new calls with 503 while the daemon falls behind its work.")
    max_source_datagrams_per_s: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(
        default=DEFAULT_SOURCE_DATAGRAMS_PER_S,
        description="SIP datagrams in a second from one address (IPv6: one /64) that is no peer's and has no call; more are dropped.",
    )
    max_stranger_datagrams_per_s: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(
        default=DEFAULT_STRANGER_DATAGRAMS_PER_S, description="The same for all such addresses together."
    )
    max_transactions: Annotated[Whole, Field(ge=100, le=1_000_000)] = Field(
        default=MAX_SERVERS, description="SIP requests that are remembered at a time, to absorb their repetitions."
    )
    max_message_bytes: Annotated[Whole, Field(ge=MIN_MESSAGE_BYTES, le=MAX_MESSAGE_BYTES)] = Field(
        default=MAX_MESSAGE_BYTES, description="Largest SIP message, in bytes."
    )
    max_connections: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(
        default=DEFAULT_MAX_CONNECTIONS,
        description="SIP connections over TCP and TLS at a time that peers open, the last quarter only known ones, and that we open.",
    )
    max_connections_per_address: Annotated[Whole, Field(ge=1, le=1_000_000)] = Field(
        default=MAX_PER_ADDRESS, description="Connections that one address, or one /64 of IPv6, may have open."
    )
    first_message_timeout_s: Annotated[Seconds, Field(gt=0, le=MAX_TIMEOUT_S)] = Field(
        default=FIRST_MESSAGE_SECONDS, description="How long a peer that has connected may send no SIP message."
    )
    max_verbs: Annotated[Whole, Field(ge=1)] = Field(default=DEFAULT_MAX_VERBS, description="Verbs that one call may run.")
    max_documents: Annotated[Whole, Field(ge=1)] = Field(default=DEFAULT_MAX_DOCUMENTS, description="Documents that one call may run.")


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


class Log(Section):
    """The log, on standard error."""

    level: LogLevel = Field(default=LogLevel.INFO, description="debug, info, warning or error.")
    format: LogFormat = Field(default=LogFormat.AUTO, description="json, console, or auto: console on a terminal, else json.")
    sip_trace: bool = Field(default=False, description="Log every SIP message, whatever the level; passwords are left out.")
