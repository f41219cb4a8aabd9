"""SIP over a stream: a connection with its framing, keep-alives and time limits (RFC 3261 §18.3, RFC 5626 §4.4.1)."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sipua.errors import TransportError
from sipua.message import MAX_MESSAGE_BYTES, Broken, Frame, Ping, StreamFramer
from sipua.timers import TimerSet
from sipua.transport.base import Endpoint
from sipua.transport.closing import CloseListeners
from sipua.transport.handshake import HANDSHAKE_RECORD
from sipua.transport.network import Stream

PING = b"\r\n\r\n"
PONG = b"\r\n"
PING_SECONDS = (95.0, 120.0)  # RFC 5626 §4.4.1, spread so that connections do not ping in step
PONG_SECONDS = 10.0  # RFC 5626 §4.4.1
HALF_READ_SECONDS = 32.0  # 64*T1: no transaction can still wait for the rest
IDLE_SECONDS = 900.0  # longer than a transaction and the usual refresh of a registration behind a NAT
LINGER_SECONDS = 10.0  # for a peer to take what was queued before a close
MAX_UNSENT_BYTES = 1 << 20  # what a peer may leave unread before it counts as dead
UNSENT_SECONDS = 32.0  # how long it may read nothing of that: 64*T1, no transaction waits longer
FIRST_MESSAGE_SECONDS = 30.0  # a peer connects to say something
MAX_BROKEN = 10  # broken messages in a row: a peer that says nothing else is no SIP peer

CUTS = {
    "no_message": "it sent no message in time",
    "half_read": "its message was not complete in time",
    "broken_only": f"it sent {MAX_BROKEN} broken messages in a row",
    "unread": "it does not read what we send",
    "tls_on_tcp": "it speaks TLS to a port for TCP; let it use a port for TLS, or TCP",
}
"""Why we close a connection that a peer misuses, for counters and for people."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of a connection: octets of a message, seconds without a message, seconds to the first one of a peer that connects."""

    max_message_bytes: int = MAX_MESSAGE_BYTES
    idle_seconds: float = IDLE_SECONDS
    first_message_seconds: float = FIRST_MESSAGE_SECONDS


class ConnectionOwner(Protocol):
    """Who handles what comes on a :class:`Connection`."""

    def on_frame(self, frame: Frame, connection: "Connection") -> None:
        """A message, or a broken one, came; pings are answered already."""

    def on_ping(self, connection: "Connection") -> None:
        """The peer's keep-alive was answered."""

    def on_cut(self, connection: "Connection", reason: str) -> None:
        """The connection is closed because the peer misuses it; *reason* is a key of :data:`CUTS`."""

    def on_connection_closed(self, connection: "Connection") -> None:
        """The connection is gone; the on_close listeners come after."""


class Connection:
    """A channel over a stream. *outbound* says who opened it: we ping on our own only (RFC 5626 §4.4.1).

    An idle connection is closed when nobody listens for its close any more; whoever needs it open keeps a listener.
    """

    def __init__(
        self,
        stream: Stream,
        owner: ConnectionOwner,
        *,
        outbound: bool,
        limits: StreamLimits,
        rng: random.Random,
        loop: asyncio.AbstractEventLoop,
        name: str = "",
    ) -> None:
        """*name* is the domain that the peer has proved to stand for when we asked for it."""
        self.local = Endpoint(stream.transport, *stream.local)
        self.remote = Endpoint(stream.transport, *stream.remote, name)
        self.identity = stream.identity
        self.outbound = outbound
        self.is_open = True
        self._stream = stream
        self._owner = owner
        self._limits = limits
        self._rng = rng
        self._loop = loop
        self._framer = StreamFramer(limits.max_message_bytes)
        self._listeners = CloseListeners()
        self._timers = TimerSet()
        self._handle: asyncio.TimerHandle | None = None
        self._last_used = loop.time()
        self._peer_pongs = False
        self._has_read = False
        self._broken = 0  # in a row
        self._written = 0
        self._read_before = 0  # octets that the peer had taken when the timer "unread" started
        self._timers.start("idle", self._last_used + limits.idle_seconds)
        if outbound:
            self._timers.start("ping", self._last_used + rng.uniform(*PING_SECONDS))
        else:
            self._timers.start("no_message", self._last_used + limits.first_message_seconds)
        self._arm()

    def send(self, data: bytes) -> None:
        """Write a message. Raises :class:`TransportError` when the connection is closed or the peer does not read."""
        if not self.is_open:
            raise TransportError("the connection is closed")
        if self._stream.unsent + len(data) > MAX_UNSENT_BYTES:
            self._cut("unread")
            raise TransportError("the peer does not read")
        self._last_used = self._loop.time()
        self._write(data)

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._written += len(data)
        if self._stream.unsent and "unread" not in self._timers:
            self._watch_reader(self._loop.time())
            self._arm()

    def _watch_reader(self, now: float) -> None:
        self._read_before = self._written - self._stream.unsent
        self._timers.start("unread", now + UNSENT_SECONDS)

    def on_close(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call *listener* once when the connection closes; the returned function takes it back."""
        return self._listeners.add(listener)

    def close(self) -> None:
        """Flush and close; :attr:`is_open` turns false at once."""
        self._stop()
        self._timers.start("linger", self._loop.time() + LINGER_SECONDS)
        self._arm()
        self._stream.close()

    def abort(self) -> None:
        """Close at once; bytes that wait are lost."""
        self._stop()
        self._stream.abort()

    def _cut(self, reason: str) -> None:
        """Close on a peer that misuses the connection: at once when it reads nothing, else behind what is queued."""
        self._owner.on_cut(self, reason)
        if reason == "unread":
            self.abort()
        else:
            self.close()

    def _stop(self) -> None:
        self.is_open = False
        self._timers.clear()
        self._arm()

    def on_closed(self) -> None:
        """The stream is closed: tell the owner and the listeners."""
        self._stop()
        self._owner.on_connection_closed(self)
        self._listeners.fire()

    def on_data(self, data: bytes) -> None:
        """Cut bytes into messages and hand them up."""
        if not self.is_open:
            return
        if not self._has_read and data[0] == HANDSHAKE_RECORD:
            self._cut("tls_on_tcp")
            return
        self._has_read = True
        if "pong" in self._timers:
            self._timers.stop("pong")
            if data.startswith(PONG) and not data.startswith(PING) and not self._framer.is_partial:
                self._peer_pongs = True
                data = data[len(PONG) :]  # two of them in a row must not read as a ping
        elif not self.outbound:
            self._last_used = self._loop.time()  # a peer that pings wants the connection
        for frame in self._framer.feed(data):
            self._take(frame)
            if not self.is_open:
                return
        if not self._framer.is_partial:
            self._timers.stop("half-read")
        elif "half-read" not in self._timers:
            self._timers.start("half-read", self._loop.time() + HALF_READ_SECONDS)
        self._arm()

    def _take(self, frame: Frame) -> None:
        self._timers.stop("half-read")  # the next message has its own time
        if isinstance(frame, Ping):
            if self._stream.unsent <= MAX_UNSENT_BYTES:
                self._write(PONG)
            self._owner.on_ping(self)
            return
        self._last_used = self._loop.time()
        if isinstance(frame, Broken):
            self._broken += 1
        else:
            self._broken = 0
            self._timers.stop("no_message")
        self._owner.on_frame(frame, self)
        if not isinstance(frame, Broken) or not self.is_open:
            return
        if frame.fatal:
            self.close()
        elif self._broken >= MAX_BROKEN:
            self._cut("broken_only")

    def _arm(self) -> None:
        deadline = self._timers.next_deadline
        if self._handle is not None:
            if deadline is not None and self._handle.when() <= deadline:
                return  # wakes early once and arms again: cheaper than a new handle for each message
            self._handle.cancel()
            self._handle = None
        if deadline is not None:
            self._handle = self._loop.call_at(deadline, self._wake, deadline)

    def _wake(self, deadline: float) -> None:
        self._handle = None
        now = max(self._loop.time(), deadline)
        for name in self._timers.due(now):
            if name == "linger":
                self._stream.abort()
            elif self.is_open:
                self._expired(name, now)
        self._arm()

    def _expired(self, name: str, now: float) -> None:
        if name == "idle":
            if self._listeners:
                self._last_used = now
            deadline = self._last_used + self._limits.idle_seconds
            if deadline > now:
                self._timers.start("idle", deadline)
            else:
                self.close()
        elif name == "ping":
            self._write(PING)
            self._timers.start("ping", now + self._rng.uniform(*PING_SECONDS))
            self._timers.start("pong", now + PONG_SECONDS)
        elif name == "pong":
            if self._peer_pongs:  # a peer that never answered a ping may not know them (RFC 3261 §7.5 only skips CRLF)
                self.abort()
        elif name == "unread":
            if self._stream.unsent and self._written - self._stream.unsent <= self._read_before:
                self._cut("unread")
            elif self._stream.unsent:
                self._watch_reader(now)
        elif name == "no_message" or self._is_really_partial():
            self._cut("no_message" if name == "no_message" else "half_read")

    def _is_really_partial(self) -> bool:
        # A lone CRLF behind a message counts as partial in the framer: one more makes it a ping, and nothing is left.
        frames = self._framer.feed(PONG)
        return self._framer.is_partial or any(not isinstance(frame, Ping) for frame in frames)

    def __repr__(self) -> str:
        return f"<Connection {self.local} -> {self.remote}{'' if self.is_open else ' closed'}>"
