"""Which call is at work: what every log line of its tasks carries."""

from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any

_Flat = tuple[str | int, ...]
"""Names and values in turn: thousands of calls wait, and a dict for each is twice as large."""

_values: ContextVar[_Flat] = ContextVar("cxmld_call", default=())


class call_context:  # noqa: N801  # read as a statement: with call_context(sid):
    """Give every line logged in the block, and in tasks started there, the CallSid and *values*."""

    __slots__ = ("_own", "_token")

    def __init__(self, call_sid: str, **values: str) -> None:
        self._own = _flat({"call_sid": call_sid, **values})
        self._token: Token[_Flat] | None = None

    def __enter__(self) -> None:
        own, self._own = self._own, ()  # what is set is kept once: thousands of calls wait in such a block
        self._token = _values.set(_joined(_values.get(), own))

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        if self._token is not None:
            _values.reset(self._token)


def enter_call(call_sid: str, **values: str) -> None:
    """Give every line logged in the rest of the task, which must be the call's own, the CallSid and *values*."""
    _values.set(_joined(_values.get(), _flat({"call_sid": call_sid, **values})))


def set_process(**values: str | int) -> None:
    """Give every line that this process logs from now on *values*; to be called before there is a loop, with none, too.

    A variable without a value costs PyPy much: it looks for one by an exception, and each frame that one has passed through leaves its
    compiled code every time its coroutine goes on, to the end of the call (docs/adr/0024).
    """
    _values.set(_flat(values))


def call_values() -> Mapping[str, str | int]:
    """Return what lines logged now are to carry: outside of a call nothing but what the process has."""
    values: dict[str, str | int] = {}
    add_call_values(values)
    return values


def add_call_values(event: MutableMapping[str, Any]) -> None:
    """Give *event* what :func:`call_values` returns, but for names that it has."""
    flat = _values.get()
    for index in range(0, len(flat), 2):
        event.setdefault(str(flat[index]), flat[index + 1])


def _joined(outer: _Flat, own: _Flat) -> _Flat:
    """Return both, each name once: *own* values hold in the block."""
    names = outer[::2]
    for name in own[::2]:
        if name in names:
            return _flat({**_pairs(outer), **_pairs(own)})
    return outer + own


def _pairs(flat: _Flat) -> dict[str, str | int]:
    return dict(zip(map(str, flat[::2]), flat[1::2], strict=True))


def _flat(values: Mapping[str, str | int]) -> _Flat:
    return tuple([part for item in values.items() for part in item])
