"""Pure. Our own addresses: what peers are told in Via and Contact, and whether a response is to a request of ours (RFC 3261 §18.1)."""

from collections.abc import Callable

from sipua.message import Response
from sipua.transport.advertised import Advertised
from sipua.transport.base import Channel, Endpoint
from sipua.transport.route import ip_literal, is_wildcard, response_sent_by, same_host, sent_by_key
from sipua.transport.zones import without_zone

_MAX_SPELLINGS = 1024


class OwnAddresses:
    """Where we listen, and under which names."""

    def __init__(self, advertised: Advertised) -> None:
        self.listening: list[Endpoint] = []
        self._advertised = advertised
        self._stamped: dict[str, None] = {}
        self._told: dict[Endpoint, Endpoint] = {}
        self._told_with = 0

    def advertised(self, channel: Channel) -> Endpoint:
        """Return the endpoint at which the peer of *channel* reaches us: what stands in Via and should stand in Contact.

        The port of a connection that we opened is that of our listener for its transport, if there is one (RFC 3261 §18.1.1).
        """
        local = channel.local
        if self._told_with != len(self.listening) or len(self._told) >= _MAX_SPELLINGS:
            self._told.clear()
            self._told_with = len(self.listening)
        told = self._told.get(local)
        if told is None:
            told = self._told[local] = self._find_advertised(local)
        return told

    def _find_advertised(self, local: Endpoint) -> Endpoint:
        port = local.port
        listening = [e for e in self.listening if e.transport == local.transport]
        if local.is_reliable and not any(e.port == port for e in listening):
            wildcards = [e.port for e in listening if (":" in e.host) == (":" in local.host)]
            exact = [e.port for e in listening if same_host(e.host, local.host)]
            port = (exact or wildcards or [port])[0]
        return Endpoint(local.transport, self._advertised.host_for(local.host) or without_zone(local.host), port)

    def source_to(self, target: Endpoint, source_for: Callable[[str], str | None]) -> str:
        """Return the address that a connection to *target* has to leave from, empty when the routing table's choice (*source_for*) will do.

        On a machine with several addresses it is that of our listener: the peer knows us by it, and takes it for where we are reached.
        """
        ours = [e.host for e in self.listening if e.transport == target.transport and (":" in e.host) == (":" in target.host)]
        if not ours or any(is_wildcard(host) or "%" in host for host in ours):
            return ""
        usual = source_for(target.host)
        usable = [host for host in ours if _is_loopback(host) == _is_loopback(target.host)]  # nothing leaves the machine from loopback
        return "" if usual is None or not usable or any(same_host(host, usual) for host in usable) else usable[0]

    def via(self, channel: Channel, branch: str) -> str:
        """Return the Via value of a request that leaves by *channel*; over TLS the peer may send requests back by it (RFC 5923 §5)."""
        ours = self.advertised(channel)
        key = sent_by_key(ours.host, ours.port, ours.transport)
        if key not in self._stamped:
            while len(self._stamped) >= _MAX_SPELLINGS:
                del self._stamped[next(iter(self._stamped))]
            self._stamped[key] = None
        alias = ";alias" if ours.transport == "TLS" else ""
        return f"SIP/2.0/{ours.transport} {ours.hostport};branch={branch};rport{alias}"

    def is_ours(self, response: Response, channel: Channel) -> bool:
        """Tell whether the only Via of *response* is one of ours (RFC 3261 §8.1.3.3, §18.1.2)."""
        lines = response.headers.lines("Via")
        if len(lines) == 1 and "," not in lines[0]:
            via = response.via
            key: str | None = sent_by_key(via.host, via.port, via.transport)
        else:
            key = response_sent_by(response.headers.values("Via"))
        if key is None:
            return False
        if key in self._stamped:
            return True
        ours = self.advertised(channel)
        return key == sent_by_key(ours.host, ours.port, ours.transport)


def _is_loopback(host: str) -> bool:
    address = ip_literal(host)
    return address is not None and address.is_loopback
