"""Serves the HTTP application in the daemon's own loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from cxml.api.connection import LimitedProtocol
from sipua.driver import TaskSet

MAX_REQUESTS: Final = 100
"""Connections and requests at a time; beyond it idle connections go, then 503: probes are few, and calls come first."""

IDLE_S: Final = 5
"""A kept-alive connection without a request is closed after so many seconds."""

CLOSE_S: Final = 2
"""What running requests get at shutdown; none of them takes a tenth of it."""

BACKLOG: Final = 128
"""Connections that wait for the loop."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the server listens, with the real port."""

    host: str
    port: int


class _Server(uvicorn.Server):
    """Uvicorn without its hands on the process: signals are the daemon's business."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell who waits for it."""
        try:
            await super().startup(sockets)
        finally:
            self.is_up.set()


def _bind(host: str, port: int) -> socket.socket:
    """Return a bound socket. Raises OSError; uvicorn itself would end the process."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


@asynccontextmanager
async def serve(app: ASGIApp, host: str, port: int) -> AsyncIterator[Listening]:
    """Serve *app* at the IP address *host* and *port* (0 takes a free one) while the block runs.

    Raises OSError when it can't be listened there.
    """
    bound = _bind(host, port)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            http=LimitedProtocol,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_REQUESTS,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=CLOSE_S,
        )
    )
    server.config.load()
    tasks = TaskSet()
    task = tasks.spawn(server.serve([bound]), name="http server")
    try:
        await server.is_up.wait()
        if not server.started:
            await task
        yield Listening(host, bound.getsockname()[1])
    finally:
        server.should_exit = True
        try:
            await asyncio.wait([task])
        finally:
            await tasks.aclose()
            bound.close()
