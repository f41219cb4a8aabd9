"""Reason in BYE, CANCEL and refusals, in both directions (RFC 3326, RFC 6432)."""

import asyncio

import pytest

from sipua.message import make_cancel
from sipua.message.reason import Reason
from sipua.usage.call.machine.effects import EndedBy
from tests.support.raw_peer import PEER, header, raw_stage

pytestmark = pytest.mark.looptime

TARGET = f"sip:bob@{PEER}"


async def test_the_reasons_of_a_bye() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        dialog.send("BYE", ("Reason", 'Q.850;cause=34;text="no circuit\x01", SIP;cause=503'))
        await stage.peer.response("200 BYE")
        ending = await call.wait_ended()
        assert ending.by is EndedBy.PEER
        assert ending.reasons == (Reason("Q.850", 34, "no circuit\\x01"), Reason("SIP", 503))
        assert (ending.q850_cause, ending.is_answered_elsewhere) == (34, False)


@pytest.mark.parametrize(
    ("value", "is_elsewhere"), [('SIP;cause=200;text="Call completed elsewhere"', True), ("SIP;cause=487", False), ("", False)]
)
async def test_the_reason_of_a_cancel(value: str, is_elsewhere: bool) -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        await call.ring()
        cancel = make_cancel(invite)
        if value:
            cancel.headers.add("Reason", value)
        stage.peer.send(cancel)
        await stage.peer.response("487 INVITE")
        ending = await call.wait_ended()
        assert (ending.by, ending.reason) == (EndedBy.PEER, value)
        assert ending.is_answered_elsewhere is is_elsewhere


async def test_the_reason_of_a_refusal() -> None:
    async with raw_stage() as stage:
        call = await stage.agent.call(TARGET)
        stage.peer.reply(await stage.peer.request("INVITE"), 480, ("Reason", "Q.850;cause=18"))
        await stage.peer.request("ACK")
        ending = await call.wait_ended()
        assert (ending.status, ending.q850_cause) == (480, 18)


async def test_our_bye_and_our_cancel_say_why() -> None:
    reason = 'SIP;cause=200;text="transferred"'
    async with raw_stage() as stage:
        call, _ = await stage.established()
        await call.hangup(reason=reason)
        bye = await stage.peer.request("BYE")
        assert header(bye, "Reason") == reason
        stage.peer.reply(bye, 200)
        call = await stage.agent.call(TARGET)
        invite = await stage.peer.request("INVITE")
        stage.peer.reply(invite, 180, ("Contact", stage.peer.contact))
        await asyncio.sleep(0.1)
        await call.hangup(reason="SIP;cause=487\r\nX: y")
        cancel = await stage.peer.request("CANCEL")
        assert header(cancel, "Reason") == "SIP;cause=487\\r\\nX: y"
        stage.peer.reply(cancel, 200)
        stage.peer.reply(invite, 487)
        await stage.peer.request("ACK")
        await call.wait_ended()
