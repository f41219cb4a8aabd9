"""A PBX, a daemon and a web application on one in-memory network: the whole stack under virtual time."""

import asyncio
import ipaddress
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

import httpx

from cxml.access.gate import Gate
from cxml.access.peers import Network, Peer, Peers, ReferRules
from cxml.access.rules import AccessRules, Strangers
from cxml.calls.facts import SidStyle
from cxml.calls.registry import CallLimits, Registry
from cxml.calls.service import CallService, Load, Voice
from cxml.calls.sip_call import SipCall
from cxml.interpreter.context import EngineSettings
from cxml.interpreter.ending import Summary
from cxml.interpreter.ports import TransferResult
from cxml.services.journal_memory import MemoryJournal
from cxml.services.settings import WebhookSettings
from cxml.services.webhook import WebhookClient
from sipua.agent import UserAgent
from sipua.auth import Credential
from sipua.timers import Timing
from sipua.transport.memory import MemoryNetwork
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallSettings
from sipua.usage.call.referred import IncomingTransfer
from sipua.usage.subscription.refer import ReferSettings

DAEMON = "10.0.0.1"
PBX = "10.0.0.2"
KNOWN: tuple[Network, ...] = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32"))
"""Where the stage's PBX calls from; anybody else is a stranger."""


Page = str | Callable[[Mapping[str, str]], httpx.Response]
"""A document, or a function of the parameters."""


@dataclass
class Application:
    """A web application by URL path: each page is a document or a function of the parameters; every request is kept."""

    pages: dict[str, Page]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    headers: list[httpx.Headers] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = request.content.decode() if request.method == "POST" else request.url.query.decode()
        params = dict(parse_qsl(body, keep_blank_values=True))
        self.requests.append((request.url.path, params))
        self.headers.append(request.headers)
        page = self.pages.get(request.url.path)
        if page is None:
            return httpx.Response(404)
        if callable(page):
            return page(params)
        return httpx.Response(200, content=page, headers={"Content-Type": "text/xml"})

    def of(self, path: str) -> list[dict[str, str]]:
        """Return the parameters of the requests for *path*, in order."""
        return [params for asked, params in self.requests if asked == path]


@dataclass
class Observer:
    """Keeps what the service reports."""

    ended: list[tuple[SipCall, Summary]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    banned: int = 0
    began: list[str] = field(default_factory=list)
    transfers: list[TransferResult] = field(default_factory=list)

    def transfer_ended(self, result: TransferResult) -> None:
        self.transfers.append(result)

    def call_began(self, peer: str) -> None:
        self.began.append(peer)

    def request_refused(self, reason: str, method: str) -> None:
        self.refused.append(reason)

    def source_banned(self) -> None:
        self.banned += 1

    def call_ended(self, call: SipCall, summary: Summary) -> None:
        self.ended.append((call, summary))


class Stage:
    """The daemon's half on ``10.0.0.1`` and a PBX on ``10.0.0.2``; both are real user agents, only the wire is in memory."""

    def __init__(
        self,
        application: Application,
        *,
        loss: float = 0.0,
        duplicate: float = 0.0,
        delay: tuple[float, float] = (0.001, 0.01),
        seed: int = 1,
        record: bool = True,
        rules: ReferRules | None = None,
        limits: CallLimits | None = None,
        load: Load | None = None,
        engine: EngineSettings | None = None,
        credentials: tuple[Credential, ...] = (),
        sid_style: SidStyle = SidStyle.UUID,
        webhook: WebhookSettings | None = None,
        access: AccessRules | None = None,
        peers: tuple[Peer, ...] = (),
    ) -> None:
        self.application = application
        self.observer = Observer()
        self.network = MemoryNetwork(random.Random(seed), loss=loss, duplicate=duplicate, delay=delay, record=record)
        settings = CallSettings(timing=Timing(), refer=ReferSettings())
        self.daemon = self._agent(DAEMON, seed + 1, settings)
        self.pbx = self._agent(PBX, seed + 2, CallSettings())
        self._rules = rules or ReferRules()
        self._limits = limits or CallLimits()
        self.load = load or Load()
        self._engine = engine or EngineSettings()
        self._credentials = credentials
        self._sid_style = sid_style
        self._webhook = webhook or WebhookSettings()
        self._access = access or AccessRules(strangers=Strangers.REFUSE)
        self._peers = peers

    def _agent(self, address: str, seed: int, settings: CallSettings) -> UserAgent:
        return UserAgent(
            listen=[f"udp:{address}:5060", f"tcp:{address}:5060"],
            network=self.network.host(address),
            rng=random.Random(seed),
            settings=settings,
        )

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.webhooks = WebhookClient(self._webhook, transport=httpx.MockTransport(self.application))
        self.registry = Registry(self._limits, loop.time)
        self.journal = MemoryJournal()
        peers = Peers(self._peers or [Peer("pbx", KNOWN, self._credentials, self._rules)])
        voice = Voice("http://app.test/voice", "POST", self._engine, "AC1", self._sid_style)
        self.service = CallService(peers, self.registry, self.webhooks, self.journal, voice, self.observer, loop.time, self.load)
        self.daemon.on_call = self.service.handle
        self.gate = Gate(peers, self.observer, loop.time, self._access)
        self.gate.checks.append(self.service.check)
        self.daemon.admit = self.gate.admit
        self.daemon.may_answer = self.gate.may_answer
        self.daemon.credentials_for = self.service.credentials_for
        await self.daemon.start()
        await self.pbx.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.daemon.aclose()
        await self.pbx.aclose()
        await self.webhooks.aclose()

    async def dial(self, target: str = "sip:1000@10.0.0.1") -> Call:
        """Call the daemon from the PBX."""
        return await self.pbx.dial(target)

    @property
    def reasons(self) -> list[str]:
        """Why the documents of the calls that are over ended, in order."""
        return [summary.reason for _, summary in self.observer.ended]

    def seen(self, first_word: str, source: str = "") -> list[str]:
        """Return the recorded messages whose first line begins with *first_word*, from *source* (an address) if given."""
        packets = [packet for packet in self.network.packets if not source or packet.source[0] == source]
        return [text for packet in packets if (text := packet.data.decode(errors="replace")).startswith(first_word)]

    def leftovers(self) -> dict[str, int]:
        """Count what is alive in both agents: all zero after a quiet minute."""
        counts: dict[str, int] = {}
        for name, agent in (("daemon", self.daemon), ("pbx", self.pbx)):
            counts |= {
                f"{name} dialogs": len(agent.dialogs),
                f"{name} client transactions": agent.transactions.client_count,
                f"{name} server transactions": agent.transactions.server_count,
                f"{name} calls": len(agent.calls),
                f"{name} stray": len(agent.dialogs.stray_2xx),
                f"{name} tasks": len(agent.core.tasks),
            }
        counts["registry"] = len(self.registry)
        counts["journal"] = len(self.journal.positions())
        return counts


def refer_after(*steps: tuple[float, int]) -> Callable[[IncomingTransfer], None]:
    """Return a handler that accepts a transfer and reports the given statuses, each after its number of seconds."""

    def handle(transfer: IncomingTransfer) -> None:
        transfer.accept()
        loop = asyncio.get_running_loop()
        for delay_s, status in steps:
            report = transfer.progress if status < 200 else transfer.finish
            loop.call_later(delay_s, report, status)

    return handle


REFER_DOCUMENT = """<?xml version="1.0"?>
<Response><Refer action="/done"><Sip>sip:target@10.0.0.3</Sip></Refer></Response>"""
EMPTY = "<Response/>"
