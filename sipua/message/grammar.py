"""Pure. Fragments of the SIP grammar (RFC 3261 §25.1) and the splitting of header values.

Patterns read a little more than the grammar allows where real peers do; what we write is strict.
"""

import re

TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"
"""token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")"""

HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_.])?)"
"""host = hostname / IPv4address / IPv6reference; underscores are read because container names have them."""

TOKEN_PATTERN = re.compile(TOKEN)
METHOD_PATTERN = TOKEN_PATTERN
HOST_PATTERN = re.compile(HOST)
HOSTPORT_PATTERN = re.compile(rf"(?P<host>{HOST})(?:\s*:\s*(?P<port>[0-9]{{1,5}}))?")
SCHEME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
DIGITS_PATTERN = re.compile(r"[0-9]{1,10}")

COMMON_METHODS = frozenset(
    {"INVITE", "ACK", "BYE", "CANCEL", "NOTIFY", "REFER", "OPTIONS", "PRACK", "UPDATE", "INFO", "SUBSCRIBE", "REGISTER"}
)
"""Tokens that need no look at their characters."""


def is_token(text: str) -> bool:
    """Tell whether *text* is a ``token``."""
    return TOKEN_PATTERN.fullmatch(text) is not None


def quote(text: str) -> str:
    """Return *text* as a ``quoted-string``."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(text: str) -> str:
    """Return the content of a ``quoted-string``; other text comes back as it is."""
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        inner = text[1:-1]
        return re.sub(r"\\(.)", r"\1", inner) if "\\" in inner else inner
    return text


def split_outside(text: str, separator: str) -> list[str]:
    """Split *text* at *separator* where it stands outside quoted strings and ``<...>``; parts are stripped (RFC 3261 §7.3.1)."""
    if separator not in text:
        return [text.strip()]
    if '"' not in text and "<" not in text:
        return [part.strip() for part in text.split(separator)]
    parts: list[str] = []
    start = position = 0
    quoted = angled = False
    length = len(text)
    while position < length:
        char = text[position]
        if quoted:
            if char == "\\":
                position += 1
            elif char == '"':
                quoted = False
        elif char == '"':
            quoted = True
        elif char == "<":
            angled = True
        elif char == ">":
            angled = False
        elif char == separator and not angled:
            parts.append(text[start:position].strip())
            start = position + 1
        position += 1
    parts.append(text[start:].strip())
    return parts


def split_list(value: str) -> list[str]:
    """Split a comma-separated header value into its non-empty elements."""
    return [part for part in split_outside(value, ",") if part]
