"""The interpreter that runs the daemon, made fit for many calls: CPython with uvloop, or PyPy with its just-in-time compiler.

PyPy needs a fraction of the processor time once it has compiled what a call runs through, but not as it comes. The code of a call is wide
and flat: thousands of functions, each run a few times for a call. PyPy forgets how often a function ran before it has seen enough, throws
compiled code away that a thousand other pieces were used since, and looks for garbage each few calls. And what it compiles stays: it has to
come to an end with that when nearly everything is compiled, or memory never stops growing (docs/adr/0024).
"""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from cxml.daemon.plain_loop import PlainLoop
from sipua.transport.tls_errors import separate

log = structlog.get_logger(__name__)

IS_PYPY: Final = sys.implementation.name == "pypy"

COMPILER: Final = "decay=0,loop_longevity=100000"
"""Counts of how often code ran do not fade; compiled code is kept. See ``pypy3 --jit help``."""

WARM_UP_CALLS: Final = 50_000
"""By then a guard that failed in one call of 250 has got code of its own, and a function that one call of 31 enters is compiled; what lies
behind a rare way takes as long again. Calls, not hours: they say how much was seen.
"""

SETTLED: Final = "decay=500"
"""From then on counts fade, by half with each 32nd collection of new objects, that is every two thousand calls or so. What is new in
one call of twenty is still compiled (a function: every second), and memory does not grow with each rarer thing that has happened often
enough in the end.
"""

COUNT_S: Final = 10.0
"""How often the calls are counted until then."""

COLLECTOR: Final = {"PYPY_GC_NURSERY": "32M", "PYPY_GC_INCREMENT_STEP": "2M"}
"""Room for new objects: few of them still live when it is full, and only those cost something. How much of the old ones is looked at in one
step: some two milliseconds' worth.
"""


def prepare() -> None:
    """Set up PyPy for the daemon; nothing on CPython.

    The collector's settings are read from the environment when PyPy starts: where one is not set, the process starts anew with it, as the
    same process and with the same arguments. Raises :class:`sipua.errors.TransportError` for a version that can't be trusted with TLS.
    """
    if not IS_PYPY:
        return
    if not COLLECTOR.keys() <= os.environ.keys():
        os.environ.update({name: value for name, value in COLLECTOR.items() if name not in os.environ})
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # ourselves
    import pypyjit  # type: ignore[import-not-found]  # noqa: PLC0415  # there on PyPy alone

    pypyjit.set_param(COMPILER)
    separate()  # for the requests to web applications, too


def settle() -> None:
    """Let PyPy's compiler take up only what is common; nothing on CPython. A process that takes no calls has nothing to warm up for."""
    if IS_PYPY:
        import pypyjit  # noqa: PLC0415  # there on PyPy alone

        pypyjit.set_param(SETTLED)


@contextmanager
def settling(calls: Callable[[], int]) -> Iterator[None]:
    """While the block runs, in a loop, look whether *calls*, how many have begun, says that the compiler has seen enough; then settle."""
    loop = asyncio.get_running_loop()
    handle: asyncio.Handle

    def look() -> None:
        nonlocal handle
        begun = calls()
        if begun < WARM_UP_CALLS:
            handle = loop.call_later(COUNT_S, look)
        else:
            settle()
            log.info("compiler_settled", calls=begun)

    handle = loop.call_soon(look)
    try:
        yield
    finally:
        handle.cancel()


@contextmanager
def collector_watched(told: Callable[[float, int], None]) -> Iterator[None]:
    """While the block runs *told* hears of each pause for PyPy's collector, in seconds, and of no objects, for it counts none.

    Pauses are the collections of new objects and the steps of those of old ones. PyPy tells of several that followed at once as one; each
    counts, with their mean.
    """

    def tell(pauses: Any) -> None:  # GcMinorStats or GcCollectStepStats of PyPy
        for _ in range(pauses.count):
            told(pauses.duration / pauses.count, 0)

    hooks: Any = vars(gc)["hooks"]
    hooks.on_gc_minor = hooks.on_gc_collect_step = tell
    try:
        yield
    finally:
        hooks.reset()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's event loop. PyPy has none; asyncio's is compiled there with the rest."""
    if IS_PYPY:
        return PlainLoop()
    import uvloop  # noqa: PLC0415  # not there on PyPy

    return uvloop.new_event_loop()
