"""Makes the lines of the log: an event becomes one text, as JSON or for a terminal, without secrets and control characters.

An ordinary event, plain values in which nothing could be a secret, is written as it is. Whatever needs a closer look goes value by value
through :class:`cxml.daemon.redaction.Redactor`; a test holds the short way against the long one.
"""

import json
import logging
import math
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from structlog.typing import EventDict

from cxml.calls.context import add_call_values
from cxml.daemon.redaction import Redactor, is_secret

_LEVEL_WIDTH: Final = 7
_MAX_NAMES: Final = 1024
"""Names of values and loggers that are remembered. Ours are some hundred; others are written the long way."""

_NOT_PLAIN: Final = frozenset({"timestamp", "level", "logger", "exception", "exc_info"})
"""Names that mean something to the line itself."""

_ITSELF: Final = ("", "")
"""Stands for the name of the event's own text, which is in the line already."""

_WORDS: Final = {None: "null", True: "true", False: "false"}


class LineMaker:
    """Turns events of structlog and records of the standard library into lines."""

    def __init__(self, redactor: Redactor, *, is_json: bool) -> None:
        self._redactor = redactor
        self._is_json = is_json
        self._names: dict[str, tuple[str, str]] = {"event": _ITSELF}
        self._heads: dict[tuple[str, str], str] = {}
        self._second = 0  # the second of the last line, since 1970, and how the stamps in it begin
        self._begin = ""

    def line(self, level: str, logger: str, event: EventDict) -> str:
        """Return the line for *event*, whose text is under ``event``; the dictionary is used up."""
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(None, level, event)
        add_call_values(event)
        stamp = self._stamp()
        plain = self._plain(stamp, level, logger, event) if self._is_json else None
        return plain or self._closely(stamp, level, logger, event)

    def _stamp(self) -> str:
        """Return the time in UTC, as ISO 8601 has it; most lines share their second with the one before."""
        second, rest = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second, self._begin = second, datetime.fromtimestamp(second, UTC).isoformat()[:19] + "."
        return self._begin + str(1_000_000 + rest // 1000)[1:] + "Z"

    def record_line(self, record: logging.LogRecord) -> str:
        """Return the line for a record of the standard library."""
        event: dict[str, Any] = {"event": record.getMessage()}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        if record.stack_info:
            event["stack_info"] = record.stack_info
        return self.line(record.levelname.lower(), record.name, event)

    def _plain(self, stamp: str, level: str, logger: str, event: EventDict) -> str | None:
        """Return the line as JSON if all of *event* is plain and clean, else None."""
        names = self._names
        head = self._heads.get((level, logger)) or self._learn_head(level, logger)
        said = event.get("event")
        if head is None or said.__class__ is not str:
            return None
        texts = [said]
        parts = ['{"timestamp": "', stamp, head, said, '"']
        for key, value in event.items():
            name = names.get(key) or self._learn_name(key)
            if name is None:
                return None
            if name is _ITSELF:
                continue
            kind = value.__class__
            if kind is str:
                texts.append(value)
                parts.append(name[1])
                parts.append(value)
                parts.append('"')
            elif kind is int or (kind is float and math.isfinite(value)):
                parts.append(name[0])
                parts.append(repr(value))
            elif value is None or kind is bool:
                parts.append(name[0])
                parts.append(_WORDS[value])
            else:
                return None
        text = " ".join(texts)
        if '"' in text or "\\" in text or not self._redactor.is_clean(text):
            return None
        parts.append("}")
        return "".join(parts)

    def _learn_name(self, key: object) -> tuple[str, str] | None:
        """Return what stands before the value of *key* in a line, and before a text; None if the line has to be written the long way."""
        if not isinstance(key, str) or key in _NOT_PLAIN or is_secret(key) or self._redactor.text(key) != key:
            return None
        before = f", {json.dumps(key, ensure_ascii=False)}: "
        name = before, before + '"'
        if len(self._names) < _MAX_NAMES:
            self._names[key] = name
        return name

    def _learn_head(self, level: str, logger: str) -> str | None:
        if self._redactor.text(level) != level or self._redactor.text(logger) != logger:
            return None
        head = f'", "level": {json.dumps(level)}, "logger": {json.dumps(logger, ensure_ascii=False)}, "event": "'
        if len(self._heads) < _MAX_NAMES:
            self._heads[level, logger] = head
        return head

    def _closely(self, stamp: str, level: str, logger: str, event: EventDict) -> str:
        trace = event.pop("exception", None)
        first = {"timestamp": stamp, "level": level, "logger": logger, "event": event.pop("event", "")}
        safe = self._redactor.mapping({**first, **{key: value for key, value in event.items() if key not in first}})
        if trace is not None:
            # hidden as a whole first: a secret may reach over the end of a line
            safe["exception"] = "\n".join(self._redactor.text(part) for part in self._redactor.hide(str(trace)).split("\n"))
        return _json(safe) if self._is_json else _console(safe)


def _json(values: MutableMapping[str, object]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=True, default=repr)


def _console(values: MutableMapping[str, object]) -> str:
    """Return ``time level event key=value …``; the lines of a traceback are set in, so that none can pass for a line of the log."""
    stamp = str(values.pop("timestamp", ""))[11:23]
    level = str(values.pop("level", "")).ljust(_LEVEL_WIDTH)
    text = values.pop("event", "")
    trace = values.pop("exception", None)
    values.pop("logger", None)
    pairs = "".join(f" {key}={_pair(value)}" for key, value in values.items())
    line = f"{stamp} {level} {text}{pairs}"
    return line if trace is None else line + "".join(f"\n    | {part}" for part in str(trace).split("\n"))


def _pair(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) and (not text or " " in text or '"' in text) else text
