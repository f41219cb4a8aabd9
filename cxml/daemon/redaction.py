"""Pure. Makes text fit for a log: no secrets, no characters that could forge a line or steer a terminal."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

from sipua.errors import printable

HIDDEN: Final = "***"
MAX_TEXT: Final = 16_384  # a line stays readable; the longest one of ours, a traced SIP message, has half of it
MAX_DEPTH: Final = 6  # deeper values of an event are shown as text
MIN_SECRET: Final = 4  # shorter secrets would be found in every other word; their keys still hide them

_SECRET_KEYS: Final = (
    "password", "passwd", "auth_token", "signing_key", "authorization", "authentication_info", "secret", "cookie", "signature",
)  # fmt: skip
"""How the names end of what is hidden whatever it is; ``-`` counts as ``_``."""

_HEADER: Final = re.compile(
    r"""((?:proxy-)?(?:authorization|authentication-info)["']?\s*[:=]\s*)   # the name, as a header or as a key
    (?:(?!\\r|\\n|[\r\n]).)+                        # its value, to the end of the line, escaped or not
    (?:(?:\r?\n|\\r\\n|\\n)[\ \t]+(?:(?!\\r|\\n|[\r\n]).)*)*   # and folded lines (RFC 3261 §7.3.1)""",
    re.IGNORECASE | re.VERBOSE,
)
_USERINFO: Final = re.compile(r"(?<=://)[^/?#\s@]+@")
_SIP_USERINFO: Final = re.compile(  # RFC 3261 §19.1.1; possessive, and a match also without a password: each character is looked at once
    r"""\b(sips?:[^\s@:<>"\\]++)(:[^\s@;?<>"\\]++@?)?""", re.IGNORECASE
)
_QUERY: Final = re.compile(  # what applications call the secrets in their URLs; bounded, so that each character is looked at a few times
    r"""([?&][\w.-]{0,32}?(?:token|secret|passw|pwd|key|sig|auth)[\w.-]{0,32}=)[^\s&#"'<>\\]+""", re.IGNORECASE
)


class Redactor:
    """Takes *secrets*, also in their escaped spellings, and Authorization values and passwords in URIs out of what is logged."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {form for secret in secrets if len(secret) >= MIN_SECRET for form in _spellings(secret)}
        ordered = sorted(spellings, key=len, reverse=True)
        self._spellings = ordered
        self._secret = re.compile("|".join(re.escape(spelling) for spelling in ordered)) if ordered else None

    def text(self, text: str) -> str:
        """Return *text* on one line, without secrets and control characters, cut to :data:`MAX_TEXT` characters."""
        return printable(self.hide(text), MAX_TEXT)

    def hide(self, text: str) -> str:
        """Return *text* without secrets, otherwise as it is."""
        if self._secret is not None:
            text = self._secret.sub(HIDDEN, text)
        if ":" in text or "=" in text:
            text = _USERINFO.sub(HIDDEN + "@", _HEADER.sub(rf"\1{HIDDEN}", text))
            text = _QUERY.sub(rf"\1{HIDDEN}", _SIP_USERINFO.sub(_without_password, text))
        return text

    def is_clean(self, text: str) -> bool:
        """Tell whether :meth:`text` has nothing to do for *text*, nor for any part of it between spaces. False may mean "perhaps not"."""
        if len(text) > MAX_TEXT or not text.isprintable():
            return False
        for spelling in self._spellings:  # for every line of the log: any() costs as much again
            if spelling in text:
                return False
        if "@" in text and (_may_have_password(text) or ("://" in text and _USERINFO.search(text) is not None)):
            return False
        return "auth" not in text.lower() and ("=" not in text or _QUERY.search(text) is None)

    def value(self, value: object, depth: int = 0) -> object:
        """Return *value* with every text in it made safe; what is no plain data becomes a text."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth < MAX_DEPTH:
            if isinstance(value, Mapping):
                return self.mapping(value, depth + 1)
            if isinstance(value, list | tuple | set | frozenset):
                return [self.value(item, depth + 1) for item in value]
        return self.text(str(value) if isinstance(value, BaseException) else repr(value))

    def mapping(self, values: Mapping[Any, object], depth: int = 0) -> dict[str, object]:
        """Return *values* made safe; those under a secret's name are hidden whatever they are."""
        return {self.text(str(key)): HIDDEN if value and is_secret(str(key)) else self.value(value, depth) for key, value in values.items()}


def _without_password(found: re.Match[str]) -> str:
    return f"{found[1]}:{HIDDEN}@" if found[2] and found[2].endswith("@") else found[0]


def _may_have_password(text: str) -> bool:
    """Tell whether two colons stand in the word before an ``@``: that of the scheme, and that of a password."""
    if text.count(":") < 2:
        return False
    parts = text.split("@")
    parts.pop()
    for before in parts:  # noqa: SIM110  # for every line of the log: any() costs as much again
        if before.rpartition(" ")[2].count(":") > 1:
            return True
    return False


def is_secret(key: str) -> bool:
    """Tell whether what stands under the name *key* is hidden whatever it is."""
    return key.lower().replace("-", "_").endswith(_SECRET_KEYS)


def _spellings(secret: str) -> set[str]:
    """Return how a secret may be written: as it is, as in a URL, and as ``repr`` and log lines escape it."""
    return {secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1], printable(secret, len(secret))}
