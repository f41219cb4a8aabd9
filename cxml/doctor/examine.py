"""Examines a PBX: asks, registers, calls and transfers, each step with a time limit, and keeps what it saw.

The agent is one of its own at free ports, so that it runs beside the daemon. Whatever interrupts it, calls are hung up at the end.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from cxml.doctor.pbx import PbxKind, kind_of, product_of
from cxml.doctor.plan import Plan
from cxml.doctor.seen import CallSeen, MediaSeen, Observed, Purpose, Seen, TransferSeen, final, status_of
from sipua.agent import UserAgent
from sipua.errors import ParseError, RegistrationError, SipError, printable
from sipua.message import CSeq, Request, Response, Uri, parse_message
from sipua.message.build import MAX_FORWARDS
from sipua.message.headers import Headers
from sipua.transaction.local import LocalResponse
from sipua.transport.base import Channel
from sipua.transport.route import ip_literal
from sipua.usage.call.call import Call
from sipua.usage.subscription.refer import ReferSettings

log = logging.getLogger(__name__)

MAX_MESSAGES = 2000
"""Messages that are kept: an examination has some hundred."""

HANGUP_S = 2.0
"""How long an answer to BYE or CANCEL is waited for."""

BINDING_S = 60
"""How long a binding for the test is asked for."""

BYE_WAIT_S = 0.3
"""How long the PBX's own BYE after a transfer is waited for: it tells success by FreeSWITCH's default from one that was confirmed."""

Tell = Callable[[str, str], None]
"""Told the name of each step and what came of it, when it is over."""


@dataclass(slots=True)
class Examination:
    """One run over one peer. :meth:`run` returns when it is over; ``observed`` is what was seen so far at any time."""

    agent: UserAgent
    plan: Plan
    tell: Tell
    observed: Observed = field(init=False)
    seen: list[Seen] = field(default_factory=list)
    _started_at: float = 0.0
    _messages: dict[str, list[Seen]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan = self.plan
        self.observed = Observed(plan.uri, has_password=bool(plan.credentials), wants_binding=plan.wants_binding)
        self._started_at = asyncio.get_running_loop().time()

    def trace(self, direction: str, data: bytes, _channel: Channel) -> None:
        """Keep a message; what can't be parsed is none."""
        if len(self.seen) < MAX_MESSAGES:
            with suppress(ParseError):
                at_s = asyncio.get_running_loop().time() - self._started_at
                self.seen.append(Seen(at_s, direction == "out", parse_message(data)))

    async def run(self) -> None:
        """Take every step of the plan that the ones before allow. Raises nothing for what the PBX does."""
        self.agent.transports.trace.append(self.trace)
        way = await self._find_way()
        if way is None or not await self._ask(way):
            return
        if self.plan.credentials:
            await self._register()
        else:
            self.tell("registration", "skipped: the peer has no username and password")
        if not self.plan.extension:
            self.tell("call", "skipped: give an extension of the PBX with --call, best one that rings a phone or an echo test")
            return
        await self._calls()

    @property
    def kind(self) -> PbxKind:
        """Which PBX it is, as far as known."""
        return kind_of(product_of(self.seen))

    # -- the way --------------------------------------------------------------------------------------------------------------------

    async def _find_way(self) -> Channel | None:
        uri = Uri.parse(self.plan.uri)
        request = Request("OPTIONS", uri.as_request_uri().text)
        is_unresolved = True
        try:
            async with asyncio.timeout(self.plan.step_s):
                found = await self.agent.exchanger.targets(request)
                is_unresolved = False
                channel = await self.agent.exchanger.channel_for(request)
        except (SipError, TimeoutError) as error:
            fault = printable(str(error)) or f"no answer within {self.plan.step_s:g} s"
            self.observed = replace(self.observed, fault=fault, is_unresolved=is_unresolved)
            self.tell("name" if is_unresolved else "way", fault)
            return None
        if ip_literal(uri.bare_host) is None:
            self.tell("name", f"{uri.bare_host} is {', '.join(str(endpoint) for endpoint in found)}")
        self.observed = replace(self.observed, address=channel.remote.host)
        self.tell("way", f"{channel.remote}, from {channel.local}")
        return channel

    async def _ask(self, way: Channel) -> bool:
        mark = len(self.seen)
        response: Response | None = None
        with suppress(TimeoutError, SipError):
            async with asyncio.timeout(self.plan.step_s):
                response = await self.agent.options(self.plan.uri)
        messages = tuple(self.seen[mark:])
        self.observed = replace(self.observed, options=messages)
        answer = final(messages, "OPTIONS")
        if answer is None:
            is_lost = isinstance(response, LocalResponse) and response.status == 503
            if is_lost:  # silence is a 408, or the limit of this step
                self.observed = replace(self.observed, fault=_lost(way))
            self.tell("OPTIONS", self.observed.fault if is_lost else "no answer")
            return False
        self.tell("OPTIONS", f"{status_of(answer)} from {product_of(messages) or 'a PBX that does not say its name'}")
        return True

    async def _register(self) -> None:
        mark = len(self.seen)
        with suppress(TimeoutError, SipError):
            async with asyncio.timeout(self.plan.step_s):
                await (self._bind() if self.plan.binds else self._query())
        messages = tuple(self.seen[mark:])
        self.observed = replace(self.observed, register=messages)
        answer = final(messages, "REGISTER")
        what = "bound for a moment" if self.plan.binds else "asked, nothing bound"
        self.tell("registration", f"{status_of(answer)} {what}" if answer else "no answer")

    async def _query(self) -> None:
        """Ask which bindings there are (RFC 3261 §10.2.3): it shows the password and changes none of them."""
        dialogs = self.agent.dialogs
        number = dialogs.first_cseq()
        registrar = Uri.parse(self.plan.uri)
        headers = Headers()
        headers.add("Max-Forwards", MAX_FORWARDS)
        headers.add("From", f"{self.plan.caller};tag={dialogs.new_tag()}")
        headers.add("To", self.plan.caller)
        headers.add("Call-ID", dialogs.new_call_id())
        headers.add("CSeq", str(CSeq(number, "REGISTER")))
        uri = Uri.build(registrar.host, port=registrar.port, params=registrar.params, scheme=registrar.scheme).text

        def next_cseq() -> int:
            nonlocal number
            number += 1
            return number

        await dialogs.exchanger.exchange(Request("REGISTER", uri, headers), self.agent.authenticator(), next_cseq)

    async def _bind(self) -> None:
        """Register for real; the agent removes the binding when it closes."""
        registration = await self.agent.register(self.plan.uri, credentials=self.plan.credentials, expires_s=BINDING_S)
        with suppress(RegistrationError):
            await registration.wait_registered()

    # -- calls ----------------------------------------------------------------------------------------------------------------------

    async def _calls(self) -> None:
        first = await self._call(Purpose.CALL, self.plan.target(self.plan.transfer_to))
        if first.media is None:  # it was not answered, so no other will be
            return
        if not self.plan.transfer_to:
            self.tell("transfer", "skipped: give an extension with --transfer-to")
        if self.plan.unanswered:
            await self._call(Purpose.UNANSWERED, self.plan.target(self.plan.unanswered))
        else:
            self.tell("false success", "not proved: give an extension that never answers with --transfer-to-unanswered")
        if self.plan.is_thorough and self.plan.transfer_to:
            await self._call(Purpose.TEL, f"tel:{self.plan.transfer_to}")
            await self._call(Purpose.HOST, self.plan.elsewhere(self.plan.transfer_to))

    async def _call(self, purpose: Purpose, refer_to: str) -> CallSeen:
        """Make one test call, with audio for a while and, with *refer_to*, a transfer; keep what was seen."""
        plan, mark = self.plan, len(self.seen)
        result = CallSeen(purpose, plan.extension)
        call: Call | None = None
        try:
            async with asyncio.timeout(plan.ring_s):
                call = await self.agent.call(plan.target(plan.extension), caller=plan.caller)
                await call.wait_answered()
            self._tell_of(purpose, "call", f"{plan.extension}: answered")
            media = await self._listen(call, plan.media_s if purpose is Purpose.CALL else plan.settle_s)
            result = replace(result, media=media)
            self._tell_of(purpose, "audio", f"{media.received} packets came, {media.sent} went in {media.waited_s:g} s")
            if refer_to:
                result = replace(result, transfer=await self._transfer(call, purpose, refer_to))
        except (TimeoutError, SipError) as error:
            fault = printable(str(error)) or f"not answered within {plan.ring_s:g} s"
            result = replace(result, fault=fault)
        except asyncio.CancelledError:
            result = replace(result, is_cut_off=True)
            raise
        finally:
            if call is not None:
                await self._hang_up(call)
            result = replace(result, messages=tuple(self._of(call, mark)))
            self.observed = replace(self.observed, calls=(*self.observed.calls, result))
        self._tell_call(result)
        return result

    def _of(self, call: Call | None, mark: int) -> Sequence[Seen]:
        return [seen for seen in self.seen[mark:] if call is not None and seen.header("Call-ID") == printable(call.id, 160)]

    async def _listen(self, call: Call, seconds: float) -> MediaSeen:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await call.wait_ended()
        if call.media.rtp is None:
            return MediaSeen(0.0)
        counters = call.media.rtp.counters
        return MediaSeen(seconds, counters.packets, counters.unexpected, counters.sent, counters.errors)

    async def _transfer(self, call: Call, purpose: Purpose, refer_to: str) -> TransferSeen:
        limit_s = self.plan.unanswered_s if purpose is Purpose.UNANSWERED else self.plan.ring_s
        outcome = None
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                settings = ReferSettings(notify_timeout_s=limit_s, bye_grace_s=min(2.0, limit_s))
                outcome = await call.transfer(refer_to, settings=settings, any_scheme=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(BYE_WAIT_S):
                await call.wait_ended()
        if outcome is None:
            return TransferSeen(refer_to, "notify_timeout", "not_reported")
        return TransferSeen(refer_to, outcome.kind.value, outcome.doubt.value)

    async def _hang_up(self, call: Call) -> None:
        await call.hangup()
        with suppress(TimeoutError):
            async with asyncio.timeout(HANGUP_S):
                await call.wait_ended()

    def _tell_of(self, purpose: Purpose, step: str, result: str) -> None:
        """Tell a step of the first test call; the others are only made for their transfers."""
        if purpose is Purpose.CALL:
            self.tell(step, result)

    def _tell_call(self, call: CallSeen) -> None:
        if call.media is None:
            self._tell_of(call.purpose, "call", f"{self.plan.extension}: {call.fault or 'no answer'}")
        if call.transfer is not None:
            name = {Purpose.CALL: "transfer", Purpose.UNANSWERED: "false success"}.get(call.purpose, f"transfer, {call.purpose}")
            self.tell(name, f"{call.transfer.target}: {_shown(call.purpose, call.transfer)}")


def _lost(way: Channel) -> str:
    """Return why *way*, which could be taken, has led nowhere: over UDP only ICMP tells (RFC 3261 §18.4)."""
    if way.remote.is_reliable:
        return f"{way.remote} closed the connection before it answered"
    return f"nobody takes requests at {way.remote}: port, host or network is unreachable, as ICMP says"


def _shown(purpose: Purpose, transfer: TransferSeen) -> str:
    if purpose is Purpose.UNANSWERED and transfer.kind != "transferred":
        return "not reported as answered, as it should be"
    return transfer.kind + (f", confidence low: {transfer.doubt}" if transfer.doubt else "")
