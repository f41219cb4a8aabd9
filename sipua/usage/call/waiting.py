"""Incoming calls that wait for whoever iterates over the agent: bounded, and without those whose caller has given up."""

import asyncio
from collections.abc import AsyncIterator

from sipua.usage.call.call import Call

MAX_WAITING_CALLS = 100
"""More get 503: whoever iterates is too slow, or has stopped."""


class WaitingCalls:
    """A queue of unanswered calls. ``is_wanted`` is True once somebody iterates."""

    def __init__(self) -> None:
        self.is_wanted = False
        self._calls: list[Call] = []
        self._news = asyncio.Event()
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """True when no further call can wait; calls that are over make room."""
        if len(self._calls) >= MAX_WAITING_CALLS:
            self._calls = [call for call in self._calls if not call.is_ended]
        return len(self._calls) >= MAX_WAITING_CALLS

    def put(self, call: Call) -> None:
        """Add a call."""
        self._calls.append(call)
        self._news.set()

    def close(self) -> None:
        """End every iteration."""
        self._is_closed = True
        self._news.set()

    def __aiter__(self) -> AsyncIterator[Call]:
        self.is_wanted = True
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Call]:
        while not self._is_closed:
            while self._calls and not self._is_closed:
                call = self._calls.pop(0)
                if not call.is_ended:
                    yield call
            if not self._is_closed:
                self._news.clear()
                await self._news.wait()
