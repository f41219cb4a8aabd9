"""Pure. Which datagrams are served first, which wait, and which are not even read (docs/spec/overload.md, "Datagrams").

All that is known of a datagram here is its source and a look at its first line, its To and its branch: parsing is what overload
can't afford.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import AddressValueError, IPv6Address
from typing import TypeVar

from sipua.transport.bucket import MAX_SOURCES, SourceBuckets, TokenBucket
from sipua.transport.network import HostPort

K = TypeVar("K")

MAX_WAITING = 512  # new requests of one class that wait: a tenth of a second's work, so that none is answered after its sender gave up
MAX_OF_A_SOURCE = 384  # of these: one peer that has gone mad leaves room for the calls of the others
MAX_WAITING_BYTES = 1 << 20  # the same for large ones
BURST_S = 2.0  # a source may be idle, then send what it may send in this time at once
GOES_ON_PER_S = 5000
"""Datagrams in calls, of one source: a thousand transfers a second, more than a core carries; beyond that a peer has gone mad, or its
address is forged."""

LONGEST_METHOD = 16
LOOK_OCTETS = 4096  # To and Via stand in the first lines of whatever an honest sender sends

_IN_DIALOG = frozenset({b"ACK", b"BYE", b"PRACK", b"UPDATE", b"INFO"})
_TO = re.compile(rb"\n(?:to|t)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE)
_TAG = re.compile(rb";\s*tag\s*=", re.IGNORECASE)
_BRANCH = re.compile(rb";\s*branch\s*=\s*([^\s;,]+)", re.IGNORECASE)


class Kind(Enum):
    """What a datagram looks like."""

    GOES_ON = "goes on"
    """A response, an ACK, or a request in a dialog: work that was accepted already."""
    CANCEL = "cancel"
    NEW = "new"


class Verdict(Enum):
    """What is done with a datagram."""

    NOW = "now"
    WAITS = "waits"
    SHED = "shed"


def look(data: bytes) -> Kind:
    """Guess the kind of a datagram from its first line and its To; junk counts as new."""
    method = data[:LONGEST_METHOD].partition(b" ")[0]
    if method == b"SIP/2.0" or method in _IN_DIALOG:
        return Kind.GOES_ON
    if method == b"CANCEL":
        return Kind.CANCEL
    start = data.find(b"\nTo: ", 0, LOOK_OCTETS)
    end = data.find(b"\n", start + 1, LOOK_OCTETS)
    if 0 <= start < end and data[end + 1 : end + 2] not in b" \t":  # as nearly all peers write it, and not folded
        line = data[start:end]
        if b";tag=" in line:
            return Kind.GOES_ON
        if b"=" not in line:
            return Kind.NEW
    to = _TO.search(data, 0, LOOK_OCTETS)
    return Kind.GOES_ON if to is not None and _TAG.search(to[1]) else Kind.NEW


def source_key(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 that one subscriber of IPv6 has."""
    if ":" not in host:
        return host
    try:
        return IPv6Address(host.partition("%")[0]).packed[:8].hex()
    except AddressValueError:
        return host


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """Datagrams a second from sources that are not known: of each, and of all together. 0: no limit."""

    per_source: float = 0.0
    in_all: float = 0.0


@dataclass(slots=True)
class Intake:
    """What all sockets of a user agent go by.

    *is_known* tells whether a host is one we work with; strangers have *limits* and wait behind everybody. *shed* counts what was
    not read, by ``source_rate``, ``stranger_rate``, ``queue_full`` and ``strangers_queue_full``.
    """

    limits: StrangerLimits = field(default_factory=StrangerLimits)
    is_known: Callable[[str], bool] = lambda _host: True
    shed: Counter[str] = field(default_factory=Counter)


class Triage:
    """Sorts the datagrams of one socket, and keeps those that wait."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._sources = SourceBuckets(MAX_SOURCES)  # a flood from more of them meets the budget that all share
        self._steady = SourceBuckets(MAX_SOURCES)
        self._all: TokenBucket | None = None
        self._new = _Waiting("queue_full", intake.shed)
        self._strange = _Waiting("strangers_queue_full", intake.shed)

    def __len__(self) -> int:
        return len(self._new) + len(self._strange)

    @property
    def source_count(self) -> int:
        """How many sources are remembered."""
        return len(self._sources)

    def sort(self, data: bytes, source: HostPort, now: float) -> Verdict:
        """Decide over a datagram; one that waits is given back by :meth:`next_waiting`."""
        if not self._intake.is_known(source[0]):
            return self._strange.add(data, source) if self._may_send(source[0], now) else Verdict.SHED
        kind = look(data)
        if kind is Kind.GOES_ON:
            is_sane = self._steady.take(source[0], GOES_ON_PER_S, GOES_ON_PER_S * BURST_S, now)
            return Verdict.NOW if is_sane else self._new.add(data, source)
        branch = _branch(data)
        if kind is Kind.CANCEL and not self._new.has(branch, source):
            return Verdict.NOW
        return self._new.add(data, source, branch)

    def next_waiting(self) -> tuple[bytes, HostPort] | None:
        """Return the next datagram to serve, those of known sources first, and of each class the oldest; None when none waits."""
        return self._new.pop() or self._strange.pop()

    def clear(self) -> None:
        """Forget what waits."""
        self._new.clear()
        self._strange.clear()

    def _may_send(self, host: str, now: float) -> bool:
        limits, shed = self._intake.limits, self._intake.shed
        rate = limits.per_source
        if rate and not self._sources.take(source_key(host), rate, rate * BURST_S, now):
            shed["source_rate"] += 1
            return False
        if limits.in_all:
            if self._all is None:
                self._all = TokenBucket(limits.in_all, limits.in_all * BURST_S, now)
            if not self._all.take(now):
                shed["stranger_rate"] += 1
                return False
        return True


def _branch(data: bytes) -> bytes:
    start = data.find(b";branch=", 0, LOOK_OCTETS)
    found = _BRANCH.match(data, start, LOOK_OCTETS) if start >= 0 else None
    found = found or _BRANCH.search(data, 0, LOOK_OCTETS)
    return b"" if found is None else found[1]


def _take_one(counts: dict[K, int], key: K) -> None:
    """Count one less of *key*; what there is none of is forgotten. A plain dict, as PyPy counts with :class:`Counter` in many steps."""
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]


class _Waiting:
    """A bounded queue. A datagram that comes again while its first copy waits is dropped: one answer serves both."""

    def __init__(self, reason: str, shed: Counter[str]) -> None:
        self._reason = reason
        self._shed = shed
        self._queue: OrderedDict[tuple[HostPort, bytes], bytes] = OrderedDict()
        self._branches: dict[tuple[HostPort, bytes], int] = {}
        self._hosts: dict[str, int] = {}
        self._octets = 0

    def __len__(self) -> int:
        return len(self._queue)

    def has(self, branch: bytes, source: HostPort) -> bool:
        """Tell whether a request of *branch* waits, behind which its CANCEL has to stay."""
        return (source, branch) in self._branches

    def add(self, data: bytes, source: HostPort, branch: bytes = b"") -> Verdict:
        """Put a datagram at the end."""
        key = (source, data)
        if key in self._queue:
            return Verdict.WAITS
        host, octets = source[0], self._octets + len(data)
        of_host = self._hosts.get(host, 0)
        if len(self._queue) >= MAX_WAITING or of_host >= MAX_OF_A_SOURCE or octets > MAX_WAITING_BYTES:
            self._shed[self._reason] += 1
            return Verdict.SHED
        self._queue[key] = branch
        self._hosts[host] = of_host + 1
        self._octets = octets
        if branch:
            request = (source, branch)
            self._branches[request] = self._branches.get(request, 0) + 1
        return Verdict.WAITS

    def pop(self) -> tuple[bytes, HostPort] | None:
        """Take the datagram that waits longest."""
        if not self._queue:
            return None
        (source, data), branch = self._queue.popitem(last=False)
        self._octets -= len(data)
        _take_one(self._hosts, source[0])
        if branch:
            _take_one(self._branches, (source, branch))
        return data, source

    def clear(self) -> None:
        """Forget all."""
        self._queue.clear()
        self._branches.clear()
        self._hosts.clear()
        self._octets = 0
