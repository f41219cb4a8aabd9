"""Pure. Records in, servers in their order out: the decisions of RFC 3263 §4 and RFC 2782 (docs/spec/server-location.md).

:func:`locate` asks by yielding questions and is sent their answers, so that the same decisions run on a cache and on a network.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sipua.errors import TransportError, printable
from sipua.message import Uri
from sipua.transport.base import Endpoint
from sipua.transport.route import Target, target_of

MAX_RECORDS = 32  # of one name and type that are looked at: real domains have a handful
MAX_SERVERS = 8  # SRV targets whose addresses are asked for: what a request could try takes minutes already
MAX_ENDPOINTS = 32  # addresses of all servers together
MAX_SERVICES = 5  # NAPTR replacements that are followed: a domain has one for each transport

SERVICE_NAMES = {"UDP": "_sip._udp.", "TCP": "_sip._tcp.", "TLS": "_sips._tcp."}
"""What stands before the domain in the name of an SRV record, the transports in the order in which we prefer them without NAPTR."""

NAPTR_SERVICES = {"SIP+D2U": "UDP", "SIP+D2T": "TCP", "SIPS+D2T": "TLS"}
"""The services of NAPTR that we speak (RFC 3263 §4.1, §10)."""

Pick = Callable[[int, int], int]
"""Returns a random whole number between its two arguments, both included."""


class Kind(StrEnum):
    """What a question asks for; ``HOST`` is addresses of both families, wherever they come from."""

    NAPTR = "NAPTR"
    SRV = "SRV"
    HOST = "HOST"


@dataclass(frozen=True, slots=True)
class Naptr:
    """A NAPTR record (RFC 3403 §4.1). *replacement* is a name without its final dot, ``""`` for the root."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Srv:
    """An SRV record (RFC 2782). *target* is a name without its final dot, ``""`` for the root: no such service."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Question:
    """A name in lower case without its final dot, and what is wanted of it."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Answer:
    """*records* of the kind that was asked for (addresses as text for ``HOST``); *error* says why there are none when nobody knows."""

    records: tuple[Naptr, ...] | tuple[Srv, ...] | tuple[str, ...] = ()
    error: str = ""


Location = Generator[tuple[Question, ...], Sequence[Answer], list[Endpoint]]
"""Yields questions, is sent their answers in the same order, returns endpoints."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What we bring along: whether we have a transport (upper case), whether a name is a host's and no domain's, whether to ask for NAPTR.

    A name without a dot is always a host: it belongs to a search list, a hosts file or a container.
    """

    has_transport: Callable[[str], bool] = lambda transport: transport != "TLS"
    is_host: Callable[[str], bool] = lambda name: "." not in name
    naptr: bool = True


def host_name(text: str) -> str:
    """Return a name as questions have it."""
    return text.rstrip(".").lower()


def locate(uri: Uri, pick: Pick, abilities: Abilities) -> Location:
    """Find the endpoints of *uri* by RFC 3263 §4, best first, at least one.

    Raises :class:`TransportError`: no SIP URI, unknown transport, a domain that says it has no SIP, a name without addresses.
    """
    target = target_of(uri)
    if target.name.endswith("."):
        target = replace(target, name=host_name(target.name))
    if target.endpoint is not None:
        return [target.endpoint]
    domain = host_name(target.host)
    # §4.2: an explicit port means that very host
    if target.port is None and not abilities.is_host(domain):
        services = [(target.transport, SERVICE_NAMES[target.transport] + domain)] if uri.transport else []
        services = services or (yield from _services(uri, domain, abilities))
        for transport, name in services:
            endpoints = yield from _servers(Target(transport, domain, None, _tls_name(transport, uri)), name, pick)
            if endpoints:
                return endpoints
    return (yield from _addresses(target, domain))


def _tls_name(transport: str, uri: Uri) -> str:
    """Return the domain of the URI for TLS, however the transport was found (RFC 5922 §4)."""
    return host_name(uri.bare_host) if transport == "TLS" else ""


def _services(uri: Uri, domain: str, abilities: Abilities) -> Generator[tuple[Question, ...], Sequence[Answer], list[tuple[str, str]]]:
    """Choose the transport and the name of its SRV records (RFC 3263 §4.1)."""
    is_sips = uri.scheme == "sips"
    if abilities.naptr:
        (answer,) = yield (Question(domain, Kind.NAPTR),)
        chosen = choose_naptr([r for r in answer.records if isinstance(r, Naptr)], abilities.has_transport, is_sips=is_sips)
        if chosen:
            return chosen
    return [(t, prefix + domain) for t, prefix in SERVICE_NAMES.items() if abilities.has_transport(t) and (t == "TLS" or not is_sips)]


def choose_naptr(records: Iterable[Naptr], has_transport: Callable[[str], bool], *, is_sips: bool) -> list[tuple[str, str]]:
    """Return transports and SRV names of the NAPTR records that can be used, by order and preference (RFC 3263 §4.1, RFC 3403 §4.1)."""
    chosen: dict[tuple[str, str], None] = {}
    for record in sorted(records, key=lambda r: (r.order, r.preference)):
        transport = NAPTR_SERVICES.get(record.service.upper(), "")
        if record.flags.lower() != "s" or record.regexp or not record.replacement or not transport:
            continue
        if has_transport(transport) and (transport == "TLS" or not is_sips):
            chosen[transport, host_name(record.replacement)] = None
    return list(chosen)[:MAX_SERVICES]


def order_srv(records: Iterable[Srv], pick: Pick) -> list[Srv]:
    """Return usable *records* by priority, those of one priority by a draw that follows their weights (RFC 2782)."""
    usable = dict.fromkeys(record for record in records if record.target and 0 < record.port <= 65535)
    ordered: list[Srv] = []
    for priority in sorted({record.priority for record in usable}):
        # weight 0 first, so that such a record is drawn now and then
        left = sorted((record for record in usable if record.priority == priority), key=lambda r: r.weight)
        while left:
            ordered.append(left.pop(_draw(left, pick)))
    return ordered


def _draw(records: Sequence[Srv], pick: Pick) -> int:
    if len(records) == 1:
        return 0
    number, running = pick(0, sum(record.weight for record in records)), 0
    for index, record in enumerate(records):
        running += record.weight
        if running >= number:
            return index
    return len(records) - 1


def _servers(target: Target, name: str, pick: Pick) -> Location:
    """Return the endpoints behind the SRV records of *name*, none when it has no records."""
    (answer,) = yield (Question(host_name(name), Kind.SRV),)
    records = [record for record in answer.records if isinstance(record, Srv)]
    if records and not any(record.target for record in records):
        raise TransportError(f"{printable(target.host, 64)} says in DNS that it has no SIP over {target.transport}")  # RFC 2782: target "."
    servers = order_srv(records[:MAX_RECORDS], pick)[:MAX_SERVERS]
    if not servers:
        return []
    answers = yield tuple(Question(host_name(server.target), Kind.HOST) for server in servers)
    found = dict.fromkeys(
        Endpoint(target.transport, str(address), server.port, target.name)
        for server, addresses in zip(servers, answers, strict=True)
        for address in addresses.records
    )
    if not found:
        why = next((a.error for a in answers if a.error), "their names have no addresses")
        raise TransportError(f"no server of {printable(name, 64)} can be found: {why}")
    return list(found)[:MAX_ENDPOINTS]


def _addresses(target: Target, domain: str) -> Location:
    (answer,) = yield (Question(domain, Kind.HOST),)
    if not answer.records:
        raise TransportError(answer.error or f"{printable(domain, 64)} has no address")
    return [target.at(str(address)) for address in answer.records][:MAX_ENDPOINTS]
