"""Our Contact (RFC 3261 §8.1.1.8, §12.1.1)."""

from sipua.message import Uri
from sipua.remembered import remembered
from sipua.transport.base import Channel, Endpoint
from sipua.transport.layer import TransportLayer

MAX_USER = 64  # a longer user part is no extension: it is not remembered


def contact_for(transports: TransportLayer, channel: Channel, user: str, *, is_secure: bool, parameters: str = "") -> str:
    """Return our Contact value, with brackets, for the peer of *channel*; a ``sips`` URI when *is_secure* and TLS can keep its promise.

    *parameters* are more of the URI, each with its semicolon.
    """
    ours = transports.advertised(channel)
    if len(user) > MAX_USER:
        return _build(ours, user, is_secure, parameters)
    return _remembered(ours, user, is_secure, parameters)


def _build(ours: Endpoint, user: str, is_secure: bool, parameters: str) -> str:
    scheme = "sips" if is_secure and ours.transport == "TLS" else "sip"
    uri = Uri.build(ours.host, user=user, port=ours.port, scheme=scheme)
    transport = "" if ours.transport == "UDP" or scheme == "sips" else f";transport={ours.transport.lower()}"
    return f"<{uri}{transport}{parameters}>"


_remembered = remembered(1024)(_build)
