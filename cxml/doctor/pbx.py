"""Pure. Which PBX it is, by what it says of itself."""

from collections.abc import Iterable
from enum import StrEnum

from cxml.doctor.seen import Seen
from sipua.message import Request


class PbxKind(StrEnum):
    """The PBXs whose settings are known here."""

    ASTERISK = "Asterisk"
    FREESWITCH = "FreeSWITCH"
    OTHER = "PBX"


_WORDS = (("asterisk", PbxKind.ASTERISK), ("fpbx", PbxKind.ASTERISK), ("freeswitch", PbxKind.FREESWITCH))
"""FreePBX calls itself ``FPBX-16.0.1(18.2.0)`` and is an Asterisk."""


def product_of(messages: Iterable[Seen]) -> str:
    """Return what the PBX calls itself, "" when it doesn't."""
    for seen in messages:
        if not seen.is_ours:
            name = seen.header("User-Agent") if isinstance(seen.message, Request) else seen.header("Server") or seen.header("User-Agent")
            if name:
                return name
    return ""


def kind_of(product: str) -> PbxKind:
    """Return the kind of a *product*; who hides it is ``OTHER``."""
    text = product.lower()
    return next((kind for word, kind in _WORDS if word in text), PbxKind.OTHER)
