"""One timer that makes all sessions of a process send a packet of silence every 20 ms.

A timer per call would wake the loop fifty times a second for each; this one wakes it fifty times for all. A late wake is
not made up for with a burst: the missed intervals are skipped, and only the RTP clock moves on by them.
"""

import asyncio
from typing import Protocol

from sipua.rtp.g711 import PACKET_MS

INTERVAL_S = PACKET_MS / 1000


class SilenceSender(Protocol):
    """What the clock drives."""

    def send_silence(self, intervals: int) -> None:
        """Send one packet; *intervals* of 20 ms went by since the last call, 1 unless the loop was late."""


class SilenceClock:
    """Drives every sender that was added, until it is removed. Without senders it has no timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._senders: dict[SilenceSender, None] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._senders)

    def __contains__(self, sender: SilenceSender) -> bool:
        return sender in self._senders

    def add(self, sender: SilenceSender) -> None:
        """Begin to drive *sender*, with the next tick; adding twice is one."""
        self._senders[sender] = None
        if self._handle is None:
            self._due = self._loop.time() + INTERVAL_S
            self._arm()

    def remove(self, sender: SilenceSender) -> None:
        """Stop driving *sender*, at once, even from within a tick; unknown ones are ignored."""
        self._senders.pop(sender, None)
        if not self._senders and self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        self._handle = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        intervals = 1 + max(0, int((self._loop.time() - self._due) / INTERVAL_S))
        self._due += intervals * INTERVAL_S
        self._arm()  # before sending: a sender that fails must not stop the others' clock
        for sender in tuple(self._senders):
            if sender in self._senders:
                sender.send_silence(intervals)
