"""Our side hangs up, or the agent closes, while a call waits for the ACK of its 200 (RFC 3261 §15, docs/spec/invite.md)."""

import asyncio

import pytest

from sipua.errors import CallEndedError
from sipua.usage.call.machine.effects import EndedBy
from tests.support.raw_peer import RawDialog, raw_stage

pytestmark = pytest.mark.looptime


async def test_hangup_before_the_ack_waits_for_it() -> None:
    async with raw_stage() as stage:
        call, invite = await stage.incoming()
        answering = stage.soon(call.answer())
        dialog = RawDialog.as_caller(stage.peer, invite, await stage.peer.response("200 INVITE"))
        await call.hangup()
        await asyncio.sleep(1)
        assert "BYE" not in stage.peer.unread()
        dialog.ack(1)
        stage.peer.reply(await stage.peer.request("BYE", 0.1), 200)
        with pytest.raises(CallEndedError):
            await answering
        ending = await call.wait_ended()
        assert (ending.by, ending.status) == (EndedBy.LOCAL, 0)


async def test_who_waits_in_answer_learns_at_once_that_our_side_hung_up() -> None:
    async with raw_stage() as stage:
        stage.peer.answers["BYE"] = 200
        call, _ = await stage.incoming()
        answering = stage.soon(call.answer())
        await stage.peer.response("200 INVITE")
        await call.hangup()
        for waiting in (answering, stage.soon(call.answer())):
            with pytest.raises(CallEndedError):
                await asyncio.wait_for(waiting, 0.01)
        assert not call.is_ended
        assert not call.was_confirmed
        assert (await call.wait_ended()).by is EndedBy.LOCAL  # 64*T1 later


@pytest.mark.parametrize("has_hung_up", [False, True])
async def test_agent_that_closes_sends_bye_to_a_call_whose_ack_is_missing(has_hung_up: bool) -> None:
    async with raw_stage() as stage:
        stage.peer.answers["BYE"] = 200
        call, _ = await stage.incoming()
        stage.soon(call.answer())
        await stage.peer.response("200 INVITE")
        if has_hung_up:
            await call.hangup()
        await asyncio.sleep(1.0)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await stage.agent.aclose(4.0)
        assert loop.time() - began == pytest.approx(2.0)
        assert len(stage.peer.times("BYE")) == 1
        assert call.ending is not None
        assert call.ending.by is EndedBy.LOCAL


async def test_agent_that_closes_gives_the_ack_its_time_first() -> None:
    async with raw_stage() as stage:
        stage.peer.answers["BYE"] = 200
        call, invite = await stage.incoming()
        stage.soon(call.answer())
        dialog = RawDialog.as_caller(stage.peer, invite, await stage.peer.response("200 INVITE"))
        closing = stage.soon(stage.agent.aclose(4.0))
        await asyncio.sleep(1.0)
        assert stage.peer.times("BYE") == []
        dialog.ack(1)
        await closing
        assert len(stage.peer.times("BYE")) == 1
        assert call.is_ended


async def test_a_dead_registrar_does_not_cost_a_call_without_ack_its_bye_at_shutdown() -> None:
    async with raw_stage(is_quiet=False) as stage:
        stage.peer.answers |= {"REGISTER": 200, "BYE": 200}
        await stage.agent.register("sip:10.0.0.2", user="u")
        await asyncio.sleep(1)
        del stage.peer.answers["REGISTER"]
        call, _ = await stage.incoming()
        answering = stage.soon(call.answer())
        await stage.peer.response("200 INVITE")
        await asyncio.sleep(1)
        await stage.agent.aclose(4.0)
        assert len(stage.peer.times("BYE")) == 1
        with pytest.raises(CallEndedError):
            await answering
