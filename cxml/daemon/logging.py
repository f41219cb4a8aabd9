"""The daemon's log: structlog and the standard library's loggers in one stream, as JSON lines or for a terminal.

Every line has a UTC time stamp, a level, the logger's name, and whatever is bound in the context (``call_sid``). Every text goes through
:class:`cxml.daemon.redaction.Redactor`. What the level leaves out costs next to nothing.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from cxml.daemon.config_model import Log, LogFormat
from cxml.daemon.redaction import Redactor

OURS: Final = ("cxml", "sipua")
"""Loggers that follow ``[log] level``; all others say warnings and errors only."""

TRACE_LOGGER: Final = "sipua.transport"
"""Writes SIP messages at level debug."""

_LEVEL_WIDTH: Final = 7


def configure_logging(settings: Log, secrets: Sequence[str] = (), *, stream: TextIO | None = None, is_cached: bool = True) -> None:
    """Send everything that is logged to *stream* (default: standard error) as *settings* say, without *secrets*.

    *is_cached* lets module-level loggers keep this configuration for good, which is fastest; tests that configure anew pass False.
    """
    out = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    redactor = Redactor(secrets)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    finish: list[Processor] = [structlog.processors.format_exc_info, _redaction(redactor), _renderer(settings.format, out)]
    structlog.configure(
        processors=[*shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *name: _Writer(out, *name),
        cache_logger_on_first_use=is_cached,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    _set_levels(handler, level, sip_trace=settings.sip_trace)


def call_context(call_sid: str, **values: str) -> AbstractContextManager[None]:
    """Give every line logged in the block, and in tasks started there, the CallSid and *values*."""
    return structlog.contextvars.bound_contextvars(call_sid=call_sid, **values)


def _set_levels(handler: logging.Handler, level: int, *, sip_trace: bool) -> None:
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    logging.getLogger(TRACE_LOGGER).setLevel(logging.DEBUG if sip_trace else logging.NOTSET)
    logging.captureWarnings(capture=True)


class _Writer:
    """Structlog's end of the line: writes rendered text, whatever its level."""

    def __init__(self, out: TextIO, name: str = "cxml") -> None:
        self._out = out
        self.name = name

    def msg(self, line: str) -> None:
        """Write *line* in one go, so that lines of two writers don't mix."""
        with contextlib.suppress(OSError, ValueError):  # nobody reads the log any more: calls go on all the same
            self._out.write(line + "\n")
            self._out.flush()

    debug = info = warning = warn = error = err = critical = fatal = exception = log = msg


def _logger_name(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    event["logger"] = record.name if record is not None else getattr(logger, "name", "")
    return event


def _redaction(redactor: Redactor) -> Processor:
    def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        trace = event.pop("exception", None)
        safe = redactor.mapping(event)
        if trace is not None:
            # hidden as a whole first: a secret may reach over the end of a line
            safe["exception"] = "\n".join(redactor.text(line) for line in redactor.hide(str(trace)).split("\n"))
        return safe

    return redact


def _renderer(form: LogFormat, out: TextIO) -> Callable[[WrappedLogger, str, EventDict], str]:
    if form is LogFormat.CONSOLE or (form is LogFormat.AUTO and out.isatty()):
        return _render_console
    return _render_json


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    first = {key: event.pop(key) for key in ("timestamp", "level", "logger", "event") if key in event}
    return json.dumps({**first, **event}, ensure_ascii=False, allow_nan=True, default=repr)


def _render_console(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Return ``time level event key=value …``; the lines of a traceback are set in, so that none can pass for a line of the log."""
    stamp = str(event.pop("timestamp", ""))[11:23]
    level = str(event.pop("level", "")).ljust(_LEVEL_WIDTH)
    text = event.pop("event", "")
    trace = event.pop("exception", None)
    event.pop("logger", None)
    pairs = "".join(f" {key}={_pair(value)}" for key, value in event.items())
    line = f"{stamp} {level} {text}{pairs}"
    return line if trace is None else line + "".join(f"\n    | {part}" for part in str(trace).split("\n"))


def _pair(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) and (not text or " " in text or '"' in text) else text
