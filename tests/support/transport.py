"""A user of the transport layer that records, and two layers on a memory network."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from sipua.message import Headers, Request, Response, make_response
from sipua.transport import Channel, Endpoint, MemoryNetwork, TransportLayer
from sipua.transport.tcp import Connection

ALICE = "10.0.0.1"
BOB = "10.0.0.2"


@dataclass
class Recorder:
    """Keeps what comes; answers requests with *answer* when set."""

    layer: TransportLayer
    answer: int = 0
    requests: list[tuple[Request, Channel]] = field(default_factory=list)
    responses: list[tuple[Response, Channel]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.layer.user = self

    def on_request(self, request: Request, channel: Channel) -> None:
        self.requests.append((request, channel))
        self.arrived.set()
        if self.answer:
            self.layer.send_response(make_response(request, self.answer, to_tag="t"), channel)

    def on_response(self, response: Response, channel: Channel) -> None:
        self.responses.append((response, channel))
        self.arrived.set()

    async def wait(self, condition: Callable[["Recorder"], bool], seconds: float = 5.0) -> None:
        """Wait until *condition* holds, asked again at each arrival."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                self.arrived.clear()
                await self.arrived.wait()


def options(via: str, *, uri: str = "sip:bob@bob.example", body: bytes = b"", call_id: str = "c1") -> Request:
    headers = Headers(
        [
            ("Via", via),
            ("Max-Forwards", "70"),
            ("From", "<sip:alice@alice.example>;tag=a"),
            ("To", "<sip:bob@bob.example>"),
            ("Call-ID", call_id),
            ("CSeq", "1 OPTIONS"),
        ]
    )
    return Request("OPTIONS", uri, headers, body)


async def ask(layer: TransportLayer, target: Endpoint, *, body: bytes = b"", branch: str = "z9hG4bKx", call_id: str = "c1") -> Channel:
    """Send an OPTIONS to *target* and return the channel it left by."""
    channel = await layer.channel_to(target, 600 + len(body))
    layer.send_request(options(layer.via_for(channel, branch), body=body, call_id=call_id), channel)
    return channel


class Pair:
    """Alice and Bob, each listening at UDP and TCP port 5060; Bob answers 200."""

    def __init__(self, network: MemoryNetwork | None = None, alice: str = ALICE, bob: str = BOB) -> None:
        self.network = network or MemoryNetwork(record=True)
        self.alice = Recorder(TransportLayer(self.network.host(alice, "alice.example")))
        self.bob = Recorder(TransportLayer(self.network.host(bob, "bob.example")), answer=200)
        self.hosts = (alice, bob)

    async def __aenter__(self) -> Self:
        for recorder, host in zip((self.alice, self.bob), self.hosts, strict=True):
            for transport in ("UDP", "TCP"):
                await recorder.layer.listen(Endpoint(transport, host, 5060))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.alice.layer.aclose()
        await self.bob.layer.aclose()

    def bob_at(self, transport: str) -> Endpoint:
        return Endpoint(transport, self.hosts[1], 5060)


async def gone_when_closed(*kept: list[tuple[Request, Channel]] | list[tuple[Response, Channel]]) -> None:
    """Close the channels of what was kept, and wait until nobody holds them any more, without the collector."""
    held = []
    for arrivals in kept:
        channel = arrivals.pop()[1]
        assert isinstance(channel, Connection)
        held.append(weakref.ref(channel))
        channel.close()
        del channel
    gc.disable()
    try:
        async with asyncio.timeout(5):
            while any(channel() is not None for channel in held):
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
