"""Pure. Who calls, as a trusted peer says it: P-Asserted-Identity (RFC 3325) and Privacy (RFC 3323)."""

from sipua.errors import ParseError
from sipua.message import Address, Request

MAX_IDENTITIES = 2  # a SIP URI and a tel URI (RFC 3325 §9.1)
MAX_PRIVACY = 16  # there are seven priv-values

_HIDING = frozenset({"id", "user"})
"""Priv-values by which the caller stays unnamed (RFC 3325 §9.3, RFC 3323 §4.2)."""


def is_private(invite: Request) -> bool:
    """Tell whether the caller asked to stay unnamed."""
    values = ";".join(invite.headers.values("Privacy")).split(";")[:MAX_PRIVACY]
    return any(value.strip().lower() in _HIDING for value in values)


def asserted_identity(invite: Request) -> Address | None:
    """Return the identity that *invite* asserts, a SIP URI before a tel URI; None: there is none, or it is not to be passed on.

    Only for the INVITE of a peer that is trusted: anybody can write this header. Broken values and other schemes are passed over.
    """
    if is_private(invite):
        return None
    found: list[Address] = []
    for text in invite.headers.values("P-Asserted-Identity")[:MAX_IDENTITIES]:
        try:
            address = Address.parse(text)
        except ParseError:
            continue
        if address.uri.is_sip or address.uri.scheme.lower() == "tel":
            found.append(address)
    return next((address for address in found if address.uri.is_sip), found[0] if found else None)
