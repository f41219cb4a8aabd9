"""Forks that answer after the call's own fork (RFC 3261 §13.2.2.4)."""

import asyncio

import pytest

from sipua.usage.call.machine.effects import EndedBy
from tests.support.raw_peer import OFFER, RawDialog, raw_stage

pytestmark = pytest.mark.looptime


async def test_a_surplus_fork_with_an_unusable_contact_says_nothing_about_the_call() -> None:
    async with raw_stage() as stage:
        stage.peer.answers["BYE"] = 200
        dialing = stage.soon(stage.agent.dial("sip:bob@10.0.0.2"))
        invite = await stage.peer.request("INVITE")
        ok = stage.peer.reply(invite, 200, ("Contact", "<sip:peer@10.0.0.2>"), body=OFFER, tag="a")
        await asyncio.sleep(0.1)
        call = await dialing
        stage.peer.reply(invite, 200, ("Contact", "<tel:+1>"), body=OFFER, tag="b")
        await asyncio.sleep(0.1)
        assert call.is_confirmed
        RawDialog.as_callee(stage.peer, invite, ok).send("BYE")
        ending = await call.wait_ended()
        assert (ending.by, ending.status, ending.reason) == (EndedBy.PEER, 0, "")
