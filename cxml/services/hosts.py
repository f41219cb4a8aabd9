"""Pure. Where requests may go: the patterns of ``[webhook] allow_hosts``, and which addresses are private."""

import ipaddress
import re
from fnmatch import fnmatchcase
from typing import Final

from cxml.services.target import Target
from sipua.remembered import remembered

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052 §2.1: an IPv4 address is in its last 32 bits
_IPV6_IN_PATTERN: Final = re.compile(r"\[(?=[0-9a-f:.]*:)")
_KEPT: Final = 256  # verdicts on hosts, whose names have at most some 250 characters; an application has a handful

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_host_allowed(target: Target, patterns: tuple[str, ...]) -> bool:
    """Tell whether the host of *target* matches one of *patterns*.

    A pattern is compared, without regard to case, with ``host`` and ``host:port`` (the scheme's port where the URL has none); IPv6 has
    brackets. ``*`` stands for any text. The host is taken as it goes to the resolver: an internationalised name in its ASCII form.
    """
    return _is_allowed(host_of(target), target.origin[2], patterns)


@remembered(_KEPT)
def _is_allowed(host: str, port: int, patterns: tuple[str, ...]) -> bool:
    forms = (host, f"{host}:{port}")
    return any(fnmatchcase(form, _IPV6_IN_PATTERN.sub("[[]", pattern.lower())) for pattern in patterns for form in forms)


def host_of(target: Target) -> str:
    """Return the host of *target* in lower case, IPv6 in brackets, without the dot that may end a name."""
    return target.host_name


def is_public(address: str) -> bool:
    """Tell whether the IP literal *address* is one of the Internet's: not private, loopback, link-local, shared, multicast or reserved.

    An IPv4 address inside an IPv6 one (mapped, NAT64) counts as what it is. One that leads through a tunnel (6to4, given up by RFC 7526,
    and Teredo) is not public: versions of Python disagree, and no web application is there.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(each.is_global and not each.is_multicast for each in (_outer(found), *_inner(found))) and not _is_tunnel(found)


def _outer(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _inner(address: Address) -> list[ipaddress.IPv4Address]:
    return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)] if address in _NAT64 else []


def _is_tunnel(address: Address) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and not (address.sixtofour is None and address.teredo is None)
