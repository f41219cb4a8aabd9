"""Pure. Who may call: peers known by their source address, with their passwords and their own rules for transfers."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sipua.auth import Account, Credential
from sipua.remembered import remembered
from sipua.transport.base import Endpoint
from sipua.usage.call.machine.interval import TimerSettings
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


class Proof(StrEnum):
    """How a request shows whose it is: its source address, a password, or both of them. A certificate will do instead of either."""

    ADDRESS = "address"
    DIGEST = "digest"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Peer:
    """One PBX: its name, the networks it calls from, the passwords that answer its challenges, its rules, and how it is recognised.

    *is_trusted*: what it says in P-Asserted-Identity counts (RFC 3325). *account* is the one that it shows the password of (``digest`` and
    ``both``), *certificates* are names that its certificate stands for.
    """

    name: str
    networks: tuple[Network, ...]
    credentials: tuple[Credential, ...] = ()
    refer: ReferRules = field(default_factory=ReferRules)
    timer: TimerSettings | None = None
    """Its own session timer in place of the daemon's."""
    is_trusted: bool = False
    proof: Proof = Proof.ADDRESS
    account: Account | None = None
    certificates: tuple[str, ...] = ()


class Peers:
    """Finds the peer of an address, the one with the longest matching prefix, of a user name, or of a certificate."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self.all = tuple(peers)
        with_passwords = {peer.account.username: peer for peer in peers if peer.account and peer.proof in (Proof.DIGEST, Proof.BOTH)}
        self.accounts = tuple(peer.account for peer in with_passwords.values() if peer.account)
        """The accounts of all peers that show a password."""
        self.is_anywhere = any(peer.proof is Proof.DIGEST for peer in peers)
        """Whether some peer may call from any address, with its password."""
        self._by_user = with_passwords
        self._by_certificate = {name.lower(): peer for peer in peers for name in peer.certificates}
        self._by_name = {peer.name: peer for peer in peers}
        self._find = remembered(1024)(self._search)

    def find(self, endpoint: Endpoint) -> Peer | None:
        """Return the peer at *endpoint*, whatever else it has to show; None for a stranger."""
        return self._find(endpoint.host)

    def at(self, host: str) -> Peer | None:
        """Return the peer at the address *host*."""
        return self._find(host)

    def of_user(self, username: str, endpoint: Endpoint) -> Peer | None:
        """Return the peer whose password *username* has shown, None if it may not call from *endpoint*."""
        peer = self._by_user.get(username)
        return peer if peer is not None and (peer.proof is Proof.DIGEST or peer is self.find(endpoint)) else None

    def of_certificate(self, names: Sequence[str]) -> Peer | None:
        """Return the peer that one of *names*, those of a verified certificate, stands for."""
        return next((peer for name in names if (peer := self._by_certificate.get(name.lower()))), None)

    def named(self, name: str) -> Peer | None:
        """Return the peer *name*."""
        return self._by_name.get(name)

    def _search(self, host: str) -> Peer | None:
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        matches = [
            (n.prefixlen, -i, p)
            for i, p in enumerate(self.all)
            if p.proof in (Proof.ADDRESS, Proof.BOTH)
            for n in p.networks
            if n.version == address.version and address in n
        ]
        return max(matches, key=lambda match: match[:2])[2] if matches else None
