"""A web server of raw bytes on loopback: it records requests and answers whatever the test says, valid HTTP or not."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from cxml.services.parameters import CallFacts

DOCUMENT = b"<Response><Hangup/></Response>"
FACTS = CallFacts("CA1", "AC1", from_="sip:alice@pbx.example", to="sip:100@10.0.0.1", sip_call_id="abc@10.0.0.9")

StreamHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came over the wire; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def url(self) -> str:
        """The URL as an application behind this server rebuilds it."""
        return f"http://{self.headers['host']}{self.target}"

    @property
    def form(self) -> dict[str, str]:
        """The form body, decoded."""
        return dict(parse_qsl(self.body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(self.body)))


def reply(body: bytes = DOCUMENT, *headers: str, status: str = "200 OK", content_type: str = "text/xml") -> bytes:
    """Return a well-formed response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(slots=True)
class WebServer:
    """What the server saw. ``answer`` is called for each request; returning b"" closes the connection without an answer."""

    answer: Callable[[Received], bytes]
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def base(self) -> str:
        """The root URL without its final slash."""
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.open_connections += 1
        self.idle.clear()
        number = self.connections
        try:
            while True:
                received = await read_request(reader, number)
                self.requests.append(received)
                data = self.answer(received)
                if not data:
                    return
                writer.write(data)
                await writer.drain()
        finally:
            self.open_connections -= 1
            if not self.open_connections:
                self.idle.set()


async def read_request(reader: asyncio.StreamReader, connection: int = 0) -> Received:
    """Read one request; raises IncompleteReadError at the end of the stream."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body, connection)


@asynccontextmanager
async def serving(handler: StreamHandler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run *handler* for each connection and yield the port; closes everything that it opened."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(connected, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        await server.wait_closed()


@asynccontextmanager
async def web_server(answer: Callable[[Received], bytes] | None = None, host: str = "127.0.0.1") -> AsyncIterator[WebServer]:
    """Run a :class:`WebServer`; without *answer* it answers every request with a document."""
    server = WebServer(answer if answer is not None else lambda _: reply())
    async with serving(server.handle, host) as port:
        server.port = port
        yield server
