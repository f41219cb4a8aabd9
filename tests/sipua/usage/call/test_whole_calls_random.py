"""Whole calls in which both sides do anything at any moment, from a seed: whatever happens, nothing is left of them (RFC 3261 §15).

The peer rings reliably, runs session timers, takes the call over by Replaces, accepts transfers without ever reporting, cancels, hangs up,
or falls silent; our side transfers, holds, rings, answers, rejects and hangs up meanwhile.
"""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from sipua.errors import SipError
from sipua.message import Request, Response, make_cancel
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallSettings
from sipua.usage.call.machine.interval import TimerSettings
from sipua.usage.call.machine.reliable_uas import ReliableUse
from sipua.usage.subscription.refer import ReferSettings
from tests.support.raw_peer import OFFER, PEER, QUIET_S, RawDialog, RawStage, header, raw_stage, tag_of

pytestmark = pytest.mark.looptime

SEEDS = 60
STEPS = 18
WAITS_S = (0.0, 0.01, 0.1, 0.6, 3.0, 12.0, 40.0)
SILENCE_S = 2000.0  # longer than what was agreed on: the ring limit, session timers, subscriptions
TIMER = ("Supported", "timer, 100rel")


class Chaos:
    """One call, *chance* on both sides of it."""

    def __init__(self, stage: RawStage, chance: random.Random) -> None:
        self.stage, self.peer, self.chance = stage, stage.peer, chance
        self.call: Call | None = None
        self.dialogs: list[RawDialog] = []
        self.open: list[Request] = []  # of the agent, without a final response
        self.deeds: list[str] = []
        self.running: list[asyncio.Task[None]] = []
        self.rseq = chance.randrange(1, 1000)
        self.seen = 0
        self.invites: list[Request] = []  # the peer's, that open dialogs

    # -- the beginning ----------------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        timer = ("Session-Expires", f"90;refresher={self.chance.choice(['uac', 'uas'])}")
        headers = [TIMER, *([timer] if self.chance.random() < 0.5 else [])]
        if self.chance.random() < 0.4:
            self.call = await self.stage.agent.call(f"sip:bob@{PEER}")
            return
        if self.chance.random() < 0.6:
            self.call, dialog = await self.stage.established(*headers)
            self.dialogs.append(dialog)
            return
        if self.chance.random() < 0.4 and self.stage.agent.settings.reliable_provisional is not ReliableUse.NEVER:
            headers.append(("Require", "100rel"))
        self.call, invite = await self.stage.incoming(*headers)
        self.invites.append(invite)

    # -- the peer ---------------------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """See what came: acknowledge 2xx, learn dialogs, keep requests for later."""
        while self.seen < len(self.peer.arrivals):
            message = self.peer.arrivals[self.seen].message
            self.seen += 1
            if isinstance(message, Request):
                if message.method != "ACK":
                    self.open.append(message)
            elif isinstance(message, Response) and message.cseq.method == "INVITE":
                self.look_at(message)

    def look_at(self, response: Response) -> None:
        dialog = next((known for known in self.dialogs if known.call_id == response.call_id), None)
        if dialog is None and self.invites and response.contact is not None and tag_of(response):
            first = next(made for made in self.invites if made.call_id == response.call_id)
            dialog = RawDialog.as_caller(self.peer, first, response)
            self.dialogs.append(dialog)
        if dialog is None:
            return
        if response.is_success and self.chance.random() < 0.9:
            dialog.ack(response.cseq.number)
        elif response.rseq is not None and self.chance.random() < 0.8:
            dialog.send("PRACK", ("RAck", f"{response.rseq} {response.cseq.number} INVITE"))

    def reply(self) -> None:
        """Answer one of the agent's requests, in one of many ways."""
        if not self.open:
            return
        request = self.chance.choice(self.open)
        contact = ("Contact", self.peer.contact)
        if request.method == "INVITE" and self.chance.random() < 0.4:
            self.rseq += 1
            reliable = [("Require", "100rel"), ("RSeq", str(self.rseq))] if "100rel" in header(request, "Supported") else []
            self.peer.reply(request, self.chance.choice([100, 180, 183]), contact, *(reliable if self.chance.random() < 0.5 else []))
            return
        self.open.remove(request)
        status = self.chance.choice(
            {"REFER": [202, 202, 403, 491], "INVITE": [200, 200, 486, 491, 503, 422]}.get(request.method, [200, 200, 481])
        )
        extra = [contact]
        if status == 200 and request.method in ("INVITE", "UPDATE") and self.chance.random() < 0.5:
            extra += [("Require", "timer"), ("Session-Expires", f"90;refresher={self.chance.choice(['uac', 'uas'])}")]
        if status == 422:
            extra.append(("Min-SE", "200"))
        ok = self.peer.reply(request, status, *extra, body=OFFER if status == 200 and request.method == "INVITE" else b"")
        if status == 200 and request.method == "INVITE" and not any(dialog.call_id == request.call_id for dialog in self.dialogs):
            self.dialogs.append(RawDialog.as_callee(self.peer, request, ok))

    def disturb(self) -> None:
        """Send something of the peer's own."""
        dialog = self.chance.choice(self.dialogs) if self.dialogs else None
        deed = self.chance.choice(["BYE", "CANCEL", "NOTIFY", "INVITE", "UPDATE", "replace", "OPTIONS"])
        self.deeds.append(deed)
        if deed == "CANCEL" and self.invites:
            self.peer.send(make_cancel(self.chance.choice(self.invites)))
        elif dialog is None:
            return
        elif deed == "NOTIFY":
            state = self.chance.choice(["active;expires=60", "terminated;reason=noresource"])
            dialog.notify(self.chance.choice([100, 180, 200, 486]), state)
        elif deed in ("INVITE", "UPDATE"):
            dialog.send(deed, TIMER, ("Session-Expires", "90;refresher=uas"), body=OFFER)
        elif deed == "replace":
            self.replace(dialog)
        elif deed != "BYE" or self.chance.random() < 0.3:
            dialog.send(deed)

    def replace(self, dialog: RawDialog) -> None:
        ours, theirs = (value.partition("tag=")[2] for value in (dialog.remote, dialog.local))
        value = f"{dialog.call_id};to-tag={ours};from-tag={theirs}"
        invite = self.peer.new("INVITE", TIMER, ("Replaces", value), body=OFFER, call_id=f"r{len(self.deeds)}")
        self.invites.append(invite)
        self.peer.send(invite)

    # -- our side ---------------------------------------------------------------------------------------------------------------------

    def act(self) -> None:
        call = self.call
        assert call is not None
        deeds: dict[str, Coroutine[Any, Any, object]] = {
            "transfer": call.transfer("sip:x@10.0.0.9"),
            "hold": call.hold(),
            "resume": call.resume(),
            "info": call.request("INFO"),
        }
        if call.is_inbound:
            deeds |= {"ring": call.ring(), "answer": call.answer(), "answer again": call.answer()}
        if self.chance.random() < 0.15:
            deeds["hang up"] = call.hangup()
        name = self.chance.choice(list(deeds))
        for other, deed in deeds.items():
            if other == name:
                self.deeds.append(name)
                self.running.append(self.stage.soon(self.tried(deed)))
            else:
                deed.close()

    async def tried(self, deed: Coroutine[Any, Any, object]) -> None:
        try:
            await deed
        except SipError:
            return  # what can't be done now is said so

    async def play(self) -> None:
        for _ in range(STEPS):
            await asyncio.sleep(self.chance.choice(WAITS_S))
            self.look()
            self.chance.choice([self.reply, self.reply, self.reply, self.disturb, self.act, self.act])()
        await asyncio.sleep(1.0)
        self.look()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_nothing_is_left_of_a_call_whatever_happens_in_it(seed: int) -> None:
    chance = random.Random(seed)
    settings = CallSettings(
        refer=ReferSettings(notify_timeout_s=60.0),
        timer=TimerSettings(chance.choice([0, 90])),
        reliable_provisional=chance.choice(list(ReliableUse)),
        ring_limit_s=60.0,
    )
    async with raw_stage(settings=settings) as stage:
        chaos = Chaos(stage, chance)
        await chaos.begin()
        await chaos.play()
        call = chaos.call
        assert call is not None
        await call.hangup()  # what our side does in the end, the peer being silent by now
        await asyncio.sleep(QUIET_S)
        assert call.is_ended, chaos.deeds
        assert not len(call._session.timer.machine.timers), chaos.deeds
        await asyncio.sleep(SILENCE_S)
        assert [task for task in chaos.running if not task.done()] == [], chaos.deeds
        for task in chaos.running:
            task.result()
        assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0), chaos.deeds
