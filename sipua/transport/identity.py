"""Pure. Which SIP domains a certificate stands for, and whether that is the one that was asked for (RFC 5922 §7).

Certificates come as :meth:`ssl.SSLObject.getpeercert` gives them: a mapping with ``subject`` and ``subjectAltName``.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sipua.errors import ParseError, printable
from sipua.message import Uri

MAX_NAMES: Final = 100  # of one certificate that are looked at: names are compared with each target
_SHOWN_NAMES: Final = 5
_DOMAIN: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")

Certificate = Mapping[str, Any]


def canonical(name: str) -> str:
    """Return a domain in lower case without its root dot, an IP address in its shortest form without brackets."""
    bare = name.strip().strip("[]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare.lower().removesuffix(".")


def identities(certificate: Certificate) -> tuple[str, ...]:
    """Return the domains and addresses that *certificate* stands for, canonical, each once (RFC 5922 §7.1).

    ``sip`` URIs without a user part; DNS names only when there is none of those; addresses besides. The common name counts only in a
    certificate without any subjectAltName. A wildcard is no name of a domain (§7.2): it stands for nothing.
    """
    alternatives = [(str(kind), str(value)) for kind, value in tuple(certificate.get("subjectAltName", ()))[:MAX_NAMES]]
    if alternatives:
        uris = [host for kind, value in alternatives if kind == "URI" and (host := _sip_domain(value))]
        domains = uris or [value for kind, value in alternatives if kind == "DNS"]
        addresses = [canonical(value) for kind, value in alternatives if kind == "IP Address" and _is_address(value)]
        return tuple(dict.fromkeys([*_domains(domains), *addresses]))
    names = [str(value) for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return tuple(dict.fromkeys([*_domains(names), *(canonical(name) for name in names if _is_address(name))]))


def shown_names(certificate: Certificate) -> str:
    """Return the names in *certificate* for people, as they stand there, cut to a few."""
    names = [str(value) for _, value in certificate.get("subjectAltName", ())]
    if not names:
        names = [f"CN={value}" for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    shown = [printable(name.strip(), 64) for name in names[:_SHOWN_NAMES]]
    return ", ".join(shown) + (", …" if len(names) > _SHOWN_NAMES else "") if shown else "no name"


def _sip_domain(uri: str) -> str:
    """Return the host of a ``sip`` URI without a user, ``""`` for any other."""
    try:
        parsed = Uri.parse(uri)
    except ParseError:
        return ""
    return parsed.bare_host if parsed.scheme == "sip" and parsed.user is None else ""


def _domains(names: Iterable[str]) -> Iterable[str]:
    lowered = (canonical(name) for name in names)
    return (name for name in lowered if _DOMAIN.fullmatch(name) and not _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip())
    except ValueError:
        return False
    return True
