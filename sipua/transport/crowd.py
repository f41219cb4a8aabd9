"""Pure. How many connections peers may have open, in all and from one place."""

import ipaddress
from collections import Counter

from sipua.transport.bucket import SourceBuckets

MAX_CONNECTIONS = 1000  # file descriptors are finite; a PBX uses a handful
MAX_PER_ADDRESS = 100  # a PBX with a connection for each of some dozen calls, or a handful of them behind one NAT
KEPT_PART = 4  # of all places one in four is for those we know: ten strangers with all that one address may have would fill them
HANDSHAKES_PER_S = 50.0  # as many calls a second as are taken, each by a connection of its own; some 4 % of a core
HANDSHAKE_BURST = float(MAX_PER_ADDRESS)  # a PBX that starts anew
_IPV6_PREFIX = 64  # whoever has one address of a /64 has all of them


class Crowd:
    """Counts those who are in by their address; an IPv6 address counts with its whole /64."""

    def __init__(self, max_all: int = MAX_CONNECTIONS, max_per_address: int = MAX_PER_ADDRESS) -> None:
        self.max_all = max_all
        self.max_per_address = max_per_address
        self._of: Counter[str] = Counter()
        self._all = 0

    def __len__(self) -> int:
        return self._all

    def enter(self, host: str, *, is_known: bool = True) -> str:
        """Count one more from *host* and return ``""``, or why it can't come in, and count nothing.

        The last places are only for those who are known.
        """
        place = place_of(host)
        if self._all >= self.max_all:
            return f"{self._all} connections of peers are open, the limit"
        if not is_known and self._all >= self.max_all - self.max_all // KEPT_PART:
            return f"{self._all} connections of peers are open, the limit for an unknown address"
        if self._of[place] >= self.max_per_address:
            return f"{self._of[place]} connections from there are open, the limit for one address"
        self._of[place] += 1
        self._all += 1
        return ""

    def leave(self, host: str) -> None:
        """Count one less from *host*."""
        place = place_of(host)
        self._all -= 1
        self._of[place] -= 1
        if self._of[place] <= 0:
            del self._of[place]


class HandshakePace:
    """How often strangers may begin a TLS handshake: one costs us a signature, and them a copy of the last one's first octets."""

    def __init__(self) -> None:
        self._buckets = SourceBuckets()

    def takes(self, host: str, now: float) -> bool:
        """Tell whether *host* may begin one at *now*."""
        return self._buckets.take(place_of(host), HANDSHAKES_PER_S, HANDSHAKE_BURST, now)


def place_of(host: str) -> str:
    """Return what *host*, an IP literal, is counted as."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
