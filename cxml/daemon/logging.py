"""The daemon's log: structlog and the standard library's loggers in one stream, as JSON lines or for a terminal.

Every line has a UTC time stamp, a level, the logger's name, and what the context says of the call (:mod:`cxml.calls.context`). Every text
goes through :class:`cxml.daemon.redaction.Redactor`. What the level leaves out costs next to nothing, and a reader that stops reading holds
up nobody (:mod:`cxml.daemon.log_output`).
"""

import logging
import sys
from collections.abc import Sequence
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict

from cxml.calls.context import call_context
from cxml.daemon.config import Log, LogFormat
from cxml.daemon.log_lines import LineMaker
from cxml.daemon.log_output import DescriptorOutput, Output, StreamOutput
from cxml.daemon.redaction import Redactor

__all__ = ["call_context", "configure_logging", "lines_dropped"]

OURS: Final = ("cxml", "sipua")
"""Loggers that follow ``[log] level``; all others say warnings and errors only."""

TRACE_LOGGER: Final = "sipua.transport"
"""Writes SIP messages at level debug."""


def configure_logging(settings: Log, secrets: Sequence[str] = (), *, stream: TextIO | None = None, is_cached: bool = True) -> None:
    """Send everything that is logged to *stream* (default: standard error) as *settings* say, without *secrets*.

    *is_cached* lets module-level loggers keep this configuration for good, which is fastest; tests that configure anew pass False.
    """
    out = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    is_console = settings.format is LogFormat.CONSOLE or (settings.format is LogFormat.AUTO and out.isatty())
    maker = LineMaker(Redactor(secrets), is_json=not is_console)
    output = _output(out, maker)

    def render(logger: _Writer, method: str, event: EventDict) -> str:
        return maker.line(method, logger.name, event)

    structlog.configure(
        processors=[render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *name: _Writer(output, *name),
        cache_logger_on_first_use=is_cached,
    )
    _set_levels(_Handler(output, maker), level, sip_trace=settings.sip_trace)


def lines_dropped() -> int:
    """Return how many lines were lost since the log was configured, because nobody took them."""
    return sum(handler.output.dropped for handler in logging.getLogger().handlers if isinstance(handler, _Handler))


def _output(out: TextIO, maker: LineMaker) -> Output:
    try:
        descriptor = out.fileno()
    except (OSError, ValueError):  # a stream that is no file
        return StreamOutput(out)
    out.flush()
    return DescriptorOutput(descriptor, lambda count: maker.line("warning", __name__, {"event": "log_dropped", "count": count}))


def _set_levels(handler: logging.Handler, level: int, *, sip_trace: bool) -> None:
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _Handler):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    logging.getLogger(TRACE_LOGGER).setLevel(logging.DEBUG if sip_trace else logging.NOTSET)
    logging.captureWarnings(capture=True)


class _Writer:
    """Structlog's end of the line: writes rendered text, whatever its level."""

    __slots__ = ("critical", "debug", "error", "info", "name", "warning")

    def __init__(self, output: Output, name: str = "cxml") -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = output.write


class _Handler(logging.Handler):
    """The standard library's end of the line."""

    def __init__(self, output: Output, maker: LineMaker) -> None:
        super().__init__()
        self.output = output
        self._maker = maker

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*; one that can't be formatted is reported as the standard library does it."""
        try:
            line = self._maker.record_line(record)
        except Exception:
            self.handleError(record)
        else:
            self.output.write(line)
