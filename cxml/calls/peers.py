"""Pure. Who may call: peers known by their source address, with their passwords and their own rules for transfers."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from sipua.auth import Credential
from sipua.transport.base import Endpoint
from sipua.usage.subscription.refer import ReferSettings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
"""Who may call a daemon that has no peers configured."""


@dataclass(frozen=True, slots=True)
class ReferRules:
    """How transfers towards one peer go.

    *on_bye* is ``canceled``, ``success`` or ``unknown``; *is_allowed* says whether a document may send a call to a URI.
    """

    settings: ReferSettings = field(default_factory=ReferSettings)
    on_bye: str = "canceled"
    settle_s: float = 0.1
    is_allowed: Callable[[str], bool] = lambda _target: True


@dataclass(frozen=True, slots=True)
class Peer:
    """One PBX: its name, the networks it calls from, the passwords that answer its challenges, and its rules."""

    name: str
    networks: tuple[Network, ...]
    credentials: tuple[Credential, ...] = ()
    refer: ReferRules = field(default_factory=ReferRules)


class Peers:
    """Finds the peer of an address: the one with the longest matching prefix."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self.all = tuple(peers)
        self._find = lru_cache(maxsize=1024)(self._search)

    def find(self, endpoint: Endpoint) -> Peer | None:
        """Return the peer at *endpoint*, None for a stranger."""
        return self._find(endpoint.host)

    def _search(self, host: str) -> Peer | None:
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        matches = [
            (n.prefixlen, -i, p) for i, p in enumerate(self.all) for n in p.networks if n.version == address.version and address in n
        ]
        return max(matches, key=lambda match: match[:2])[2] if matches else None
