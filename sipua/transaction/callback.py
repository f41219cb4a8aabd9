"""Calls of the user's functions: a fault in one is logged and costs the transaction nothing."""

import logging
from collections.abc import Callable
from typing import TypeVarTuple

log = logging.getLogger("sipua.transaction")

A = TypeVarTuple("A")


def call_user(callback: Callable[[*A], None], *arguments: *A) -> bool:
    """Call *callback*; return False, after logging, when it raised."""
    try:
        callback(*arguments)
    except Exception:  # whatever it is, the layer must go on
        log.exception("callback %s failed", getattr(callback, "__qualname__", type(callback).__name__))
        return False
    return True
