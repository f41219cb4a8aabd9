"""``cxmld demo``: a daemon, a small PBX, a target and a web application on loopback; one call, one transfer, one ladder.

Everything is real but the people: UDP sockets, HTTP requests, the daemon as ``serve`` builds it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from cxml.api.server import serve as serve_http
from cxml.daemon.config import Config, Http, Limits, Log, Media, Sip, Voice
from cxml.daemon.ladder import Rung, render
from cxml.daemon.run import running
from sipua.agent import CallHandler, UserAgent
from sipua.errors import CallFailedError, ParseError, SipError
from sipua.message import Response, parse_message
from sipua.transport.base import Channel
from sipua.usage.call.call import Call
from sipua.usage.call.media import MediaMode
from sipua.usage.call.referred import IncomingTransfer

CALL_LIMIT_S = 30.0
"""Longer than any outcome of the demo takes."""

DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<Response>
  <Refer action="/transferred">
    <Sip>{target}</Sip>
  </Refer>
</Response>
"""
AFTERWARDS = """<?xml version="1.0" encoding="UTF-8"?>
<Response>
  <Hangup/>
</Response>
"""

OUTCOMES = {"answers": 200, "busy": 486, "declines": 603, "unavailable": 480}
"""What the target of the demo may do, and the status that it answers with."""

EXPECTED = {"answers": "transferred", "busy": "busy", "declines": "declined", "unavailable": "failed"}


@dataclass(slots=True)
class _Trace:
    """Collects the rungs of the ladder."""

    started_at: float
    now: Callable[[], float]
    names: dict[str, str] = field(default_factory=dict)
    rungs: list[Rung] = field(default_factory=list)
    action: dict[str, str] = field(default_factory=dict)

    def add(self, sender: str, receiver: str, label: str) -> None:
        """Note a message that passes now."""
        self.rungs.append(Rung(self.now() - self.started_at, sender, receiver, label))

    def sip(self, own: str) -> Callable[[str, bytes, Channel], None]:
        """Return a transport hook for the agent *own*."""

        def hook(direction: str, data: bytes, channel: Channel) -> None:
            other = self.names.get(channel.remote.hostport, channel.remote.hostport)
            sender, receiver = (own, other) if direction == "out" else (other, own)
            self.add(sender, receiver, self._named(_label(data)))

        return hook

    def _named(self, label: str) -> str:
        """Put the names of the parties in place of their addresses."""
        for address, name in self.names.items():
            label = label.replace(f"@{address}", f"@{name}")
        return label


def _label(data: bytes) -> str:
    try:
        message = parse_message(data)
    except ParseError as error:
        return f"broken message: {error}"
    if isinstance(message, Response):
        return f"{message.status} {message.reason} ({message.cseq.method})"
    if message.method == "NOTIFY":
        return f"NOTIFY {message.body.decode(errors='replace').strip()}"
    if message.refer_to is not None:
        return f"REFER {message.refer_to.uri}"
    return message.method


async def demo(console: Console, *, outcome: str = "answers") -> int:
    """Run the demo and print the ladder; return 0 when the transfer came out as it had to."""
    if outcome not in OUTCOMES:
        console.print(f"cxmld demo: unknown outcome {outcome!r}, choose from {', '.join(OUTCOMES)}", style="red")
        return 2
    loop = asyncio.get_running_loop()
    trace = _Trace(loop.time(), loop.time)
    try:
        async with asyncio.timeout(CALL_LIMIT_S):
            await _play(trace, OUTCOMES[outcome])
    except (SipError, TimeoutError, OSError) as error:
        console.print(f"cxmld demo failed: {error or 'no end within the limit'}", style="red")
        return 1
    finally:
        for line in render(("app", "cxmld", "PBX", "target"), trace.rungs):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    told = {
        name: trace.action.get(name, "-")
        for name in ("CxmldReferOutcome", "ReferCallStatus", "ReferSipResponseCode", "NotifySipResponseCode")
    }
    console.print(
        "\nThe action request said: " + ", ".join(f"{name}={value}" for name, value in told.items()), markup=False, soft_wrap=True
    )
    return 0 if told["CxmldReferOutcome"] == EXPECTED[outcome] else 1


async def _play(trace: _Trace, status: int) -> None:
    """One call: PBX to daemon, transfer to the target, until everybody has hung up."""
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(_party("target", trace, lambda call: _behave(call, status)))
        target_uri = f"sip:support@{target.endpoints[0].hostport}"
        url = await stack.enter_async_context(_application(trace, target_uri))
        daemon, _ = await stack.enter_async_context(running(_config(f"{url}/voice")))
        here = daemon.agent.endpoints[0]
        trace.names[here.hostport] = "cxmld"
        daemon.agent.transports.trace.append(trace.sip("cxmld"))
        pbx = await stack.enter_async_context(_party("PBX", trace, None))
        pbx.transports.trace.append(_only_to("target", trace))
        call = await pbx.dial(f"sip:demo@{here.hostport}", caller='"Caller" <sip:caller@pbx.example>')

        def requested(transfer: IncomingTransfer) -> None:
            pbx.core.tasks.spawn(_transfer(pbx, transfer), name="transfer")

        call.on_transfer_request(requested)
        await call.wait_ended()
        for leg in tuple(pbx.calls):
            await leg.hangup()
            await leg.wait_ended()
        await pbx.core.tasks.join()


def _config(voice_url: str) -> Config:
    return Config(
        sip=Sip(listen=("udp:127.0.0.1:0",)),
        http=Http(listen=""),
        voice=Voice(url=voice_url),
        media=Media(mode=MediaMode.RECEIVE),
        limits=Limits(),
        log=Log(),
    )


@asynccontextmanager
async def _party(name: str, trace: _Trace, on_call: CallHandler | None) -> AsyncIterator[UserAgent]:
    async with UserAgent(listen=["udp:127.0.0.1:0"], user_agent=f"cxmld-demo-{name}") as agent:
        trace.names[agent.endpoints[0].hostport] = name
        if on_call is not None:
            agent.on_call = on_call
        yield agent


def _only_to(other: str, trace: _Trace) -> Callable[[str, bytes, Channel], None]:
    """Return a hook for the PBX that notes its messages with *other* only: the daemon notes its own."""
    hook = trace.sip("PBX")

    def filtered(direction: str, data: bytes, channel: Channel) -> None:
        if trace.names.get(channel.remote.hostport) == other:
            hook(direction, data, channel)

    return filtered


async def _behave(call: Call, status: int) -> None:
    """The target: rings a moment, then answers or refuses."""
    await call.ring()
    await asyncio.sleep(0.5)
    if status == 200:
        await call.answer()
        await call.wait_ended()
    else:
        await call.reject(status)


async def _transfer(pbx: UserAgent, transfer: IncomingTransfer) -> None:
    """The PBX: calls the target and reports the truth."""
    transfer.accept()
    call = await pbx.call(transfer.target, headers={"Referred-By": transfer.referred_by})
    call.on_progress(transfer.progress)
    try:
        await call.wait_answered()
    except CallFailedError as error:
        transfer.finish(error.status)
    else:
        transfer.finish(200)


@asynccontextmanager
async def _application(trace: _Trace, target_uri: str) -> AsyncIterator[str]:
    """The web application: two pages."""

    async def voice(request: HttpRequest) -> HttpResponse:
        return await _page(trace, request, DOCUMENT.format(target=target_uri), "<Refer>")

    async def transferred(request: HttpRequest) -> HttpResponse:
        return await _page(trace, request, AFTERWARDS, "<Hangup>")

    app = Starlette(routes=[Route("/voice", voice, methods=["POST"]), Route("/transferred", transferred, methods=["POST"])])
    async with serve_http(app, "127.0.0.1", 0) as server:
        yield f"http://{server.host}:{server.port}"


async def _page(trace: _Trace, request: HttpRequest, document: str, label: str) -> HttpResponse:
    params = dict(parse_qsl((await request.body()).decode()))
    status = params.get("ReferCallStatus")
    trace.add("cxmld", "app", f"POST {request.url.path}" + (f" {status}" if status else f" {params.get('CallStatus')}"))
    if status:
        trace.action = params
    trace.add("app", "cxmld", f"200 {label}")
    return HttpResponse(document, media_type="text/xml")
