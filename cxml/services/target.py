"""Pure. A webhook URL taken apart: what is sent and signed, the credentials, the overrides of its fragment."""

import base64
import re
from dataclasses import dataclass, field

import httpx

from cxml.services.fragment import Overrides, parse_fragment
from sipua.remembered import remembered

_CACHED = 1024  # an application has a handful of URLs and every call uses them
_CACHED_CHARS = 1024  # so that a document full of long ones fills no memory
_USERINFO = re.compile(r"(?<=//)[^/?#]*@")
_HOST = re.compile(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")  # name or IPv4 address, or an IPv6 address
_SCHEMES = ("http", "https")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class TargetError(ValueError):
    """The URL can't be requested. The text says why and holds no part of the URL."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL ready for use.

    ``url`` is exactly what is signed and sent: normalised, without userinfo and fragment. ``origin`` is (scheme, host, port);
    ``authorization`` the Basic header value made of the userinfo, or empty. ``path`` (with the query) and ``host`` (with a port that is not
    the scheme's) are its parts for the request line and the Host header, ``host_name`` is the host in lower case, IPv6 in brackets,
    without the dot that may end a name.
    """

    url: str
    parsed: httpx.URL
    origin: tuple[str, str, int]
    authorization: str = field(repr=False)
    overrides: Overrides
    path: str
    host: str
    host_name: str


def parse_target(text: str) -> Target:
    """Take the absolute URL *text* apart. Raises :class:`TargetError`."""
    try:
        given = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError, UnicodeError) as exc:
        raise TargetError("not a valid URL") from exc
    if given.scheme not in _SCHEMES:
        raise TargetError("only http and https are requested")
    if not _HOST.fullmatch(given.raw_host.decode("ascii")):
        raise TargetError("the URL names no usable host")
    port = given.port if given.port is not None else _DEFAULT_PORTS[given.scheme]
    if not 0 < port < 65536:
        raise TargetError("the port is not between 1 and 65535")
    # A lone "?" is dropped: the validators drop it too before they compare.
    path = given.raw_path.decode("ascii").removesuffix("?")
    try:
        bare = httpx.URL(f"{given.scheme}://{given.netloc.decode('ascii')}{path}")
    except httpx.InvalidURL as exc:  # its escapes made it longer than a URL may be
        raise TargetError("the URL is too long") from exc
    origin = (given.scheme, bare.raw_host.decode("ascii").lower(), port)  # ``host`` would decode a label that can't be, as in xn--a
    return Target(
        url=str(bare),
        parsed=bare,
        origin=origin,
        authorization=_basic(given),
        overrides=parse_fragment(given.fragment),
        path=bare.raw_path.decode("ascii"),
        host=bare.netloc.decode("ascii"),
        host_name=_host_name(bare),
    )


def known_target(text: str) -> Target:
    """Return what :func:`parse_target` does, at once if it has done it lately.

    For URLs of documents and settings; not for those that hold a call's parameters, which never come twice.
    """
    return _kept(text) if len(text) <= _CACHED_CHARS else parse_target(text)


_kept = remembered(_CACHED)(parse_target)


def without_secrets(text: str) -> str:
    """Return the URL *text*, valid or not, without userinfo and fragment."""
    return _USERINFO.sub("", text.strip()).partition("#")[0]


def without_query(url: str) -> str:
    """Return *url* as a log may show it: the query, which may hold a caller's data or a token, is replaced by an ellipsis."""
    head, mark, _ = url.partition("?")
    return head + "?…" if mark else head


def _host_name(url: httpx.URL) -> str:
    name = url.raw_host.decode("ascii").lower().removesuffix(".")
    return f"[{name}]" if ":" in name else name


def _basic(url: httpx.URL) -> str:
    if not url.userinfo:
        return ""
    return "Basic " + base64.b64encode(f"{url.username}:{url.password}".encode()).decode("ascii")
