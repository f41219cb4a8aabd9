"""Our own addresses on the way to others: the routing table's word, remembered for a moment."""

import asyncio

from sipua.transport.network import Network

HOLD_S = 5.0  # how old our view of the routes may be: each message needs it, and a machine may get another address while it runs
MAX_SOURCES = 1024  # destinations that are remembered: those of callers


class Sources:
    """Asks *network*, which takes four system calls, once in ``HOLD_S`` seconds for each destination."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._known: dict[str, tuple[str | None, float]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, host: str) -> str | None:
        """Return the address that packets to *host* leave from, None without a route."""
        now = asyncio.get_running_loop().time()
        known = self._known.get(host)
        if known is not None and now < known[1]:
            return known[0]
        try:
            source: str | None = self._network.source_for(host)
        except OSError:
            source = None
        self._known.pop(host, None)
        while len(self._known) >= MAX_SOURCES:
            del self._known[next(iter(self._known))]
        self._known[host] = source, now + HOLD_S
        return source

    def find_any(self, host: str) -> str:
        """Return the same, the loopback address without a route: a Via needs some address."""
        return self.find(host) or ("::1" if ":" in host else "127.0.0.1")
