"""Answers calls with documents: from the INVITE of a known peer to the end of its last document."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from cxml.calls.facts import SidStyle, inbound_facts, new_sid
from cxml.calls.peers import Peer, Peers
from cxml.calls.registry import LiveCall, Registry
from cxml.calls.sip_call import SipCall
from cxml.document import parse
from cxml.interpreter.context import EngineSettings, OnBye
from cxml.interpreter.engine import Engine, Summary
from cxml.interpreter.ports import Journal, TransferResult
from cxml.services.webhook import WebhookClient
from cxml.verbs import VERBS
from sipua.auth import Credential
from sipua.errors import printable
from sipua.message import Request
from sipua.transport.base import Endpoint
from sipua.usage.call.call import Call

CUT_OFF = "cut_off"
"""Why documents ended that were cut off: shutdown, or a fault of ours."""

log = structlog.get_logger(__name__)

STRANGER_LOG_INTERVAL_S = 10.0
"""Refused strangers and calls over the limit are logged once in this time, with their number."""


class CallObserver(Protocol):
    """Who counts calls."""

    def call_began(self, peer: str) -> None:
        """A call of *peer* was taken."""

    def call_refused(self, reason: str) -> None:
        """A call was refused before it had a document: ``stranger``, ``draining``, ``max_calls``, ``max_calls_per_s``."""

    def transfer_ended(self, result: TransferResult) -> None:
        """A transfer has its result."""

    def call_ended(self, call: SipCall, summary: Summary) -> None:
        """A call is over; the reason of *summary* is ``cut_off`` when its documents were."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Where the first document of a call comes from, and the engine's settings."""

    url: str
    method: str
    engine: EngineSettings
    account_sid: str = ""
    sid_style: SidStyle = SidStyle.UUID


class CallService:
    """The handler of incoming calls."""

    def __init__(
        self,
        peers: Peers,
        registry: Registry,
        webhooks: WebhookClient,
        journal: Journal,
        voice: Voice,
        observer: CallObserver,
        now: Callable[[], float],
    ) -> None:
        self._peers = peers
        self._registry = registry
        self._webhooks = webhooks
        self._journal = journal
        self._voice = voice
        self._observer = observer
        self._now = now
        self._quiet_until: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def availability(self, request: Request, remote: Endpoint) -> int:
        """Return what an INVITE or OPTIONS from *remote* gets: 200, 403 for a stranger, 503 over a limit."""
        if self._peers.find(remote) is None:
            self._refuse("stranger", request, remote, "name this address in the match of a [[peers]] table if it is a PBX of yours")
            return 403
        if request.method != "INVITE":
            return 503 if self._registry.is_draining else 200
        limit = self._registry.may_begin()
        if limit:
            self._refuse(limit, request, remote, "the daemon is shutting down" if limit == "draining" else f"[limits] {limit} is reached")
            return 503
        return 200

    def credentials_for(self, remote: Endpoint) -> Sequence[Credential]:
        """Return the passwords that answer challenges of *remote*."""
        peer = self._peers.find(remote)
        return () if peer is None else peer.credentials

    async def handle(self, call: Call) -> None:
        """Run the documents of *call* to its end."""
        remote = call.remote
        peer = None if remote is None else self._peers.find(remote)
        if peer is None or remote is None:
            await call.reject(403)
            return
        sid = new_sid(self._voice.sid_style)
        adapter = SipCall(call, sid, peer.refer)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call needs a task")
        self._registry.add(LiveCall(adapter, task, peer.name))
        self._observer.call_began(peer.name)
        began_at = self._now()
        summary: Summary | None = None
        engine = self._engine(adapter, peer, remote)
        try:
            with structlog.contextvars.bound_contextvars(call_sid=sid, peer=peer.name):
                await call.ring()
                summary = await engine.run(self._voice.url, self._voice.method)
        finally:
            with structlog.contextvars.bound_contextvars(call_sid=sid, peer=peer.name):
                await self._end(adapter, summary or engine.so_far(CUT_OFF), self._now() - began_at)

    def _engine(self, call: SipCall, peer: Peer, remote: Endpoint) -> Engine:
        invite = call.sip.invite
        facts = inbound_facts(call.sid, self._voice.account_sid, invite, remote.host)
        with structlog.contextvars.bound_contextvars(call_sid=call.sid, peer=peer.name):
            log.info("call_began", sip_call_id=printable(invite.call_id), from_=facts.from_, to=facts.to, source=str(remote))
        return Engine(
            call,
            self._webhooks.for_call(facts, lambda: str(call.status)),
            self._journal,
            parse,
            VERBS,
            replace(self._voice.engine, refer_on_bye=OnBye(peer.refer.on_bye)),
            on_transfer=self._observer.transfer_ended,
        )

    async def _end(self, call: SipCall, summary: Summary, duration_s: float) -> None:
        """Make sure that *call* is over, and tell everybody."""
        await call.hangup()
        self._registry.remove(call.sid)
        ending = call.sip.ending
        log.info(
            "call_ended",
            status=str(call.status),
            ended_by="" if ending is None else str(ending.by),
            sip_status=0 if ending is None else ending.status,
            sip_reason="" if ending is None else ending.reason,
            duration_s=round(duration_s, 3),
            why=summary.reason,
            error_code=summary.error_code,
            documents=summary.documents,
            verbs=summary.verbs,
        )
        self._observer.call_ended(call, summary)

    def _refuse(self, reason: str, request: Request, remote: Endpoint, remedy: str) -> None:
        if request.method == "INVITE":
            self._observer.call_refused(reason)
        now = self._now()
        if now < self._quiet_until.get(reason, 0.0):
            self._held[reason] = self._held.get(reason, 0) + 1
            return
        self._quiet_until[reason] = now + STRANGER_LOG_INTERVAL_S
        log.warning(
            "call_refused",
            reason=reason,
            method=printable(request.method, 20),
            sip_call_id=printable(request.call_id, 80),
            source=str(remote),
            held_back=self._held.pop(reason, 0),
            remedy=remedy,
        )
