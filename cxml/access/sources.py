"""Pure. What is remembered of sources, in bounded memory: wrong passwords, bans, and answers given to strangers.

A source is an address, or the /64 of an IPv6 address. Only a wrong answer to a challenge counts: whoever gives one has read the nonce,
which went to the address, so nobody can have somebody else banned by sending in their name (docs/adr/0013-who-gets-in.md).
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from cxml.access.peers import LOOPBACK, Network
from sipua.auth.server import subnet_of

MAX_SOURCES: Final = 10_000  # of each kind: a few megabytes, and more hosts than guess passwords of one small site in an hour

State = TypeVar("State")


class SourceTable(Generic[State]):
    """What is known of each source; the one that was not heard of for longest makes room."""

    def __init__(self, make: Callable[[], State], capacity: int = MAX_SOURCES) -> None:
        self._make = make
        self._capacity = capacity
        self._states: OrderedDict[str, State] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def find(self, host: str) -> State | None:
        """Return what is known of the source of the address *host*."""
        return self._states.get(subnet_of(host)) if self._states else None

    def touch(self, host: str) -> State:
        """Return what is known of the source of *host*, made new if nothing is."""
        source = subnet_of(host)
        state = self._states.pop(source, None)
        if state is None:
            state = self._make()
            while len(self._states) >= self._capacity:
                self._states.popitem(last=False)
        self._states[source] = state
        return state

    def drop(self, host: str) -> None:
        """Forget the source of *host*."""
        self._states.pop(subnet_of(host), None)

    def keep(self, is_kept: Callable[[State], bool]) -> None:
        """Forget every source whose state *is_kept* is false for."""
        for source in [source for source, state in self._states.items() if not is_kept(state)]:
            del self._states[source]


@dataclass(frozen=True, slots=True)
class BanRules:
    """*max_failures* wrong passwords within *window_s* seconds ban a source for *ban_s*; those in *never* are never banned."""

    max_failures: int = 5
    window_s: float = 300.0
    ban_s: float = 3600.0
    never: Sequence[Network] = LOOPBACK


@dataclass(slots=True)
class _Failures:
    since: float = 0.0
    count: int = 0


@dataclass(slots=True)
class _Until:
    time: float = 0.0


class Bans:
    """Counts wrong passwords and says who is banned."""

    def __init__(self, rules: BanRules, *, capacity: int = MAX_SOURCES) -> None:
        self.rules = rules
        self._failures = SourceTable(_Failures, capacity)
        self._bans = SourceTable(_Until, capacity)

    def is_banned(self, host: str, now: float) -> bool:
        """Tell whether the address *host* is banned."""
        ban = self._bans.find(host)
        if ban is not None and ban.time <= now:
            self._bans.drop(host)
            return False
        return ban is not None

    def failed(self, host: str, now: float) -> bool:
        """A wrong password came from *host*; tell whether that bans it."""
        if self._is_spared(host):
            return False
        failures = self._failures.touch(host)
        if now - failures.since > self.rules.window_s:
            failures.since, failures.count = now, 0
        failures.count += 1
        if failures.count < self.rules.max_failures:
            return False
        self._failures.drop(host)
        self._bans.touch(host).time = now + self.rules.ban_s
        return True

    def count(self, now: float) -> int:
        """Return how many sources are banned."""
        self._bans.keep(lambda ban: ban.time > now)
        return len(self._bans)

    def _is_spared(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address.version == network.version and address in network for network in self.rules.never)


class Proven:
    """Which sources have shown a password lately: they are no strangers."""

    def __init__(self, for_s: float, *, capacity: int = MAX_SOURCES) -> None:
        self._for_s = for_s
        self._sources = SourceTable(_Until, capacity)

    def note(self, host: str, now: float) -> None:
        """A password of a peer came from *host*."""
        self._sources.touch(host).time = now + self._for_s

    def has(self, host: str, now: float) -> bool:
        """Tell whether *host* has shown one."""
        until = self._sources.find(host)
        return until is not None and until.time > now

    def drop(self, host: str) -> None:
        """*host* is banned: what it has shown counts no more."""
        self._sources.drop(host)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float = 0.0


class AnswerLimit:
    """How many answers a source gets that isn't known: *per_s* a second, twice as many at once.

    An answer to a forged address goes to somebody who never asked; this bounds what anybody can be sent through us.
    """

    def __init__(self, per_s: float, *, capacity: int = MAX_SOURCES) -> None:
        self._per_s = per_s
        self._most = 2.0 * per_s
        self._buckets = SourceTable(lambda: _Bucket(self._most), capacity)

    def takes(self, host: str, now: float) -> bool:
        """Tell whether *host* may get one more answer, and count it."""
        bucket = self._buckets.touch(host)
        bucket.tokens = min(self._most, bucket.tokens + (now - bucket.filled_at) * self._per_s)
        bucket.filled_at = now
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True
