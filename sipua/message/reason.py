"""Pure. Why a request was sent: the Reason header (RFC 3326)."""

from collections.abc import Iterable
from dataclasses import dataclass

from sipua.errors import ParseError, printable
from sipua.message.headers import Headers
from sipua.message.params import Params

MAX_REASONS = 8
"""Values that are read: one for each protocol, and there are a few of those."""

MAX_TEXT = 120  # characters of a text: it goes to a log line beside others
MAX_CAUSE = 9999  # Q.850 has causes up to 127, SIP up to 699


@dataclass(frozen=True, slots=True)
class Reason:
    """One value: *protocol* as ``SIP`` or ``Q.850``, *cause* in its numbers (None: it gives none) and a text, escaped for a log."""

    protocol: str
    cause: int | None = None
    text: str = ""

    def is_of(self, protocol: str) -> bool:
        """Tell whether the value is of *protocol*, in any case of letters."""
        return self.protocol.lower() == protocol.lower()


def read_reasons(headers: Headers) -> tuple[Reason, ...]:
    """Return the Reason values in their order, at most :data:`MAX_REASONS`; broken ones are left out. Never raises."""
    found: list[Reason] = []
    for value in headers.values("Reason")[:MAX_REASONS]:
        protocol, _, rest = value.partition(";")
        try:
            params = Params.parse(rest)
        except ParseError:
            continue
        cause = (params.get("cause") or "").strip()
        number = int(cause) if cause.isascii() and cause.isdigit() and len(cause) <= len(str(MAX_CAUSE)) else None
        if protocol.strip():
            found.append(Reason(printable(protocol.strip(), 40), number, printable(params.get("text") or "", MAX_TEXT)))
    return tuple(found)


def cause_of(reasons: Iterable[Reason], protocol: str) -> int | None:
    """Return the cause of the first value of *protocol* that gives one."""
    return next((reason.cause for reason in reasons if reason.is_of(protocol) and reason.cause is not None), None)
