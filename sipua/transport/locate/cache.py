"""Answers for as long as they hold, and a little longer when nobody can be asked (RFC 2308, RFC 8767)."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sipua.driver import TaskSet
from sipua.errors import printable
from sipua.transport.locate.asker import NameServerError, Records, Reply
from sipua.transport.locate.records import Answer
from sipua.transport.trace import LogLimiter

log = logging.getLogger("sipua.dns")

MIN_TTL_S = 5.0  # a record of TTL 0 serves at least the INVITE, its ACK and the answer to a challenge
NEGATIVE_TTL_S = 30.0  # a name that somebody is about to make is found soon, whatever its zone's SOA says
FAILURE_TTL_S = 5.0  # a name server that is back is used soon; one that is not is asked by one call in five seconds
STALE_S = 86400.0  # how long after its end an answer may serve when no name server answers: the lower end of RFC 8767 §5
STALE_RETRY_S = 30.0  # RFC 8767 §5: how long a stale answer serves before its name is asked for again
STALE_WAIT_S = 1.8  # RFC 8767 §5: how long one waits for a fresh answer when there is a stale one
MAX_RUNNING = 128  # questions under way: names come from URIs that callers send

COUNTERS = ("queries", "failures", "hits", "stale")
"""Questions to name servers, those that failed, answers from the cache, stale answers that were used."""

Ask = Callable[[str, str], Awaitable[Reply]]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: Answer
    expires: float
    stale_until: float


class Cache:
    """Keeps answers by name and kind; at most *max_names* times, the ones used longest ago go first. One question serves all who wait."""

    def __init__(self, ask: Ask, *, max_names: int, max_ttl_s: float, limit_s: float, counters: Counter[str]) -> None:
        self._ask = ask
        self._max_names = max_names
        self._max_ttl_s = max_ttl_s
        self._limit_s = limit_s
        self._counters = counters
        self._entries: dict[Key, _Entry] = {}
        self._running: dict[Key, asyncio.Task[Answer]] = {}
        self._tasks = TaskSet()
        self._limiter = LogLimiter()
        self._down_until = float("-inf")

    def __len__(self) -> int:
        return len(self._entries)

    def known(self, name: str, kind: str) -> Answer | None:
        """Return the answer when it is in the cache and holds."""
        entry = self._entries.get((name, kind))
        if entry is None or entry.expires <= asyncio.get_running_loop().time():
            return None
        self._entries[name, kind] = self._entries.pop((name, kind))  # used last
        self._counters["hits"] += 1
        return entry.answer

    async def get(self, name: str, kind: str) -> Answer:
        """Return the answer, asking for it if need be. Never raises but for cancellation."""
        key = name, kind
        found = self.known(name, kind)
        if found is not None:
            return found
        now = asyncio.get_running_loop().time()
        entry = self._entries.get(key)
        stale = entry if entry is not None and entry.answer.records and now < entry.stale_until else None
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= MAX_RUNNING:
                self._limiter.warn("busy", "look-up of %s refused: %d are under way", printable(name, 64), MAX_RUNNING)
                return stale.answer if stale else Answer(error="too many look-ups are under way")
            task = self._running[key] = self._tasks.spawn(self._refresh(key, stale), f"ask {kind} {printable(name, 64)}")
        # the task itself is never awaited: others may wait for the same answer
        await asyncio.wait([task], timeout=None if stale is None else 0 if now < self._down_until else STALE_WAIT_S)
        if stale is not None and not task.done():
            self._used_stale(name, kind)
            return stale.answer
        return Answer(error="the resolver is closed") if task.cancelled() else task.result()

    async def _refresh(self, key: Key, stale: _Entry | None) -> Answer:
        loop = asyncio.get_running_loop()
        name, kind = key
        self._counters["queries"] += 1
        try:
            async with asyncio.timeout(self._limit_s):
                reply = await self._ask(name, kind)
        except (NameServerError, TimeoutError) as error:
            return self._failed(key, stale, str(error) or f"no name server answers for {printable(name, 64)} {kind}")
        except Exception:  # a fault of ours must not leave those who wait without an answer
            log.exception("look-up of %s %s failed", printable(name, 64), kind)
            return self._failed(key, stale, f"look-up of {printable(name, 64)} failed")
        finally:
            self._running.pop(key, None)
        self._down_until = float("-inf")
        expires = loop.time() + self._holds(reply.records, reply.ttl_s)
        return self._keep(key, _Entry(Answer(reply.records), expires, expires + STALE_S))

    def _holds(self, records: Records, ttl_s: float | None) -> float:
        if records:
            return max(MIN_TTL_S, min(self._max_ttl_s, NEGATIVE_TTL_S if ttl_s is None else ttl_s))
        return max(MIN_TTL_S, min(NEGATIVE_TTL_S, NEGATIVE_TTL_S if ttl_s is None else ttl_s))

    def _failed(self, key: Key, stale: _Entry | None, error: str) -> Answer:
        self._counters["failures"] += 1
        now = asyncio.get_running_loop().time()
        self._down_until = now + FAILURE_TTL_S
        if stale is not None:
            self._used_stale(*key)
            return self._keep(key, _Entry(stale.answer, now + STALE_RETRY_S, stale.stale_until))
        self._limiter.warn("failure", "%s; check that the configured name servers run and can be reached", error)
        return self._keep(key, _Entry(Answer(error=error), now + FAILURE_TTL_S, now))

    def _used_stale(self, name: str, kind: str) -> None:
        self._counters["stale"] += 1
        text = "no name server answers for %s %s: its last answer is used on; check that the configured name servers run"
        self._limiter.warn("stale", text, printable(name, 64), kind)

    def _keep(self, key: Key, entry: _Entry) -> Answer:
        self._entries.pop(key, None)
        while len(self._entries) >= self._max_names:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = entry
        return entry.answer

    async def aclose(self) -> None:
        """End questions that are under way."""
        await self._tasks.aclose()
