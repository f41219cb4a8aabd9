"""One at a time, at no cost while nobody has a turn: thousands of calls wait between two requests."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Given = TypeVarTuple("Given")


class Turns:
    """What has this as its base does one thing at a time; who comes meanwhile waits, and has its turn in the order of arrival."""

    __slots__ = ("_has_turn", "_line")

    def __init__(self) -> None:
        self._has_turn = False  # somebody has
        self._line: deque[asyncio.Future[None]] | None = None  # made for the first who has to wait, which few calls ever see

    async def in_turn(self, work: Callable[[*Given], Awaitable[T]], *given: *Given) -> T:
        """Await *work* of *given* when its turn has come, and return what it returns. Raises what it raises."""
        if self._has_turn:
            await self._stand_in_line()
        self._has_turn = True
        try:
            return await work(*given)
        finally:
            self._hand_over()

    async def _stand_in_line(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = self._line = deque() if self._line is None else self._line
        line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in line:
                line.remove(turn)
            elif not turn.cancelled():
                self._hand_over()  # the turn came, too late
            raise

    def _hand_over(self) -> None:
        """Give the turn to who waits longest, so that nobody gets in between."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._has_turn = False
        self._line = None
