"""Pure. Zones of link-local addresses: SIP has no word for them (RFC 4007, RFC 5118 leaves them out), sockets can't do without."""

MAX_ZONES = 256  # link-local peers that are remembered: those of one cable


def without_zone(host: str) -> str:
    """Return *host* as it may stand in a message: ``fe80::1`` for ``fe80::1%eth0``."""
    return host.partition("%")[0]


class Zones:
    """Remembers on which interface a link-local peer was heard, for requests to the address in its Contact."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._known)

    def heard(self, host: str) -> None:
        """A message came from *host*."""
        if "%" not in host or self._known.get(without_zone(host)) == host:
            return
        while len(self._known) >= MAX_ZONES:
            del self._known[next(iter(self._known))]
        self._known[without_zone(host)] = host

    def complete(self, host: str) -> str:
        """Return *host* with the zone in which it was heard, unchanged if it was not."""
        return self._known.get(host, host)
