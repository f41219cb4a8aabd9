"""Pure. Where a request and a response go (RFC 3261 §8.1.2, §12.2.1.1, §18.2; RFC 3581 §4), and what is written into Via on the way.

Hosts are given and returned without the brackets of IPv6.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from sipua.errors import ParseError, TransportError
from sipua.message import Request, Uri, Via
from sipua.message.grammar import split_list
from sipua.message.memory import Memory
from sipua.remembered import remembered
from sipua.transport.base import Endpoint
from sipua.transport.zones import without_zone

DEFAULT_PORT = 5060
DEFAULT_TLS_PORT = 5061
TRANSPORTS = frozenset({"UDP", "TCP", "TLS"})
"""The transports that there are; :meth:`sipua.transport.base.Transports.obstacle` says which of them an agent has."""

_MAX_ADDRESS = 64  # the longest IPv6 address with a zone; what is remembered comes from the network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Target:
    """The next hop before name resolution: transport in upper case, a name or an IP literal, a port or None when none was given.

    *name* is the domain that a TLS server must prove to stand for: the URI's, never what ``maddr`` or DNS make of it (RFC 5922 §4).
    """

    transport: str
    host: str
    port: int | None
    name: str = ""

    @property
    def port_or_default(self) -> int:
        """The port, or the one of the transport (RFC 3261 §18.1.1)."""
        return default_port(self.transport) if self.port is None else self.port

    @property
    def endpoint(self) -> Endpoint | None:
        """The endpoint when the host is an IP literal, else None."""
        return None if ip_literal(self.host) is None else self.at(self.host)

    def at(self, address: str) -> Endpoint:
        """Return the endpoint at *address*, one of the host's."""
        return Endpoint(self.transport, address, self.port_or_default, self.name)


def ip_literal(host: str) -> IpAddress | None:
    """Return the address that *host* spells (brackets allowed), None for a name."""
    return _address(host) if len(host) <= _MAX_ADDRESS else None


@remembered(4096)
def _address(host: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_wildcard(host: str) -> bool:
    """Tell whether *host* is the address that stands for all of a machine's."""
    address = ip_literal(host)
    return address is not None and address.is_unspecified


def same_host(one: str, other: str) -> bool:
    """Tell whether two hosts are equal: addresses by value (RFC 5118 §4.7), names without regard to case."""
    left, right = ip_literal(one), ip_literal(other)
    if left is None or right is None:
        return one.strip("[]").lower() == other.strip("[]").lower()
    return left == right


def default_port(transport: str) -> int:
    """Return 5061 for TLS and 5060 for the others (RFC 3261 §18.1.1)."""
    return DEFAULT_TLS_PORT if transport == "TLS" else DEFAULT_PORT


def parse_endpoint(text: str) -> Endpoint:
    """Parse ``udp:127.0.0.1:5060`` or ``tcp:[::1]:0``. Raises ValueError with a text for the person who wrote it."""
    transport, colon, rest = text.partition(":")
    host, colon2, port = rest.rpartition(":")
    if not (colon and colon2 and port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{text!r} is not of the form udp:ADDRESS:PORT, tcp:ADDRESS:PORT or tls:ADDRESS:PORT")
    if transport.upper() not in {"UDP", "TCP", "TLS"}:
        raise ValueError(f"{text!r}: unknown transport {transport!r}")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ip_literal(host) is None or (":" in bare) != host.startswith("["):
        raise ValueError(f"{text!r}: {host!r} is not an IP address (IPv6 goes in brackets)")
    return Endpoint(transport.upper(), bare, int(port))


def next_hop(request: Request) -> Uri:
    """Return the URI that says where *request* goes (RFC 3261 §8.1.2).

    The first Route value when it is a loose router's, else the Request-URI. Towards a strict router that is the router's URI, whatever
    the Route lines say: the dialog that made the request knows. Raises :class:`ParseError`.
    """
    if request.is_strictly_routed:
        return request.request_uri
    route = request.route
    if route and "lr" in route[0].uri.params:
        return route[0].uri
    return request.request_uri


def is_secure(request: Request) -> bool:
    """Tell whether our Contact in the dialog of *request*, one of ours, must be a ``sips`` URI (RFC 3261 §8.1.1.8)."""
    first = request.route[0].uri if request.route else request.request_uri
    return "sips" in (request.request_uri.scheme, first.scheme)


def is_secure_from_peer(request: Request) -> bool:
    """Tell the same of a request of the peer's (RFC 3261 §12.1.1): its Request-URI, then its first Record-Route, else its Contact."""
    if request.request_uri.scheme == "sips":
        return True
    if request.record_route:
        return request.record_route[0].uri.scheme == "sips"
    return request.contact is not None and request.contact.uri.scheme == "sips"


def target_of(uri: Uri) -> Target:
    """Return transport, host and port of *uri*: the ``transport`` parameter, else UDP for ``sip``; ``maddr``, else the host (§8.1.2).

    ``sips`` is TLS, whether its parameter says ``tcp``, ``tls`` or nothing (RFC 3261 §26.2.2, RFC 5630 §3.1.4). Raises
    :class:`TransportError` for what can't be reached: another scheme, an unknown transport, ``sips`` by datagrams.
    """
    return _TARGETS.read(uri.text)


def _read_target(text: str) -> Target:
    uri = Uri.parse(text)
    if not uri.is_sip:
        raise TransportError(f"no route to a {uri.scheme} URI")
    transport = uri.transport.upper() or ("TLS" if uri.scheme == "sips" else "UDP")
    if transport not in TRANSPORTS:
        raise TransportError("unknown transport in a URI")
    if uri.scheme == "sips":
        if transport == "UDP":
            raise TransportError("a sips URI can't be reached by UDP")
        transport = "TLS"
    host = (uri.params.get("maddr") or uri.host).strip("[]")
    return Target(transport, host, uri.port, uri.bare_host.lower() if transport == "TLS" else "")


_TARGETS = Memory(_read_target)


def stamp_via(via: Via, source_host: str, source_port: int) -> Via:
    """Return the top Via of a request with ``received`` and ``rport`` as the server adds them (RFC 3261 §18.2.1, RFC 3581 §4).

    Values that came from the network are replaced or dropped: they would redirect the response.
    """
    source_host = without_zone(source_host)
    if "rport" in via.params:
        return via.with_params(rport=str(source_port), received=source_host)
    if ip_literal(via.host) is None or not same_host(via.host, source_host):
        return via.with_param("received", source_host)
    if "received" in via.params:
        return Via(via.transport, via.host, via.port, via.params.without("received"))
    return via


def stamp_request(request: Request, source_host: str, source_port: int) -> None:
    """Write ``received`` and ``rport`` into the top Via of *request*. Raises :class:`ParseError` when that is unusable."""
    via = request.via
    stamped = stamp_via(via, source_host, source_port)
    if stamped is via:
        return
    headers = request.headers
    text, line = stamped.written(), headers.get("Via") or ""
    if "," in line:
        text = ", ".join((text, *split_list(line)[1:]))
    headers.replace_first("Via", text, stamped)


def response_address(via: Via, source_host: str, source_port: int, *, reliable: bool) -> tuple[str, int]:
    """Return host and port that a response with top Via *via* goes to, whose request came from *source_host* and *source_port*.

    The host is always the source: RFC 3261 §18.2.2 comes to that by ``received``, or by a sent-by that equals it, but a Via may be written
    so that what :func:`stamp_request` adds does not read back (``;x=<q``). The port is the source's with ``rport`` (RFC 3581 §4), else
    that of the sent-by; on a stream, where it is to connect to when the request's connection is gone, always the latter. ``maddr`` counts
    nowhere: it is there for multicast, which we don't serve, and would let anybody send our responses to anybody.
    """
    if not reliable and "rport" in via.params:
        return source_host, source_port
    return source_host, default_port(via.transport) if via.port is None else via.port


def is_unicast(host: str) -> bool:
    """Tell whether *host* is the literal of one machine: not multicast, not ``0.0.0.0``, not the broadcast address."""
    return len(host) <= _MAX_ADDRESS and _is_unicast(host)


@remembered(4096)
def _is_unicast(host: str) -> bool:
    address = ip_literal(host)
    if address is None or address.is_multicast or address.is_unspecified:
        return False
    return str(address) != "255.255.255.255"


def sent_by_key(host: str, port: int | None, transport: str) -> str:
    """Return sent-by in one spelling, with the default port written out, so that ours is found in a response (RFC 3261 §18.1.2)."""
    name = _spelling(host) if len(host) <= _MAX_ADDRESS else host.strip("[]").lower()
    return f"{name} {default_port(transport) if port is None else port}"


@remembered(4096)
def _spelling(host: str) -> str:
    address = ip_literal(host)
    return host.strip("[]").lower() if address is None else str(address)


def response_sent_by(via_values: Sequence[str]) -> str | None:
    """Return the :func:`sent_by_key` of a response's only Via; None when there are more than one or it is broken (RFC 3261 §8.1.3.3)."""
    if len(via_values) != 1:
        return None
    try:
        via = Via.parse(via_values[0])
    except ParseError:
        return None
    return sent_by_key(via.host, via.port, via.transport)
