"""The server transactions that there are: those that run, those at rest, and who makes room for others (docs/spec/overload.md)."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator

from sipua.transaction.key import MergeKey, ServerKey
from sipua.transaction.rest import Rest, Resting
from sipua.transaction.server import ServerRun

Server = ServerRun | Rest[ServerKey]


class ServerTable:
    """Finds server transactions by their keys."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.running: dict[ServerKey, ServerRun] = {}
        self.merges: dict[MergeKey, ServerKey] = {}
        self.unanswered: set[ServerKey] = set()
        self._calls: Resting[ServerKey] = Resting(loop, self._forget_merge)
        self._resting: Resting[ServerKey] = Resting(loop, self._forget_merge)
        self._lingering: OrderedDict[ServerKey, ServerRun] = OrderedDict()

    def __len__(self) -> int:
        return len(self.running) + len(self._calls) + len(self._resting)

    def has_room(self, limit: int) -> bool:
        """Tell whether there are less than *limit*."""
        return len(self.running) + self._calls.count + self._resting.count < limit or len(self) < limit

    def at_rest(self, key: ServerKey) -> Rest[ServerKey] | None:
        """Return the transaction at rest with *key*."""
        return self._resting.find(key) or self._calls.find(key)

    def find(self, key: ServerKey) -> Server | None:
        """Return the transaction with *key*, whether it runs or not."""
        return self.running.get(key) or self.at_rest(key)

    def add(self, run: ServerRun) -> None:
        """Take a new transaction in."""
        self.running[run.key] = run

    def answered(self, run: ServerRun, status: int) -> None:
        """*run* got its final response: unless its machine has something left to do it rests."""
        self.unanswered.discard(run.key)
        opens_call = run.merge is not None and 200 <= status < 300  # a copy of the INVITE of a call must not open another: it is never cut
        rest = run.rest()
        if rest is not None:
            self.running.pop(run.key, None)
            (self._calls if opens_call else self._resting).add(rest)
        elif not opens_call:
            self._lingering[run.key] = run
        if status == 503:  # RFC 3263 §4.3: after 503 the same request comes another way on purpose
            self._forget_merge(run)
            if rest is not None:
                self._forget_merge(rest)

    def forget(self, run: ServerRun) -> None:
        """*run* has ended."""
        self.running.pop(run.key, None)
        self.unanswered.discard(run.key)
        self._lingering.pop(run.key, None)
        self._forget_merge(run)

    def cut(self) -> bool:
        """End the one before its time that has absorbed repetitions longest; return False when there is none."""
        rest = self._resting.first
        run = next(iter(self._lingering.values()), None)
        if run is not None and (rest is None or run.absorbs_until < rest.ends_at):
            run.cut()
        elif rest is not None:
            self._resting.pop()
        return run is not None or rest is not None

    def clear(self) -> Iterator[ServerRun]:
        """Forget all, and return those that ran."""
        runs = list(self.running.values())
        for table in (self.running, self.merges, self.unanswered, self._lingering, self._calls, self._resting):
            table.clear()
        return iter(runs)

    def _forget_merge(self, server: Server) -> None:
        if server.merge is not None:
            self.merges.pop(server.merge, None)
            server.merge = None
