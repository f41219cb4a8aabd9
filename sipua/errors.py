"""Pure. The exceptions of ``sipua`` and the escaping of text that came from the network.

::

    SipError
    ├── ParseError        bytes from the network that are no message, or a value in them that is broken
    ├── TransportError    a message can't be sent: no route, refused, reset
    ├── LimitError        a limit of ours would be passed
    ├── CallError         a request of a library user that the state of the call forbids
    │   └── CallEndedError    the call is over
    ├── CallFailedError   an outgoing call was not answered; carries the status
    └── RegistrationError a registrar refused for good; carries the status
"""

import re


class SipError(Exception):
    """Base of everything that ``sipua`` raises on purpose."""


class ParseError(SipError):
    """Bytes from the network that break a rule.

    *status* is the status that a response to a request with this fault carries (400 unless a rule names another).
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        """Keep the reason (one line, our words, no raw input) and the status."""
        super().__init__(reason)
        self.reason = reason
        self.status = status


class TransportError(SipError):
    """A message could not be handed to the network (RFC 3261 §18.4)."""


class LimitError(SipError):
    """A named limit would be passed."""


class CallError(SipError):
    """The state of the call forbids what was asked."""


class CallEndedError(CallError):
    """The call is over."""


class CallFailedError(SipError):
    """An outgoing call was not answered: *status* and *reason* of the final response."""

    def __init__(self, status: int, reason: str) -> None:
        """Keep the status and the reason phrase."""
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class RegistrationError(SipError):
    """A registrar refused: *status* and *reason* of its response."""

    def __init__(self, status: int, reason: str) -> None:
        """Keep the status and the reason phrase."""
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


_ODD = re.compile(r"[^ -~]")

_PRINTABLE_LIMIT = 200  # a log line stays a line, whatever a peer sends


def printable(text: str | bytes, limit: int = _PRINTABLE_LIMIT) -> str:
    """Return *text* fit for a log line: control and undecodable characters escaped, cut to *limit* characters."""
    if isinstance(text, bytes):
        text = text[: limit + 1].decode("utf-8", "surrogateescape")
    cut = text[:limit]
    if not cut.isprintable():
        cut = _ODD.sub(_escaped, cut)
    return cut + ("…" if len(text) > limit else "")


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    return char if char.isprintable() else char.encode("unicode_escape", "replace").decode("ascii", "replace")
