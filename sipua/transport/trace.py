"""What is written about traffic: debug lines without secrets, and warnings at a bounded rate."""

import logging
import re
import time
from collections.abc import Callable
from typing import Literal

from sipua.errors import printable
from sipua.transport.base import Channel

log = logging.getLogger("sipua.transport")

Direction = Literal["in", "out"]
Trace = Callable[[Direction, bytes, Channel], None]
"""Called with every SIP message that comes or goes."""

LOG_INTERVAL = 10.0  # seconds between two lines of one kind: a flood of bad messages must not become a flood of logs
_LOGGED_BYTES = 8192  # a debug line shows ordinary messages whole

_SECRET_HEADER = re.compile(rb"(?im)^((?:Proxy-)?(?:Authorization|Authentication-Info)[ \t]*:[ \t]*)[^\r\n]*(?:\r?\n[ \t]+[^\r\n]*)*")
_SECRET_KEY = re.compile(rb"(?im)^(a=crypto:[^\r\n]*inline:)[^\r\n]*")


def redact(data: bytes) -> bytes:
    """Return a message without the values of headers that hold a digest, and without SDP keys (RFC 4568)."""
    return _SECRET_KEY.sub(rb"\1***", _SECRET_HEADER.sub(rb"\1***", data))


def log_message(direction: Direction, data: bytes, channel: Channel) -> None:
    """Write a message to the debug log, as one escaped line."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug("%s %s: %s", direction, channel.remote, printable(redact(data), _LOGGED_BYTES))


class LogLimiter:
    """Lets one line of each kind through in an interval; the next one says how many were held back."""

    __slots__ = ("_clock", "_kinds")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, tuple[float, int]] = {}

    def warn(self, kind: str, text: str, *args: object, error: BaseException | None = None) -> None:
        """Log *text* at level warning (error with a traceback when *error* is given) unless *kind* was logged a moment ago."""
        now = self._clock()
        until, held = self._kinds.get(kind, (0.0, 0))
        if now < until:
            self._kinds[kind] = (until, held + 1)
            return
        self._kinds[kind] = (now + LOG_INTERVAL, 0)
        if held:
            text = f"{text} ({held} more like it since the last line)"
        log.log(logging.WARNING if error is None else logging.ERROR, text, *args, exc_info=error)
