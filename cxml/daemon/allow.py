"""Pure. Which targets a peer may be referred to: the patterns of ``[refer] allow``."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final

from sipua.errors import ParseError
from sipua.message import Uri

_IPV6_IN_PATTERN: Final = re.compile(r"\[(?=[0-9a-f:.]*:)")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.!~*'()+-]")
_WILDCARDS: Final = frozenset("[]!?")  # of a pattern: they name no character
_SEPARATORS: Final = re.compile(r"[-.()]")  # visual separators of a number (RFC 3966 §3)
_UNKNOWN_HEADERS: Final = re.compile(r"(?!(?:x-|replaces=|user-to-user=))", re.IGNORECASE)


def is_allowed(target: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether *target*, a URI as it would stand in Refer-To, matches one of *patterns*.

    A pattern is compared, without regard to case, with ``scheme:user@host`` and ``scheme:user@host:port`` of the target. ``*`` stands for
    any text, ``?`` for one character, ``[1-4]`` for one of several; but in a user part that is more than a ``*`` none of them stands for a
    character that a PBX may read as the end of the number or as part of its dial plan, such as ``;`` or ``&``. ``maddr`` must match in
    the place of the host, too, and what would have the peer send another method or a header of the author's choice matches nothing.
    The pattern ``*`` allows everything, also what is no URI; nothing else allows that.
    """
    if "*" in patterns:
        return True
    try:
        uri = Uri.parse(target)
    except ParseError:
        return False
    if any(character in target for character in '<>"') or not target.isprintable():
        return False  # it would end the URI in the peer's eyes
    if not uri.is_sip:
        number = _SEPARATORS.sub("", _ESCAPE.sub(_unescape, target)) if uri.scheme == "tel" else target
        return any(fnmatchcase(number.lower(), _glob(pattern)) and _may_be_odd(_odd(number), pattern) for pattern in patterns)
    return _is_plain_call(uri) and all(_is_host_allowed(uri, host, patterns) for host in _hosts(uri))


def _is_host_allowed(uri: Uri, host: str, patterns: tuple[str, ...]) -> bool:
    user = "" if uri.user is None else _ESCAPE.sub(_unescape, uri.user) + "@"
    short = f"{uri.scheme}:{user}{host}"
    forms = (short,) if uri.port is None else (short, f"{short}:{uri.port}")
    odd = _odd(user.removesuffix("@"))
    return any(fnmatchcase(form.lower(), _glob(pattern)) and _may_be_odd(odd, pattern) for form in forms for pattern in patterns)


def _is_plain_call(uri: Uri) -> bool:
    """Tell whether a peer that takes everything in *uri* at its word sends an INVITE, with no header that says where to."""
    methods = [value for name, value in uri.params if name.lower() == "method"]
    headers = uri.headers.split("&") if uri.headers else []
    return all((value or "").upper() == "INVITE" for value in methods) and not any(_UNKNOWN_HEADERS.match(part) for part in headers)


def _hosts(uri: Uri) -> Iterator[str]:
    """Return every host that the call may be sent to (RFC 3261 §19.1.1: ``maddr`` overrides the host)."""
    yield uri.host
    for name, value in uri.params:
        if _ESCAPE.sub(_unescape, name).lower() == "maddr":
            yield _ESCAPE.sub(_unescape, value or "")


def _odd(user: str) -> set[str]:
    """Return the characters of *user* that are more than a part of a name or number: Unicode, too, of which ``lower()`` makes ASCII."""
    return {character for character in user if not _PLAIN.match(character)} - {":"}


def _may_be_odd(odd: set[str], pattern: str) -> bool:
    """Tell whether *pattern* names the characters *odd* itself, or has only a ``*`` for the whole user part."""
    rest = pattern.partition(":")[2]
    user = rest.rpartition("@")[0] if "@" in rest else rest
    return user == "*" or not odd - (set(user) - _WILDCARDS)


def _glob(pattern: str) -> str:
    """Return *pattern* for ``fnmatchcase``: brackets of IPv6 are themselves, and ``[!9]`` is no way around a number's separators."""
    return _IPV6_IN_PATTERN.sub("[[]", pattern.lower()).replace("[!", "[!-.()")


def _unescape(match: re.Match[str]) -> str:
    """Undo an escape that need not be one (RFC 3261 §19.1.4), so that an allowed extension can't be dodged by spelling."""
    character = chr(int(match[1], 16))
    return character if _PLAIN.fullmatch(character) else match[0]
