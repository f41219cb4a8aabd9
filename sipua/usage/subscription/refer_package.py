"""Pure. The event package ``refer``: what its NOTIFYs carry (RFC 3515 §3, RFC 3420)."""

import logging

from sipua.usage.subscription.package import Reading
from sipua.usage.subscription.sipfrag import SIPFRAG_TYPE, Sipfrag, parse_sipfrag

log = logging.getLogger("sipua.usage")


class ReferPackage:
    """The event package ``refer`` (RFC 3515 §3)."""

    __slots__ = ()

    event = "refer"
    default_expires_s = 180  # RFC 3515 §3.4 leaves it to the notifier; this is for one that names none

    def read(self, content_type: str | None, body: bytes) -> Reading[Sipfrag]:
        """Read the sipfrag in a body."""
        fragment = parse_sipfrag(content_type, body)
        if isinstance(fragment, Sipfrag):
            return Reading(200, fragment)
        log.debug("NOTIFY without result: %s", fragment.why)
        return Reading(fragment.answer, None, (("Accept", SIPFRAG_TYPE),) if fragment.answer == 415 else ())
