"""The daemon as a process of its own, a web application beside it, and what its log says."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cxml.api.server import serve

START_S = 60.0  # a loaded machine imports slowly, and workers import side by side
COMMAND = (sys.executable, "-m", "cxml")


def environment(**extra: str) -> dict[str, str]:
    """Return the environment without settings of the daemon and, so that it begins anew with its own, of PyPy; with *extra*."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CXMLD_", "PYPY_GC_"))} | extra


async def run(*arguments: str, stdin: bytes = b"", cwd: Path | None = None, **extra: str) -> tuple[int, str, str]:
    """Run ``cxmld`` with *arguments* to its end and return status, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(PYTHONPATH=str(Path(__file__).parents[2]), **extra),
        cwd=cwd,
    )
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out.decode(), err.decode()


@dataclass
class Daemon:
    """A running daemon; ``lines`` are those of its log, parsed."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    """Lines of the log that are no JSON: there must be none."""
    _is_over: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        """Read the log to its end."""
        stream = self.process.stderr
        while stream is not None and (line := await stream.readline()):
            text = line.decode().rstrip("\n")
            self.raw.append(text)
            try:
                self.lines.append(json.loads(text))
            except json.JSONDecodeError:
                self.stray.append(text)
            self._news.set()
        self._is_over = True
        self._news.set()

    async def event(self, name: str, within_s: float = START_S, count: int = 1) -> dict[str, Any]:
        """Wait for the log line *name*, the *count*-th, and return it."""
        async with asyncio.timeout(within_s):
            while True:
                found = [line for line in self.lines if line["event"] == name]
                if len(found) >= count:
                    return found[count - 1]
                if self._is_over:
                    raise AssertionError(f"the daemon ended without {name}:\n" + "\n".join(self.raw))
                self._news.clear()
                await self._news.wait()

    def events(self, call_sid: str = "") -> list[str]:
        """Return the events of the log, or those of one call."""
        return [line["event"] for line in self.lines if not call_sid or line.get("call_sid") == call_sid]

    @property
    def complaints(self) -> list[str]:
        """The lines of the log that are no routine."""
        return [str(line) for line in self.lines if line["level"] not in ("debug", "info")] + self.stray

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def exit_status(self, within_s: float = 30.0) -> int:
        """Wait for the end."""
        async with asyncio.timeout(within_s):
            return await self.process.wait()

    @property
    def sip(self) -> dict[str, str]:
        """Host and port by transport, in lower case."""
        ready = next(line for line in self.lines if line["event"] == "daemon_ready")
        return {text.partition(":")[0]: text.partition(":")[2] for text in ready["sip"]}

    @property
    def http(self) -> str:
        """The base URL of health and metrics."""
        return f"http://{next(line for line in self.lines if line['event'] == 'daemon_ready')['http']}"

    async def get(self, path: str) -> httpx.Response:
        """GET from the HTTP side."""
        async with httpx.AsyncClient() as client:
            return await client.get(self.http + path)


@asynccontextmanager
async def daemon(config: Path, **extra: str) -> AsyncIterator[Daemon]:
    """Start ``cxmld serve --config``; it is killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "serve",
        "--config",
        str(config),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**extra),
    )
    made = Daemon(process)
    reader = asyncio.create_task(made.read())
    try:
        await made.event("daemon_ready")
        yield made
    except BaseException as error:
        error.add_note("\n".join(["the daemon's complaints:", *made.complaints[-20:]]))
        raise
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reader
    assert made.stray == []


@dataclass
class WebApplication:
    """Pages by path; a page may be a function that returns a document, or waits."""

    pages: dict[str, str | Callable[[dict[str, str]], str]]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: Request) -> Response:
        """Answer."""
        params = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        self.requests.append((request.url.path, params))
        page = self.pages.get(request.url.path)
        if page is None:
            return Response("not here", 404)
        return Response(page if isinstance(page, str) else page(params), media_type="text/xml")

    def of(self, path: str) -> list[dict[str, str]]:
        """Return the parameters of the requests for *path*."""
        return [params for asked, params in self.requests if asked == path]


@asynccontextmanager
async def application(pages: dict[str, str | Callable[[dict[str, str]], str]]) -> AsyncIterator[WebApplication]:
    """Serve *pages* on a free port of loopback."""
    made = WebApplication(pages)
    app = Starlette(routes=[Route("/{path:path}", made.handle, methods=["GET", "POST"])])
    async with serve(app, "127.0.0.1", 0) as server:
        made.url = f"http://{server.host}:{server.port}"
        yield made
