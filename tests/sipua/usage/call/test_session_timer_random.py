"""Whole calls with session timers whose peer does anything at any moment, from a seed (RFC 4028, RFC 3261 §14)."""

import asyncio
import random

import pytest

from sipua.message import Request, Response
from sipua.usage.call.call import Call
from tests.support.raw_peer import OFFER, RawDialog, RawStage, header, raw_stage

pytestmark = pytest.mark.looptime

TIMER = ("Supported", "timer")
CALLS = 20
STEPS = 25


class Unruly:
    """A peer that takes, refuses, ignores and sends refreshes as chance has it, by the rules of transactions."""

    def __init__(self, stage: RawStage, call: Call, dialog: RawDialog, chance: random.Random) -> None:
        self.stage, self.peer, self.call, self.dialog, self.chance = stage, stage.peer, call, dialog, chance
        self.open: dict[int, Request] = {}  # requests of the agent without a final response, by number
        self.most_open = 0
        self.seen = 0
        stage.peer.answers["BYE"] = 200

    def collect(self) -> None:
        """Look at what came: requests of the agent that are not answered yet, and 2xx to INVITE, which get their ACK."""
        while self.seen < len(self.peer.arrivals):
            message = self.peer.arrivals[self.seen].message
            self.seen += 1
            if isinstance(message, Response) and message.cseq.method == "INVITE" and message.is_success:
                self.dialog.ack(message.cseq.number)
            elif isinstance(message, Response) and message.cseq.method == "INVITE" and message.is_final:
                self.refuse_ack(message)
            elif isinstance(message, Request) and message.method in ("UPDATE", "INVITE"):
                self.open[message.cseq.number] = message
            elif isinstance(message, Request) and message.method == "CANCEL":
                self.peer.reply(message, 200)
                if message.cseq.number in self.open:
                    self.peer.reply(self.open.pop(message.cseq.number), 487)
        self.most_open = max(self.most_open, len(self.open))

    def refuse_ack(self, response: Response) -> None:
        via = header(response, "Via")
        self.peer.send(self.dialog.request("ACK", ("Via", via), cseq=response.cseq.number))

    def answer(self) -> None:
        """Answer what is open, in one of many ways."""
        number = next(iter(self.open), None)
        if number is None:
            return
        request = self.open.pop(number)
        status = self.chance.choice([200, 200, 200, 200, 200, 491, 500, 503, 422, 488, 405])
        headers = [("Contact", self.peer.contact)]
        if status == 200 and self.chance.random() < 0.9:
            headers.append(("Session-Expires", f"{self.chance.choice([90, 120, 300])};refresher={self.chance.choice(['uac', 'uas'])}"))
        if status == 422:
            headers.append(("Min-SE", str(self.chance.choice([1, 200, 500]))))
        self.peer.reply(request, status, *headers, body=OFFER if status == 200 and request.method == "INVITE" else b"")

    def send(self) -> None:
        """Refresh, with or without a timer."""
        method = self.chance.choice(["UPDATE", "INVITE"])
        headers = [TIMER] if self.chance.random() < 0.9 else []
        if self.chance.random() < 0.9:
            headers.append(("Session-Expires", f"{self.chance.choice([10, 90, 120, 7200])};refresher={self.chance.choice(['uac', 'uas'])}"))
        self.dialog.send(method, *headers, body=OFFER if method == "INVITE" or self.chance.random() < 0.3 else b"")

    async def play(self) -> None:
        for _ in range(STEPS):
            if self.call.is_ended:
                return
            await asyncio.sleep(self.chance.choice([0.05, 1, 5, 20, 40]))
            self.collect()
            match self.chance.randrange(5):
                case 0 | 1 | 2:
                    self.answer()
                case 3:
                    self.send()
            await asyncio.sleep(0.05)
            self.collect()


async def look_on(unruly: Unruly) -> None:
    while True:
        await asyncio.sleep(5)
        unruly.collect()


@pytest.mark.parametrize("seed", range(CALLS))
async def test_an_unruly_peer_gets_one_refresh_at_a_time_and_an_end(seed: int) -> None:
    chance = random.Random(seed)
    async with raw_stage(use_tcp=chance.random() < 0.3) as stage:
        allow = ("Allow", chance.choice(["INVITE, UPDATE", "INVITE"]))
        call, dialog = await stage.established(TIMER, allow, ("Session-Expires", f"90;refresher={chance.choice(['uac', 'uas'])}"))
        unruly = Unruly(stage, call, dialog, chance)
        looking = stage.soon(look_on(unruly))
        await unruly.play()
        # Silence from now on: the call ends by its timer, by a refresh that nobody answers, or not at all when no timer runs.
        await asyncio.sleep(7200 + 200)
        if call._session.timer.machine.terms is None and not call.is_ended:
            await call.hangup()
        assert call.is_ended
        assert not len(call._session.timer.machine.timers)
        assert unruly.most_open <= 1
        await asyncio.sleep(200)  # a CANCEL of a refresh may be on its way
        looking.cancel()
