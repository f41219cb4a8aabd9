"""Transports for tests of the layers above: nothing leaves the process, everything sent is on record, two of them may be linked."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sipua.errors import TransportError
from sipua.message import Request, Response, parse_message
from sipua.transport.base import Channel, Endpoint, TransportUser


@dataclass(eq=False)
class LoopbackChannel:
    """A channel whose sends end in the record of its transports."""

    local: Endpoint
    remote: Endpoint
    identity: tuple[str, ...] = ()
    is_open: bool = True
    refusing: bool = False
    listeners: list[Callable[[], None]] = field(default_factory=list)

    def send(self, data: bytes) -> None:
        if self.refusing or not self.is_open:
            raise TransportError("refused")

    def on_close(self, listener: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def close(self) -> None:
        """Close as a peer does: the listeners hear of it."""
        self.is_open = False
        for listener in list(self.listeners):
            listener()


@dataclass
class Sent:
    """What left, when, and by which channel."""

    time: float
    message: Request | Response
    channel: Channel

    @property
    def name(self) -> str:
        """The method, or the status as text."""
        return self.message.method if isinstance(self.message, Request) else str(self.message.status)


class Loopback:
    """An implementation of :class:`sipua.transport.base.Transports` without a network."""

    def __init__(self, host: str = "192.0.2.1") -> None:
        self.user: TransportUser | None = None
        self.host = host
        self.sent: list[Sent] = []
        self.channels: dict[Endpoint, LoopbackChannel] = {}
        self.unreachable = False
        self.peer: Loopback | None = None
        self.lose: Callable[[Request | Response], bool] = lambda _message: False

    def channel(self, transport: str = "UDP", host: str = "192.0.2.2", port: int = 5060) -> LoopbackChannel:
        """Return the one channel to this endpoint."""
        remote = Endpoint(transport, host, port)
        if remote not in self.channels or not self.channels[remote].is_open:
            self.channels[remote] = LoopbackChannel(Endpoint(transport, self.host, 5060), remote)
        return self.channels[remote]

    def obstacle(self, transport: str) -> str:
        """Say that there is nothing but UDP, TCP and TLS."""
        return "" if transport in {"UDP", "TCP", "TLS"} else "no such transport"

    async def channel_to(self, target: Endpoint, size: int = 0) -> Channel:
        if self.unreachable:
            raise TransportError("connection refused")
        return self.channel(target.transport, target.host, target.port)

    def channel_now(self, target: Endpoint, size: int = 0) -> Channel | None:
        return None if self.unreachable else self.channel(target.transport, target.host, target.port)

    def via_for(self, channel: Channel, branch: str) -> str:
        return f"SIP/2.0/{channel.local.transport} {channel.local.hostport};branch={branch};rport"

    def send_response(self, response: Response, channel: Channel) -> None:
        self._send(response, channel)

    def send_request(self, request: Request, channel: Channel) -> None:
        channel.send(b"")
        self._send(request, channel)

    def _send(self, message: Request | Response, channel: Channel) -> None:
        loop = asyncio.get_running_loop()
        data = message.encode()
        self.sent.append(Sent(loop.time(), parse_message(data), channel))
        if self.peer is not None and not self.lose(message):
            back = self.peer.channel(channel.remote.transport, channel.local.host, channel.local.port)
            loop.call_soon(self.peer.receive, parse_message(data), back)

    def receive(self, message: Request | Response, channel: Channel) -> None:
        """Hand *message* to the user as if it had come by *channel*."""
        assert self.user is not None
        if isinstance(message, Request):
            self.user.on_request(message, channel)
        else:
            self.user.on_response(message, channel)

    @property
    def names(self) -> list[str]:
        """What was sent, in order: methods and statuses."""
        return [sent.name for sent in self.sent]

    def times(self, name: str) -> list[float]:
        """When messages of this name were sent."""
        return [sent.time for sent in self.sent if sent.name == name]


def linked() -> tuple[Loopback, Loopback]:
    """Make two that reach each other."""
    left, right = Loopback("192.0.2.1"), Loopback("192.0.2.2")
    left.peer, right.peer = right, left
    return left, right
