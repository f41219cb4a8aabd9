"""Pure. The order of a name's addresses: RFC 6724 as far as two addresses of ours can tell, families in turns (RFC 7984 §4)."""

import ipaddress
from collections.abc import Callable, Iterable

from sipua.remembered import remembered
from sipua.transport.route import is_unicast

_PRECEDENCE = (
    ("::1/128", 50),
    ("::ffff:0:0/96", 35),
    ("2002::/16", 30),
    ("2001::/32", 5),
    ("fc00::/7", 3),
    ("::/96", 1),
    ("fec0::/10", 1),
    ("3ffe::/16", 1),
    ("::/0", 40),
)
"""The policy table of RFC 6724 §2.1, longest prefixes first where they overlap."""

_TABLE = tuple((ipaddress.IPv6Network(prefix), precedence) for prefix, precedence in _PRECEDENCE)
_IPV4 = 35  # ::ffff:0:0/96
_parsed = remembered(1024)(ipaddress.ip_address)  # the same few addresses are ordered for each request

SourceFor = Callable[[str], str | None]
"""Returns the address that packets to an address leave from, None without a route."""


def usable(addresses: Iterable[str]) -> list[str]:
    """Return those of *addresses* that name one machine, in one spelling, each once: no groups, no wildcard, no mapped IPv4."""
    kept: dict[str, None] = {}
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if is_unicast(str(address)):
            kept[str(address)] = None
    return list(kept)


def order(addresses: Iterable[str], source_for: SourceFor) -> list[str]:
    """Return *addresses* best first.

    Those without a route come last (rule 1), then scopes that match (2), then precedence (6), then as the name server had them: it may
    take turns. The first address of each family takes turns with the other's, so that a dead family costs one attempt, not all of them.
    """
    sources = {address: source_for(address) for address in addresses}
    ranked = sorted(sources, key=lambda address: _rank(address, sources[address]))
    return _in_turns([a for a in ranked if sources[a] is not None]) + [a for a in ranked if sources[a] is None]


def _rank(address: str, source: str | None) -> tuple[bool, bool, int]:
    target = _parsed(address)
    if source is None:
        return True, True, -_precedence(target)
    return False, _scope(target) != _scope(_parsed(source)), -_precedence(target)


def _precedence(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    if isinstance(address, ipaddress.IPv4Address):
        return _IPV4
    return next(precedence for network, precedence in _TABLE if address in network)


def _scope(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return ``link`` or ``global`` (RFC 6724 §3.1, §3.2: loopback counts as link-local, private IPv4 as global)."""
    return "link" if address.is_loopback or address.is_link_local else "global"


def _in_turns(addresses: list[str]) -> list[str]:
    if not addresses:
        return []
    first_is_ipv6 = ":" in addresses[0]
    mine = [address for address in addresses if (":" in address) == first_is_ipv6]
    others = [address for address in addresses if (":" in address) != first_is_ipv6]
    turns: list[str] = []
    for index in range(max(len(mine), len(others))):
        turns += mine[index : index + 1] + others[index : index + 1]
    return turns
