"""Pure. ``name-addr`` and ``addr-spec`` of From, To, Contact, Route, Refer-To and others (RFC 3261 §20.10, §25.1)."""

import re
from typing import NamedTuple

from sipua.errors import ParseError
from sipua.message.grammar import quote, split_list, unquote
from sipua.message.memory import Memory
from sipua.message.params import EMPTY, Params
from sipua.message.uri import Uri

_PLAIN = re.compile(r'(?:"([^"\\<>]*)"|([A-Za-z0-9]*)) ?<([^<>"\s]+)>')
"""What nearly all peers send, with parameters right behind it: a name that needs no unescaping, a URI in brackets."""


class Address(NamedTuple):
    """A URI with an optional display name (unquoted) and header parameters."""

    uri: Uri
    display_name: str = ""
    params: Params = EMPTY

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Parse one address. Raises :class:`ParseError`."""
        return _MEMORY.read(text)

    @classmethod
    def parse_any(cls, text: str) -> "Address":
        """Parse any address, plain ones as :meth:`parse` does. Raises :class:`ParseError`."""
        text = text.strip()
        opening = _opening_angle(text)
        if opening < 0:
            # RFC 3261 §20.10: without brackets every parameter belongs to the header
            spec, semicolon, params = text.partition(";")
            spec = spec.strip()
            if "?" in spec or "," in spec:
                raise ParseError("a URI with a question mark or comma needs angle brackets")
            return cls(Uri.parse(spec), "", Params.parse(params) if semicolon else EMPTY)
        closing = text.find(">", opening)
        if closing < 0:
            raise ParseError("angle bracket is not closed")
        name = text[:opening].strip()
        if name.startswith('"') and (len(name) < 2 or not name.endswith('"')):
            raise ParseError("broken display name")
        tail = text[closing + 1 :].strip()
        if tail and not tail.startswith(";"):
            raise ParseError("text behind an address")
        return cls(Uri.parse(text[opening + 1 : closing].strip()), unquote(name), Params.parse(tail) if tail else EMPTY)

    @classmethod
    def parse_list(cls, text: str) -> list["Address"]:
        """Parse a comma-separated list of addresses. Raises :class:`ParseError`."""
        return [cls.parse(part) for part in split_list(text)]

    @property
    def tag(self) -> str:
        """The ``tag`` parameter, ``""`` when absent (a null tag, RFC 3261 §12.1.1)."""
        return self.params.get("tag") or ""

    def with_tag(self, tag: str) -> "Address":
        """Return a copy whose tag is *tag*; an empty one leaves the parameter out."""
        params = self.params.replaced("tag", tag) if tag else self.params.without("tag")
        return Address(self.uri, self.display_name, params)

    def __str__(self) -> str:
        name = f"{quote(self.display_name)} " if self.display_name else ""
        return f"{name}<{self.uri.text}>{self.params}"


def _parse(text: str) -> Address:
    before, bracket, behind = text.partition(">")
    if not bracket or (behind and behind[0] != ";"):
        return Address.parse_any(text)
    plain = _NAMES.read(before)
    if plain is _NO_PLAIN_NAME:
        return Address.parse_any(text)
    if not behind:
        return plain
    params = Params.find_plain(behind[1:])
    return Address.parse_any(text) if params is None else Address(plain.uri, plain.display_name, params)


def _parse_name(text: str) -> Address:
    match = _PLAIN.fullmatch(f"{text}>")
    if match is None:
        return _NO_PLAIN_NAME
    quoted, name, uri = match.groups()
    return Address(Uri.parse(uri), name if quoted is None else quoted)


_NO_PLAIN_NAME = Address(Uri.parse("sip:none"))
"""What :func:`_parse_name` gives for a text that has to be read the long way."""
_NAMES = Memory(_parse_name)
"""Display names with their URIs, without the tag, which is another one in each call."""
_MEMORY = Memory(_parse)


def _opening_angle(text: str) -> int:
    """Return the index of the ``<`` outside a quoted display name, or -1."""
    if not text.startswith('"'):
        index = text.find("<")
        spec, semicolon, _ = text[: max(index, 0)].partition(";")
        return -1 if semicolon and ":" in spec else index  # a "<" in a quoted parameter of an addr-spec
    position = 1
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == '"':
            return text.find("<", position)
        position += 1
    raise ParseError("quoted display name is not closed")
