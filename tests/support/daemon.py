"""A daemon for a test, in the test's own loop or as a process, and the web application that it asks; both on real sockets.

The application answers by the user part of ``To`` for the first document of a call and by path for everything else, so that
many calls can run beside each other against one daemon.
"""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from cxml.daemon.build import Daemon
from cxml.daemon.config import Access, Config, Dns, Http, Limits, Media, Peer, Refer, Sip, Tls, Voice, Webhook
from cxml.daemon.run import running
from sipua.errors import ParseError
from sipua.message import Request, Response, parse_message
from sipua.transport.base import Channel
from sipua.usage.call.media import MediaMode
from tests.support.peers import free_port, rtp_range
from tests.support.web import Received, read_request, reply, serving

HOST = "127.0.0.1"

_WAIT_S = 20.0
_START_S = 15.0
_POLL_S = 0.02

Handler = Callable[[dict[str, str]], Awaitable[str]]
"""Gets the parameters of a request and returns the verbs of the document."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One request to the application and the loop's time at its arrival, in seconds."""

    path: str
    form: dict[str, str]
    method: str
    at: float


@dataclass(slots=True)
class WebApplication:
    """A scripted web application. ``calls`` has documents by the called user, ``pages`` by path; all hold verbs or a handler."""

    calls: dict[str, str | Handler] = field(default_factory=dict)
    pages: dict[str, str | Handler] = field(default_factory=dict)
    otherwise: str | Handler | None = None
    """The document of calls that ``calls`` does not name."""
    hits: list[Hit] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """The URL of the first document of every call."""
        return f"http://{HOST}:{self.port}/voice"

    def of(self, path: str, user: str = "") -> list[Hit]:
        """Return the requests for *path* so far, only those of calls to *user* unless it is empty."""
        return [hit for hit in self.hits if hit.path == path and user in ("", called_user(hit.form))]

    async def wait(self, path: str, user: str = "", *, timeout_s: float = _WAIT_S) -> Hit:
        """Return the first request for *path*, waiting for it."""
        await until(lambda: bool(self.of(path, user)), f"a request for {path} {user}, but {[hit.path for hit in self.hits]}", timeout_s)
        return self.of(path, user)[0]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        while True:
            received = await read_request(reader)
            writer.write(await self._answer(received))
            await writer.drain()

    async def _answer(self, received: Received) -> bytes:
        path, _, query = received.target.partition("?")
        form = {**dict(parse_qsl(query, keep_blank_values=True)), **received.form}
        hit = Hit(path, form, received.method, asyncio.get_running_loop().time())
        self.hits.append(hit)
        page = self.calls.get(called_user(hit.form), self.otherwise) if path == "/voice" else self.pages.get(path)
        if page is None:
            return reply(b"no such page", status="404 Not Found", content_type="text/plain")
        verbs = page if isinstance(page, str) else await page(hit.form)
        return reply(f"<Response>{verbs}</Response>".encode())


def called_user(form: dict[str, str]) -> str:
    """Return the user part of the parameter To."""
    return form.get("To", "").partition(":")[2].partition("@")[0]


async def until(holds: Callable[[], bool], what: str, timeout_s: float = _WAIT_S) -> None:
    """Return when *holds* says yes; raise AssertionError naming *what* after *timeout_s* seconds."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not holds():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(_POLL_S)


@dataclass(frozen=True, slots=True)
class Passed:
    """One SIP message that the daemon sent (``direction`` "out") or got ("in"), and the loop's time."""

    direction: str
    message: Request | Response
    at: float

    @property
    def label(self) -> str:
        """Return such as ``> INVITE``, ``< 200 INVITE``, ``> NOTIFY 486``: the arrow leads away from the daemon for ``<``."""
        arrow = ">" if self.direction == "in" else "<"
        message = self.message
        if isinstance(message, Response):
            return f"{arrow} {message.status} {message.cseq.method}"
        fragment = message.body[8:11].decode(errors="replace") if message.method == "NOTIFY" else ""
        return f"{arrow} {message.method} {fragment}".rstrip()


@dataclass(slots=True)
class DaemonUnderTest:
    """A daemon in the test's loop: its parts, its application, and every SIP message that passed."""

    daemon: Daemon
    app: WebApplication
    port: int
    traffic: list[Passed] = field(default_factory=list)

    def trace(self, direction: str, data: bytes, _channel: Channel) -> None:
        """Note a message (a hook of the transport layer); junk is none."""
        try:
            message = parse_message(data)
        except ParseError:
            return
        self.traffic.append(Passed(direction, message, asyncio.get_running_loop().time()))

    def of(self, call_id: str) -> list[Passed]:
        """Return the messages of one call."""
        return [passed for passed in self.traffic if passed.message.call_id == call_id]

    def labels(self, call_id: str) -> list[str]:
        """Return the labels of one call's messages; see :attr:`Passed.label`."""
        return [passed.label for passed in self.of(call_id)]

    async def wait_label(self, call_id: str, label: str, *, timeout_s: float = _WAIT_S) -> None:
        """Return when a message with *label* has passed in the call."""
        await until(lambda: label in self.labels(call_id), f"{label!r}, seen {self.labels(call_id)}", timeout_s)

    async def wait_idle(self, *, timeout_s: float = _WAIT_S) -> None:
        """Return when no call is left, neither in the registry nor in the user agent."""
        await until(lambda: not len(self.daemon.registry) and not self.daemon.agent.calls, "no call is left in the daemon", timeout_s)


@asynccontextmanager
async def web_application() -> AsyncIterator[WebApplication]:
    """Serve a :class:`WebApplication` on a free port."""
    app = WebApplication()
    async with serving(app.handle) as port:
        app.port = port
        yield app


@asynccontextmanager
async def daemon_under_test(
    *,
    mode: MediaMode = MediaMode.RECEIVE,
    refer: Refer | None = None,
    peers: tuple[Peer, ...] = (),
    webhook: Webhook | None = None,
    access: Access | None = None,
    port: int = 0,
    host: str = HOST,
    session_timer: tuple[int, int] = (1800, 90),
    dns: Dns | None = None,
    tls: Tls | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[DaemonUnderTest]:
    """Run a daemon on UDP and TCP of one free port (or *port*) of *host* (or of several, with spaces between), with an application.

    *session_timer* has the seconds that it asks for and the least that it agrees to. With *tls* it also listens for TLS, on the port above.
    """
    expires_s, min_se_s = session_timer
    chosen = port or free_port(2)
    listen = tuple(f"{transport}:{address}:{chosen}" for address in host.split() for transport in ("udp", "tcp"))
    secure = () if tls is None else tuple(f"tls:{address}:{chosen + 1}" for address in host.split())
    async with web_application() as app:
        config = Config(
            sip=Sip(listen=(*listen, *secure), session_expires_s=expires_s, min_se_s=min_se_s),
            tls=tls or Tls(),
            http=Http(listen=""),
            voice=Voice(url=app.url),
            media=Media(mode=mode, rtp_ports=rtp_range()),
            refer=refer or Refer(),
            webhook=webhook or Webhook(),
            access=access or Access(),
            peers=peers,
            dns=dns or Dns(),
            limits=limits or Limits(shed_on_lag=False),  # the loop is the test's own, too
        )
        async with running(config) as (daemon, _):
            under_test = DaemonUnderTest(daemon, app, chosen)
            daemon.agent.transports.trace.append(under_test.trace)
            yield under_test


@dataclass(slots=True)
class DaemonProcess:
    """``cxmld serve`` as a process of its own."""

    process: Process
    app: WebApplication
    port: int
    lines: list[dict[str, object]] = field(default_factory=list)

    async def wait_event(self, event: str, *, count: int = 1, timeout_s: float = _START_S) -> dict[str, object]:
        """Return the first log line of *event*, waiting until there are *count*."""
        found = f"{event} in the log {self.lines}"
        await until(lambda: sum(line.get("event") == event for line in self.lines) >= count, found, timeout_s)
        return next(line for line in self.lines if line.get("event") == event)

    async def wait_event_with(self, text: str, *, timeout_s: float = _START_S) -> None:
        """Return when a log line has *text* in its event."""
        await until(lambda: any(text in str(line.get("event")) for line in self.lines), f"{text!r} in the log", timeout_s)

    async def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_START_S):
            return await self.process.wait()

    async def read_log(self) -> None:
        """Collect the log until the process ends."""
        if self.process.stderr is None:
            raise TypeError("the process was started without a pipe")
        async for line in self.process.stderr:
            text = line.decode(errors="replace").strip()
            try:
                self.lines.append(json.loads(text))
            except ValueError:
                self.lines.append({"event": "text", "text": text})


@asynccontextmanager
async def daemon_process(folder: Path, toml: str, *, drain_timeout_s: float = 10.0) -> AsyncIterator[DaemonProcess]:
    """Run ``python -m cxml serve`` with *toml* added to the settings that a test needs, and stop it at the end."""
    port = free_port()
    low, high = rtp_range()
    async with web_application() as app:
        base = f"""
[sip]
listen = ["udp:{HOST}:{port}", "tcp:{HOST}:{port}"]
drain_timeout_s = {drain_timeout_s}
[http]
listen = ""
[voice]
url = "{app.url}"
[media]
rtp_ports = "{low}-{high}"
[limits]
max_calls = 20
[log]
format = "json"
"""
        path = folder / "cxmld.toml"
        path.write_text(base + toml)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cxml", "serve", "--config", str(path),
            stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env={k: v for k, v in os.environ.items() if not k.startswith("CXMLD_")},
        )  # fmt: skip
        running_daemon = DaemonProcess(process, app, port)
        reading = asyncio.create_task(running_daemon.read_log())
        try:
            await running_daemon.wait_event("daemon_ready")
            yield running_daemon
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await reading


def action_parameters(form: dict[str, str]) -> tuple[str, str, str, str]:
    """Return what an action request says of a transfer: outcome, status, code of REFER, code of NOTIFY; a dash for what is absent."""
    names = ("CxmldReferOutcome", "ReferCallStatus", "ReferSipResponseCode", "NotifySipResponseCode")
    return (form.get(names[0], "-"), form.get(names[1], "-"), form.get(names[2], "-"), form.get(names[3], "-"))


def header_values(text: str, name: str) -> list[str]:
    """Return the values of the header *name* in the text of SIP messages."""
    return re.findall(rf"^{name}:[ \t]*(.*?)\r?$", text, re.MULTILINE | re.IGNORECASE)
