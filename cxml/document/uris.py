"""Pure. Says what is wrong with a URI in a document, in one phrase; "" when nothing is.

This is advice for authors. What is sent is decided at run time by the SIP and HTTP layers, which parse for themselves.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import unquote, urlsplit

_SIP_URI: Final = re.compile(
    # RFC 3261 §25.1, SIP-URI and SIPS-URI; "_" in a host is allowed because container and PBX names have it.
    r"sips?:"
    r"(?:(?P<user>(?:[A-Za-z0-9_.!~*'()&=+$,;?/-]|%[0-9A-Fa-f]{2})+)"
    r"(?P<password>:(?:[A-Za-z0-9_.!~*'()&=+$,-]|%[0-9A-Fa-f]{2})*)?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:;(?:[A-Za-z0-9_.!~*'()\[\]/:&+$-]|%[0-9A-Fa-f]{2})+(?:=(?:[A-Za-z0-9_.!~*'()\[\]/:&+$-]|%[0-9A-Fa-f]{2})+)?)*"
    r"(?:\?(?P<headers>(?:[A-Za-z0-9_.!~*'()\[\]/?:+$=&-]|%[0-9A-Fa-f]{2})+))?",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")  # RFC 3261 §25.1: what a header's name may be
_SENT_HEADERS: Final = ("replaces", "user-to-user")  # those that the peer may be told to put into its INVITE, besides X- ones
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_NUMBER: Final = re.compile(r"\+?[0-9 ().-]+")
_UNSENDABLE: Final = re.compile(r"[\x00-\x1f\x7f]")

HIGHEST_PORT: Final = 65_535
"""Largest port number."""


def is_tel(target: str) -> bool:
    """True if *target* is a ``tel:`` URI (RFC 3966)."""
    return target[:4].lower() == "tel:"


def target_problem(target: str) -> tuple[str, str]:
    """Say what makes *target* no SIP URI by RFC 3261 §25.1 or one that is not sent, and how to mend it; ``("", "")`` for a good one."""
    match = _SIP_URI.fullmatch(target)
    if match is not None:
        problem = _host_problem(match["user"], match["host"], match["port"])
        return problem if problem[0] else _content_problem(match["password"], match["headers"])
    scheme = _SCHEME.match(target)
    if target.startswith("<") or "<sip" in target.lower():
        return "is not a URI but a whole SIP address", "give the URI alone, without name and angle brackets"
    if scheme is None:
        if _NUMBER.fullmatch(target):
            return "is a number, not a SIP URI", "write sip:number@host"
        return "has no scheme", "write sip:user@host" if "@" not in target else "write sip: in front of it"
    if scheme[1].lower() not in {"sip", "sips"}:
        return f"has the scheme {scheme[1][:20]}, not sip or sips", "write sip:user@host"
    if any(c.isspace() for c in target):
        return "has white space in it", "write a space in the user part as %20"
    return "is not a valid SIP URI", "it must look like sip:user@host:port;parameter=value, anything else written as %XX"


def _content_problem(password: str | None, headers: str | None) -> tuple[str, str]:
    """Say what a URI that is well-formed must not have, because the peer is told it or puts it into its INVITE."""
    if password is not None:
        return "has a password", "leave it out: the peer would be told it"
    for line in () if headers is None else headers.split("&"):
        name, _, value = line.partition("=")
        name = unquote(name)
        if not _TOKEN.fullmatch(name) or (name.lower() not in _SENT_HEADERS and not name.lower().startswith("x-")):
            return f"has the header {name[:40]!a}", "Replaces, User-to-User and headers that begin with X- are sent"
        if not unquote(value).isprintable():
            return f"has a control character in the header {name[:40]}", "a careless peer would read it as the end of the header"
    return "", ""


def _host_problem(user: str | None, host: str, port: str | None) -> tuple[str, str]:
    if port is not None and not 0 < int(port) <= HIGHEST_PORT:
        return f"has the port {port}", "a port is 1 to 65535"
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return f"has the IPv6 address {host[:50]}, which is none", ""
    elif not host.strip("0123456789."):
        if "." not in host and user is None:
            return "has no host", f"write sip:{host[:20]}@host"
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return f"has the IPv4 address {host[:50]}, which is none", ""
    return "", ""


def url_problem(url: str) -> tuple[str, str]:
    """Say what makes *url* impossible to request over HTTP, and how to mend it; ``("", "")`` if it may be requested.

    Relative URLs and the empty one are good.
    """
    if _UNSENDABLE.search(url):
        return "has a control character or a line break in it", ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a valid URL", ""
    if parts.scheme not in {"", "http", "https"}:
        return f"has the scheme {parts.scheme[:20]}", "only http and https are requested"
    if (parts.scheme or parts.netloc) and not parts.hostname:
        return "has no host", "write https://host/path, or a relative URL"
    if port == 0:
        return "has the port 0", "a port is 1 to 65535"
    return "", ""
