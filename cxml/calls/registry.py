"""The calls that run now, and the limits on new ones."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from cxml.calls.sip_call import SipCall
from sipua.alarms import Alarm, Alarms
from sipua.transport.bucket import TokenBucket

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How many calls may run at a time and how many may begin a second (0: no limit)."""

    max_calls: int = 0
    max_calls_per_s: float = 0.0


class Stoppable(Protocol):
    """What runs the documents of a call."""

    def stop(self) -> None:
        """End the call in good order."""


@dataclass(slots=True)
class LiveCall:
    """One call, the task that runs its documents, and what ends it in good order."""

    call: SipCall
    task: "asyncio.Task[object]"
    engine: Stoppable
    peer: str
    host: str = ""
    """The address that it came from."""
    began_at: float = 0.0
    """The time of the loop, in seconds."""
    is_too_long: bool = False
    """True once it was stopped for going on too long."""


class Elsewhere(Protocol):
    """What other processes count under the same limit, and where they see what we count."""

    @property
    def live(self) -> int:
        """Calls that run there."""

    @property
    def admitted(self) -> int:
        """Calls that were taken there, ever."""

    def note_live(self, live: int) -> None:
        """*live* calls run here, or are about to."""

    def note_admitted(self) -> None:
        """A call was taken here."""


class _Count:
    """The calls that one limit counts: all, or those of a peer."""

    def __init__(self, limits: CallLimits, now: float, elsewhere: Elsewhere | None = None) -> None:
        self.limits = limits
        self._elsewhere = elsewhere
        self._seen = 0 if elsewhere is None else elsewhere.admitted
        self.live = 0
        self.admitted = 0
        rate = limits.max_calls_per_s
        # a bucket of one second's calls, at least one, refilled steadily
        self.bucket = TokenBucket(rate, max(rate, 1.0), now) if rate else None

    def obstacle(self, now: float) -> str:
        elsewhere = 0 if self._elsewhere is None else self._settle(self._elsewhere, now)
        if self.limits.max_calls and self.live + self.admitted + elsewhere >= self.limits.max_calls:
            return "max_calls"
        return "max_calls_per_s" if self.bucket is not None and not self.bucket.has_one(now) else ""

    def admit(self, now: float) -> None:
        if self.bucket is not None:
            self.bucket.take(now)
        if self._elsewhere is not None:
            self._elsewhere.note_admitted()
        self.change(admitted=1)

    def change(self, live: int = 0, admitted: int = 0) -> None:
        """*live* calls began, or ended; *admitted* places were taken for calls that are to begin, or given back."""
        self.live += live
        self.admitted += admitted
        if self._elsewhere is not None:
            self._elsewhere.note_live(self.live + self.admitted)

    def _settle(self, elsewhere: Elsewhere, now: float) -> int:
        """Let calls that were taken elsewhere use up the rate here, too, and return how many run there."""
        admitted = elsewhere.admitted
        if self.bucket is not None and admitted > self._seen:
            self.bucket.spend(admitted - self._seen, now)
        self._seen = admitted
        return elsewhere.live


class Registry:
    """Counts calls in and out, and ends what is left at shutdown."""

    def __init__(
        self,
        limits: CallLimits,
        now: Callable[[], float],
        peers: Mapping[str, CallLimits] | None = None,
        elsewhere: Callable[[str], Elsewhere | None] = lambda _peer: None,
    ) -> None:
        """*peers* has the limits of those peers that have some of their own, by name.

        *elsewhere* gives what other processes count under the limit of a peer, under that of all for ``""``.
        """
        self._now = now
        self._all = _Count(limits, now(), elsewhere(""))
        self._peers = {name: _Count(own, now(), elsewhere(name)) for name, own in (peers or {}).items()}
        self._calls: dict[str, LiveCall] = {}
        self._hosts: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self._hurry = asyncio.Event()
        self.is_draining = False
        self.begun = 0
        """How many calls have begun ever."""
        self.max_call_s = 0.0
        """How long a call may go on; 0: for ever."""
        self._alarm: Alarm | None = None  # for the oldest call: they are kept in the order in which they began

    def __len__(self) -> int:
        return len(self._calls)

    def obstacle(self, peer: str = "") -> str:
        """Return ``""`` when a call of *peer* may begin now, else what forbids it.

        That is ``draining``, a limit of the peer (``peer_max_calls``, ``peer_max_calls_per_s``), or one for all: ``max_calls``,
        ``max_calls_per_s``.
        """
        if self.is_draining:
            return "draining"
        now = self._now()
        own = self._peers.get(peer)
        limit = "" if own is None else own.obstacle(now)
        return f"peer_{limit}" if limit else self._all.obstacle(now)

    def may_begin(self, peer: str = "") -> str:
        """Ask :meth:`obstacle`, and when there is none give the call its share of the rates.

        Its place is kept until its handler has run, which calls :meth:`add`.
        """
        limit = self.obstacle(peer)
        if not limit:
            now = self._now()
            for count in self._counts(peer):
                count.admit(now)
            # several INVITEs may come in one read; the handlers of all of them run after this callback and before the next read
            asyncio.get_running_loop().call_soon(self._release, peer)
        return limit

    def _counts(self, peer: str) -> list[_Count]:
        own = self._peers.get(peer)
        return [self._all] if own is None else [self._all, own]

    def _release(self, peer: str) -> None:
        for count in self._counts(peer):
            count.change(admitted=-1)

    def has_caller(self, host: str) -> bool:
        """Tell whether a call from the address *host* runs."""
        return host in self._hosts

    def add(self, live: LiveCall) -> None:
        """A call begins."""
        self.begun += 1
        self._calls[live.call.sid] = live
        for count in self._counts(live.peer):
            count.change(live=1)
        if live.host:
            self._hosts[live.host] += 1
        self._empty.clear()
        if self.max_call_s and self._alarm is None:
            self._watch(live)

    def _watch(self, live: LiveCall) -> None:
        self._alarm = Alarms.of(asyncio.get_running_loop()).set(live.began_at + self.max_call_s, self._end_too_long)

    def _end_too_long(self, now: float) -> None:
        """End calls that never end, in the way of a shutdown: what their transfers owe is still told."""
        self._alarm = None
        for live in tuple(self._calls.values()):
            if live.began_at + self.max_call_s > now:
                self._watch(live)
                return
            if not live.is_too_long:
                live.is_too_long = True
                log.warning("call_too_long", call_sid=live.call.sid, limit_s=self.max_call_s, remedy="[limits] max_call_s")
                live.engine.stop()

    def remove(self, sid: str) -> None:
        """A call is over and its last request delivered."""
        live = self._calls.pop(sid, None)
        if live is not None:
            for count in self._counts(live.peer):
                count.change(live=-1)
            self._hosts[live.host] -= 1
            if self._hosts[live.host] <= 0:
                del self._hosts[live.host]
        if not self._calls:
            self._empty.set()
            if self._alarm is not None:
                Alarms.of(asyncio.get_running_loop()).cancel(self._alarm)
                self._alarm = None

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
        for live in tuple(self._calls.values()):
            live.engine.stop()
        if not await self._all_gone(grace_s):
            for live in tuple(self._calls.values()):
                live.task.cancel()
            await self._all_gone(grace_s)
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
