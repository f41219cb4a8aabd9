"""The calls that run now, and the limits on new ones."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from cxml.calls.sip_call import SipCall


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How many calls may run at a time and how many may begin a second (0: no limit)."""

    max_calls: int = 0
    max_calls_per_s: float = 0.0


@dataclass(slots=True)
class LiveCall:
    """One call and the task that runs its documents."""

    call: SipCall
    task: "asyncio.Task[object]"
    peer: str


class Registry:
    """Counts calls in and out, and ends what is left at shutdown."""

    def __init__(self, limits: CallLimits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._calls: dict[str, LiveCall] = {}
        self._admitted = 0
        self._burst = max(limits.max_calls_per_s, 1.0)  # a bucket of one second's calls, at least one, refilled steadily
        self._tokens = self._burst
        self._filled_at = now()
        self._empty = asyncio.Event()
        self._empty.set()
        self._hurry = asyncio.Event()
        self.is_draining = False

    def __len__(self) -> int:
        return len(self._calls)

    def may_begin(self) -> str:
        """Return ``""`` when a call may begin now, else the limit that forbids it: ``draining``, ``max_calls`` or ``max_calls_per_s``.

        Allowing a call takes its share of the rate, and its place until its handler has run, which calls :meth:`add`.
        """
        if self.is_draining:
            return "draining"
        if self._limits.max_calls and len(self._calls) + self._admitted >= self._limits.max_calls:
            return "max_calls"
        rate = self._limits.max_calls_per_s
        if rate:
            now = self._now()
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * rate)
            self._filled_at = now
            if self._tokens < 1.0:
                return "max_calls_per_s"
            self._tokens -= 1.0
        self._admitted += 1
        # several INVITEs may come in one read; the handlers of all of them run after this callback and before the next read
        asyncio.get_running_loop().call_soon(self._release)
        return ""

    def _release(self) -> None:
        self._admitted -= 1

    def add(self, live: LiveCall) -> None:
        """A call begins."""
        self._calls[live.call.sid] = live
        self._empty.clear()

    def remove(self, sid: str) -> None:
        """A call is over and its last request delivered."""
        self._calls.pop(sid, None)
        if not self._calls:
            self._empty.set()

    def hurry(self) -> None:
        """End a drain's wait for running calls at once."""
        self._hurry.set()

    async def drain(self, limit_s: float, grace_s: float) -> int:
        """Take no new calls, let the running ones finish for *limit_s* seconds, then end them; return how many had to be ended.

        A call that is ended still sends the action request of a transfer that waits, for *grace_s* seconds at most.
        """
        self.is_draining = True
        if await self._all_gone(limit_s, self._hurry):
            return 0
        ended = len(self._calls)
        for _ in range(2):  # the first cancellation hangs up in good order, the second stops at once
            for live in tuple(self._calls.values()):
                live.task.cancel()
            if await self._all_gone(grace_s):
                break
        return ended

    async def _all_gone(self, within_s: float, hurry: asyncio.Event | None = None) -> bool:
        """Wait until no call is left, at most *within_s* seconds, or until *hurry* is set; tell whether none is left."""
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(self._empty.wait())]
            if hurry is not None:
                waits.append(group.create_task(hurry.wait()))
            await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        return not self._calls
