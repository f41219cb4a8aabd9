"""Pure. The kinds of values that settings have, and how each is checked; texts are for the person who wrote the value."""

import ipaddress
import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from cxml.services.target import TargetError, parse_target
from sipua.auth.digest import ALGORITHMS
from sipua.errors import ParseError, printable
from sipua.message import Uri
from sipua.rtp.ports import PortAllocator
from sipua.transport.advertised import Advertised
from sipua.transport.base import Endpoint
from sipua.transport.identity import canonical, identities
from sipua.transport.route import parse_endpoint

_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
_HOST_PATTERN: Final = re.compile(r"(?:\[[0-9A-Fa-f:.*?]+\]?|[\w.*?!\[\]-]*[\w*?\]])(?::[\d*?]{1,5})?", re.ASCII)
_SCHEME_PATTERN: Final = re.compile(r"(?:[A-Za-z?\[][A-Za-z0-9+.?!\[\]-]*)?")
_CLASS_OR_IPV6: Final = re.compile(r"\[[^\[\]]+\]")
_RANGE: Final = re.compile(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
"""A block of addresses."""


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _no_text(value: object) -> object:
    if isinstance(value, str):
        raise ValueError('must be a list, such as ["…", "…"]')
    return value


def check_endpoint(text: str) -> str:
    """Return the SIP endpoint *text* if it is one that can be listened at. Raises ValueError."""
    parse_endpoint(text)
    return text


def check_certificate_name(text: str) -> str:
    """Return *text*, a domain or an address that a certificate may stand for. Raises ValueError."""
    name = canonical(text)
    if not identities({"subjectAltName": (("DNS", name), ("IP Address", name))}):
        remedy = "; wildcards stand for nothing (RFC 5922 §7.2)" if "*" in name else ""
        raise ValueError(f"{printable(text)!r} is neither a domain nor an IP address{remedy}")
    return name


def parse_http_listen(text: str) -> tuple[str, int] | None:
    """Return address and port of ``127.0.0.1:8080`` or ``[::1]:8080``, None for no text. Raises ValueError."""
    if not text:
        return None
    try:
        endpoint: Endpoint = parse_endpoint(f"tcp:{text}")
    except ValueError:
        raise ValueError(f"{printable(text)!r} is not of the form ADDRESS:PORT, with an IP address (IPv6 in brackets)") from None
    return endpoint.host, endpoint.port


def check_http_listen(text: str) -> str:
    """Return *text* if it is empty or ``ADDRESS:PORT``. Raises ValueError."""
    parse_http_listen(text)
    return text


def check_host(text: str) -> str:
    """Return *text*, a host name or an IP address, without the brackets of IPv6. Raises ValueError."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not bare or _HOST_NAME.fullmatch(bare):
        return bare
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        raise ValueError(f"{printable(text)!r} is neither a host name nor an IP address; write no port and no scheme") from None


def check_advertised(text: str) -> str:
    """Return *text*: nothing, a host name, an IP address, or an IPv4 and an IPv6 address with a comma between. Raises ValueError."""
    hosts = [check_host(part.strip()) for part in text.split(",")]
    if len(hosts) > 1 and not all(hosts):
        raise ValueError(f"{printable(text)!r} has a comma too many")
    if len(hosts) > 1:
        Advertised.parse(text)
    return ", ".join(hosts)


def check_url(text: str) -> str:
    """Return *text* if it is empty or an absolute http or https URL. Raises ValueError, without the URL: it may hold a password."""
    if text:
        try:
            parse_target(text)
        except TargetError as error:
            raise ValueError(f"{error}; write it in full, such as http://127.0.0.1:8000/voice") from None
    return text


def check_method(text: str) -> str:
    """Return the method *text* in capitals. Raises ValueError unless it is GET or POST."""
    if text.upper() not in {"GET", "POST"}:
        raise ValueError(f"must be GET or POST, not {printable(text, 20)!r}")
    return text.upper()


def check_sip_uri(text: str) -> str:
    """Return *text* if it is empty or a SIP URI. Raises ValueError."""
    if not text:
        return text
    try:
        uri = Uri.parse(text)
    except ParseError as error:
        raise ValueError(f"is no SIP URI: {error.reason}") from None
    if not uri.is_sip:
        raise ValueError("is no SIP URI; it begins with sip:")
    if uri.password is not None:
        raise ValueError("must hold no password; there is a setting for it")
    return text


def check_network(text: str) -> str:
    """Return *text* if it is an address or a block such as ``10.0.0.0/8``. Raises ValueError."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{printable(text)!r} is neither an IP address nor a block of them such as 10.0.0.0/8") from None
        raise ValueError(f"{printable(text)!r} has address bits behind its prefix; did you mean {meant}?") from None
    if "%" in text:
        raise ValueError(f"{printable(text)!r} has a zone; leave it out")
    return text


def check_host_pattern(text: str) -> str:
    """Return *text*, a pattern of ``[webhook] allow_hosts``. Raises ValueError for one that no host can match."""
    if not text.isascii():
        raise ValueError(f"{printable(text)!r} matches no host; write the ASCII form of the name (xn--…)")
    if not _HOST_PATTERN.fullmatch(text):
        raise ValueError(f"{printable(text)!r} matches no host; write host or host:port, no scheme and no path, IPv6 in brackets")
    return text


def check_target_pattern(text: str) -> str:
    """Return *text*, a pattern of ``[refer] allow``. Raises ValueError for one that no URI can match."""
    head, star, _ = text.partition("*")
    scheme, colon, _ = head.partition(":")
    if not (star or colon) or not _SCHEME_PATTERN.fullmatch(scheme) or text.startswith(":") or any(map(str.isspace, text)):
        raise ValueError(f"{printable(text)!r} matches no URI; write it with its scheme, such as sip:1??@pbx.example.com")
    if "[" in _CLASS_OR_IPV6.sub("", text):
        raise ValueError(f"{printable(text)!r} has a bracket that is not closed")
    return text


def check_realm(text: str) -> str:
    """Return the realm *text*. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9._@ -]{1,64}", text):
        raise ValueError("must be 1 to 64 letters, digits, spaces, '.', '_', '@' and '-'")
    return text


def check_algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the digest algorithms *names* in capitals. Raises ValueError for none, a repeated or an unknown one."""
    upper = tuple(name.upper() for name in names)
    unknown = [name for name in upper if name not in ALGORITHMS]
    if unknown or not upper or len(set(upper)) < len(upper):
        raise ValueError(f"must name one or more of {', '.join(reversed(ALGORITHMS))}, each once")
    return upper


def check_user_agent(text: str) -> str:
    """Return *text* if it can stand in a header. Raises ValueError."""
    if not text.isprintable() or not text.isascii():
        raise ValueError("must be printable ASCII")
    return text


def check_name(text: str) -> str:
    """Return the name *text* of a peer. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62})", text):
        raise ValueError("must be 1 to 63 letters, digits, '.', '_' and '-', and begin with a letter or digit")
    return text


def check_store(text: str) -> str:
    """Return *text* if the store can be used. Raises ValueError."""
    if text != "memory:":
        raise ValueError("only 'memory:' works in this version; files and databases come with the durable journal")
    return text


def _port_range(value: object) -> object:
    if isinstance(value, str):
        match = _RANGE.fullmatch(value)
        if match is None:
            raise ValueError('must be a range such as "10000-20000"')
        value = [int(match[1]), int(match[2])]
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(type(port) is int for port in value):
        raise ValueError('must be a range such as "10000-20000", or two numbers')
    PortAllocator(*value)
    return tuple(value)


def _range_text(value: tuple[int, int]) -> str:
    return f"{value[0]}-{value[1]}"


Whole = Annotated[int, BeforeValidator(_number)]
Seconds = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_no_text)]
HostPatterns = Annotated[tuple[Annotated[str, AfterValidator(check_host_pattern)], ...], BeforeValidator(_no_text)]
TargetPatterns = Annotated[tuple[Annotated[str, AfterValidator(check_target_pattern)], ...], BeforeValidator(_no_text)]
PortRange = Annotated[tuple[int, int], BeforeValidator(_port_range), PlainSerializer(_range_text)]
