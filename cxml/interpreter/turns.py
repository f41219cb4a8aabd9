"""One at a time, at no cost while nobody has a turn: thousands of calls wait between two requests."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Given = TypeVarTuple("Given")


class Turns:
    """What has this as its base does one thing at a time; who comes meanwhile waits, and has its turn in the order of arrival."""

    __slots__ = ("_lock", "_users")

    def __init__(self) -> None:
        self._lock: asyncio.Lock | None = None
        self._users = 0

    async def in_turn(self, work: Callable[[*Given], Awaitable[T]], *given: *Given) -> T:
        """Await *work* of *given* when its turn has come, and return what it returns. Raises what it raises."""
        self._users += 1
        if self._lock is None:
            self._lock = asyncio.Lock()
        try:
            async with self._lock:
                return await work(*given)
        finally:
            self._users -= 1
            if not self._users:
                self._lock = None
