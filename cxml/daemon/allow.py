"""Pure. Which targets a peer may be referred to: the patterns of ``[refer] allow``."""

import re
from fnmatch import fnmatchcase
from typing import Final

from sipua.errors import ParseError
from sipua.message import Uri

_IPV6_IN_PATTERN: Final = re.compile(r"\[(?=[0-9a-f:.]*:)")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.!~*'()+-]")


def is_allowed(target: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether *target*, a URI as it would stand in Refer-To, matches one of *patterns*.

    A pattern is compared, without regard to case, with ``scheme:user@host`` and ``scheme:user@host:port`` of the target: password,
    parameters and headers play no part, so that none of them can pass for the host. ``*`` stands for any text, ``?`` for one character,
    ``[1-4]`` for one of several. The pattern ``*`` allows everything, also what is no URI; nothing else allows that.
    """
    if "*" in patterns:
        return True
    try:
        uri = Uri.parse(target)
    except ParseError:
        return False
    forms = _forms(uri, target)
    return any(fnmatchcase(form, _IPV6_IN_PATTERN.sub("[[]", pattern.lower())) for form in forms for pattern in patterns)


def _forms(uri: Uri, text: str) -> tuple[str, ...]:
    if not uri.is_sip:
        return (text.lower(),)
    user = "" if uri.user is None else _ESCAPE.sub(_unescape, uri.user) + "@"
    short = f"{uri.scheme}:{user}{uri.host}".lower()
    return (short,) if uri.port is None else (short, f"{short}:{uri.port}")


def _unescape(match: re.Match[str]) -> str:
    """Undo an escape that need not be one (RFC 3261 §19.1.4), so that an allowed extension can't be dodged by spelling."""
    character = chr(int(match[1], 16))
    return character if _PLAIN.fullmatch(character) else match[0]
