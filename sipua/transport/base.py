"""What the layers above know of the network: endpoints, channels, and who is told what.

Addresses are IP literals here, IPv6 without brackets; names are resolved before (:mod:`sipua.transport.resolver`).
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from sipua.message import Request, Response
from sipua.transport.zones import without_zone

RELIABLE = frozenset({"TCP", "TLS"})
"""Transports that deliver or fail: no retransmission by transactions (RFC 3261 §17)."""


class Endpoint(NamedTuple):
    """A transport in upper case (``UDP``, ``TCP``, ``TLS``), an IP address and a port.

    *name* is the domain that the certificate of a TLS peer must stand for (RFC 5922 §7), ``""`` where there is none to check.
    """

    transport: str
    host: str
    port: int
    name: str = ""

    @property
    def is_reliable(self) -> bool:
        """True for stream transports."""
        return self.transport in RELIABLE

    @property
    def hostport(self) -> str:
        """``host:port`` as it stands in URIs and Via, IPv6 in brackets and without a zone, which no message has a word for."""
        host = f"[{without_zone(self.host)}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport.lower()}:{host}:{self.port}"


class Channel(Protocol):
    """A way to one remote endpoint: a connection, or a UDP socket together with a destination."""

    @property
    def local(self) -> Endpoint:
        """Our end, with the real port."""

    @property
    def remote(self) -> Endpoint:
        """The peer's end."""

    @property
    def identity(self) -> tuple[str, ...]:
        """The domains and addresses that the peer's verified certificate stands for (RFC 5922 §7.1); empty without one."""

    @property
    def is_open(self) -> bool:
        """False once the connection or socket is closed."""

    def send(self, data: bytes) -> None:
        """Hand *data* to the network without waiting. Raises :class:`sipua.errors.TransportError` when that is known to be in vain."""

    def on_close(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call *listener* once when the channel closes; the returned function takes it back. Never called for UDP before shutdown."""


class TransportUser(Protocol):
    """The layer above. Neither method may block; exceptions are logged and swallowed by the transport."""

    def on_request(self, request: Request, channel: Channel) -> None:
        """A well-formed request came; its top Via carries ``received`` and ``rport`` already (RFC 3261 §18.2.1, RFC 3581 §4)."""

    def on_response(self, response: Response, channel: Channel) -> None:
        """A well-formed response with exactly one Via, ours, came."""


class Transports(Protocol):
    """What the transaction layer needs of the transport layer (implemented by :class:`sipua.transport.layer.TransportLayer`)."""

    user: TransportUser | None

    def obstacle(self, transport: str) -> str:
        """Return why nothing can leave by *transport* (upper case), for people; ``""`` when this agent has it."""

    async def channel_to(self, target: Endpoint, size: int = 0) -> Channel:
        """Return an open channel to *target*, connecting if needed; a UDP target and *size* above 1300 octets gives a TCP one if the

        peer takes it (RFC 3261 §18.1.1). Raises :class:`sipua.errors.TransportError`.
        """

    def channel_now(self, target: Endpoint, size: int = 0) -> Channel | None:
        """Return what :meth:`channel_to` would, where that takes no time, else None."""

    def via_for(self, channel: Channel, branch: str) -> str:
        """Return the Via value of a request that leaves by *channel*: advertised sent-by, *branch*, empty ``rport`` (RFC 3581 §3)."""

    def send_response(self, response: Response, channel: Channel) -> None:
        """Send *response* to where its top Via and *channel*, by which the request came, say (RFC 3261 §18.2.2). Never raises:

        when the connection is gone a new one is tried in the background, and failure is logged and counted.
        """

    def send_request(self, request: Request, channel: Channel) -> None:
        """Send *request* (its Via is in place) by *channel*. Raises :class:`sipua.errors.TransportError`."""
