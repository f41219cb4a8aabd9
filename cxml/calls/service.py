"""Answers calls with documents: from the INVITE of a known peer to the end of its last document."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from cxml.access.peers import Peer, Peers
from cxml.access.rules import Denial, Visit
from cxml.calls.context import enter_call
from cxml.calls.facts import SidStyle, inbound_facts, new_sid
from cxml.calls.overload import LoadController
from cxml.calls.registry import LiveCall, Registry
from cxml.calls.shed import ShedAccount
from cxml.calls.sip_call import SipCall
from cxml.document import parse
from cxml.interpreter.context import EngineSettings, OnBye
from cxml.interpreter.ending import Summary
from cxml.interpreter.engine import Engine
from cxml.interpreter.ports import Journal, TransferResult
from cxml.services.webhook import WebhookClient
from cxml.verbs import VERBS
from sipua.auth import Credential
from sipua.errors import printable
from sipua.message import Request
from sipua.transaction.admission import Refusal
from sipua.transport.base import Endpoint
from sipua.usage.call.call import Call
from sipua.usage.call.machine.interval import TimerSettings

CUT_OFF = "cut_off"
"""Why documents ended that were cut off: shutdown, or a fault of ours."""

MAX_TIMER_S = 30 * 86400.0
"""A call that has no limit ends after a month all the same."""

log = structlog.get_logger(__name__)

_RATE_S, _COUNT_S = (1, 4), (5, 15)  # a rate is free again within a second, a place when a call ends
RETRY_AFTER_S = {
    "max_calls_per_s": _RATE_S,
    "peer_max_calls_per_s": _RATE_S,
    "overload": (2, 8),
    "max_calls": _COUNT_S,
    "peer_max_calls": _COUNT_S,
    "draining": (10, 30),
}
"""By reason, the range of seconds that a 503 says: short, since a client may send nothing at all before (RFC 3261 §21.5.4), and by chance,

since callers who were refused together must not come back together."""


REMEDIES = {
    "max_calls_per_s": "[limits] max_calls_per_s is reached",
    "peer_max_calls_per_s": "max_calls_per_s of the peer is reached",
    "overload": "the loop lags: less load, fewer calls a second or a faster machine",
    "max_calls": "[limits] max_calls is reached",
    "peer_max_calls": "max_calls of the peer is reached",
    "draining": "the daemon is shutting down",
}


@dataclass(frozen=True, slots=True)
class Load:
    """What decides about new calls besides the registry, and where those are counted that were not taken.

    *max_call_s* ends a call that goes on longer; 0: never.
    """

    controller: LoadController = field(default_factory=LoadController)
    account: ShedAccount = field(default_factory=ShedAccount)
    rng: random.Random = field(default_factory=random.Random)
    max_call_s: float = 0.0


class CallObserver(Protocol):
    """Who counts calls."""

    def call_began(self, peer: str) -> None:
        """A call of *peer* was taken."""

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
        journal: Journal | None,
        voice: Voice,
        observer: CallObserver,
        now: Callable[[], float],
        load: Load | None = None,
    ) -> None:
        self._load = load or Load()
        self._peers = peers
        self._registry = registry
        self._webhooks = webhooks
        self._journal = journal
        self._voice = voice
        self._engines: Mapping[str, EngineSettings] = {on_bye.value: replace(voice.engine, refer_on_bye=on_bye) for on_bye in OnBye}
        self._observer = observer
        self._now = now
        self._tell_transfer = observer.transfer_ended  # once for all calls
        registry.max_call_s = self._load.max_call_s or MAX_TIMER_S

    def check(self, visit: Visit) -> Denial | None:
        """Tell whether a call may begin, and OPTIONS what an INVITE would get at shutdown (RFC 3261 §11.2): a check of the gate."""
        method, peer = visit.request.method, visit.peer.name
        if method != "INVITE" or "Replaces" in visit.request.headers:  # that one takes the place of a call that runs, or is refused
            return self._denial("draining") if self._registry.is_draining and method in ("INVITE", "OPTIONS") else None
        reason = self._registry.obstacle(peer)
        if not reason and not self._load.controller.admits():
            reason = "overload"
        if not reason:
            self._registry.may_begin(peer)
            return None
        if reason != "draining":
            self._load.account.note(reason, peer)
        return self._denial(reason)

    def _denial(self, reason: str) -> Denial:
        wait_s = self._load.rng.randint(*RETRY_AFTER_S[reason])
        return Denial(reason, Refusal(503, headers=(("Retry-After", str(wait_s)),)), REMEDIES[reason])

    def credentials_for(self, invite: Request) -> Sequence[Credential]:
        """Return the passwords that answer challenges in the call of *invite*."""
        peer = self._peers.named(invite.sender)
        return () if peer is None else peer.credentials

    def timer_for(self, remote: Endpoint) -> TimerSettings | None:
        """Return the session timer of calls with *remote* where it has one of its own."""
        peer = self._peers.find(remote)
        return None if peer is None else peer.timer

    def handle(self, call: Call) -> Awaitable[None]:
        """Run the documents of *call* to its end."""
        remote = call.remote
        peer = self._peers.named(call.invite.sender)
        if peer is None or remote is None:
            return call.reject(403)
        return self._run(SipCall(call, new_sid(self._voice.sid_style), peer.refer, peer.name), peer, remote)

    async def _run(self, call: SipCall, peer: Peer, remote: Endpoint) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call needs a task")
        enter_call(call.sid, peer=peer.name)
        engine = self._engine(call, peer, remote)
        live = LiveCall(call, task, engine, peer.name, remote.host, self._now())
        self._registry.add(live)
        self._observer.call_began(peer.name)
        summary: Summary | None = None
        call.sip.on_replaced(call.replaced)
        try:
            await call.sip.ring()
            summary = await engine.run(self._voice.url, self._voice.method)
            if engine.is_stopped:
                summary = None
        finally:
            call.sip.on_replaced(None)  # the handler holds the call
            await self._end(call, summary or engine.so_far(CUT_OFF), self._now() - live.began_at)

    def _engine(self, call: SipCall, peer: Peer, remote: Endpoint) -> Engine:
        invite = call.sip.invite
        facts = inbound_facts(call.sid, self._voice.account_sid, invite, remote.host, is_trusted=peer.is_trusted)
        log.info(
            "call_began",
            sip_call_id=printable(invite.call_id),
            from_=facts.from_,
            to=facts.to,
            source=str(remote),
            **({"forwarded_from": printable(facts.forwarded_from)} if facts.forwarded_from else {}),
        )
        return Engine(
            call,
            self._webhooks.for_call(facts, call.status_now),
            self._journal,
            parse,
            VERBS,
            self._engines[peer.refer.on_bye],
            on_transfer=self._tell_transfer,
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
            q850_cause=None if ending is None else ending.q850_cause,
            answered_elsewhere=ending is not None and ending.is_answered_elsewhere,
            duration_s=round(duration_s, 3),
            why=summary.reason,
            error_code=summary.error_code,
            documents=summary.documents,
            verbs=summary.verbs,
        )
        self._observer.call_ended(call, summary)
