"""Answered server transactions, and client transactions with their answer, at rest: they absorb repetitions until one timer ends them.

What is kept of each is what a repetition may need; thousands wait at a time (docs/spec/transactions.md, "At rest").
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Final, Generic, TypeVar

from sipua.transaction.callback import call_user
from sipua.transaction.key import MergeKey
from sipua.transport.base import Channel

K = TypeVar("K")

SWEEP_S: Final = 1.0
"""How often those whose time is over are taken away at most: nobody sees that they are still there."""


class Rest(Generic[K]):
    """One of them: its *key*, loop time *ends_at*, the *data* that a repetition is answered with, if any, and *channel*, its way."""

    __slots__ = ("channel", "data", "ends_at", "is_invite", "key", "merge", "on_terminated", "to_tag")

    is_answered = True

    def __init__(self, key: K, ends_at: float, channel: Channel, data: bytes | None = None, *, is_invite: bool = False) -> None:
        self.key = key
        self.ends_at = ends_at
        self.channel = channel
        self.data = data
        self.is_invite = is_invite
        self.to_tag = ""
        self.merge: MergeKey | None = None
        self.on_terminated: Callable[[], None] | None = None


class Resting(Generic[K]):
    """Those that rest equally long: who came first ends first. *on_end* is called with each that has ended, then its ``on_terminated``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[Rest[K]], None] = lambda _rest: None) -> None:
        self._loop = loop
        self._on_end = on_end
        self._of: dict[K, Rest[K]] = {}
        self._order: deque[Rest[K]] = deque()
        self._handle: asyncio.TimerHandle | None = None
        self._is_heard = False
        self._context = copy_context()  # one timer for the transactions of all calls: what it logs is of none of them

    def __len__(self) -> int:
        self.expire()
        return len(self._of)

    @property
    def count(self) -> int:
        """How many there are, with those that have ended and were not taken away yet."""
        return len(self._of)

    @property
    def first(self) -> Rest[K] | None:
        """The one that ends first."""
        return self._order[0] if self._order else None

    def add(self, rest: Rest[K]) -> None:
        """Take *rest* in."""
        self._of[rest.key] = rest
        self._order.append(rest)
        self._is_heard = self._is_heard or rest.on_terminated is not None
        if self._handle is None:
            self._arm(rest)

    def find(self, key: K) -> Rest[K] | None:
        """Return the one with *key*."""
        rest = self._of.get(key)
        if rest is not None and rest.ends_at <= self._loop.time():
            self.expire()
            return None
        return rest

    def pop(self) -> None:
        """End the first one before its time."""
        rest = self._order.popleft()
        del self._of[rest.key]
        self._on_end(rest)
        if rest.on_terminated is not None:
            call_user(rest.on_terminated)

    def expire(self) -> None:
        """End those whose time is over."""
        now = self._loop.time()
        while self._order and self._order[0].ends_at <= now:
            self.pop()

    def clear(self) -> None:
        """Forget all, without a word."""
        self._of.clear()
        self._order.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, first: Rest[K]) -> None:
        # somebody who wants to hear of the end hears of it on time
        when = first.ends_at if self._is_heard else max(first.ends_at, self._loop.time() + SWEEP_S)
        self._handle = self._loop.call_at(when, self._sweep, when, context=self._context)

    def _sweep(self, when: float) -> None:
        self._handle = None
        while self._order and self._order[0].ends_at <= max(when, self._loop.time()):  # a loop may wake a hair too early
            self.pop()
        if self._order and self._handle is None:
            self._arm(self._order[0])
