"""The web application of the bench: a raw HTTP/1.1 server with keep-alive that costs next to nothing.

    python -m bench.webhook PORT FILE

``/voice`` answers with the transfer, everything else with the end of the call. On SIGTERM the times at which action requests came are
written to FILE, one ``NUMBER SECONDS`` a line, NUMBER being the caller's.
"""

import asyncio
import contextlib
import re
import signal
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

_REFER = b"<Response><Refer action='/done'><Sip>sip:target@127.0.0.1:9</Sip></Refer></Response>"
_END = b"<Response><Hangup/></Response>"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CALLER = re.compile(rb"From=[^&]*?call(\d+)")


def reply(document: bytes) -> bytes:
    """Return a response with *document*."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s" % (len(document), document)


FIRST = reply(_REFER)
THEN = reply(_END)


def is_first(request: bytes) -> bool:
    """Tell whether the first document of a call is asked for."""
    return b" /voice" in request[:32]


class Requests(asyncio.Protocol):
    """One connection: requests that are complete go to :meth:`answer`."""

    def __init__(self) -> None:
        self._buffer = b""

    def answer(self, request: bytes) -> bytes:
        """Return the whole response to a whole request."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < total:
                return
            request, self._buffer = self._buffer[:total], self._buffer[total:]
            self._transport.write(self.answer(request))


class Application(Requests):
    """Keeps when action requests came."""

    def __init__(self, arrivals: list[tuple[int, float]]) -> None:
        super().__init__()
        self._arrivals = arrivals

    def answer(self, request: bytes) -> bytes:
        """Return the transfer, or the end of the call."""
        if is_first(request):
            return FIRST
        if caller := _CALLER.search(request):
            self._arrivals.append((int(caller[1]), time.time()))  # noqa: TID251  # SIPp logs wall-clock time too
        return THEN


async def serve(port: int, out: Path) -> None:
    """Serve until SIGTERM."""
    arrivals: list[tuple[int, float]] = []
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Application(arrivals), "127.0.0.1", port, backlog=1024)
    await stop.wait()
    server.close()
    out.write_text("".join(f"{number} {at:.6f}\n" for number, at in arrivals), encoding="ascii")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
