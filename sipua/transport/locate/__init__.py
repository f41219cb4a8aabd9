"""From the URI of a next hop to the endpoints to try: DNS by RFC 3263, with its cache, the hosts file and the system's resolver."""

from sipua.transport.locate.asker import DnsSettings
from sipua.transport.locate.locator import Locator

__all__ = ["DnsSettings", "Locator"]
