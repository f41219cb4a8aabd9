"""Pure. Which requests of ours a peer's own TLS connection may carry (RFC 5923 §5, §8)."""

from sipua.errors import ParseError
from sipua.message import Request
from sipua.transport.base import Channel, Endpoint
from sipua.transport.route import default_port


def alias_endpoints(request: Request, channel: Channel) -> list[Endpoint]:
    """Return the endpoints that *channel*, by which *request* came, is an alias of; none unless the peer asked for that and may.

    The top Via says ``alias`` and over TLS the peer has shown a certificate that passed. The endpoint is the address that the connection
    came from, with the port of the sent-by, as each domain that the certificate stands for: a request to another domain at that address
    still gets a connection of its own, with its own check.
    """
    if channel.remote.transport != "TLS" or not channel.identity:
        return []
    try:
        via = request.via
    except ParseError:
        return []
    if "alias" not in via.params or via.transport != "TLS":
        return []
    port = default_port("TLS") if via.port is None else via.port
    return [Endpoint("TLS", channel.remote.host, port, name) for name in channel.identity]
