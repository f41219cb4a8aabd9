"""A hang-up in the very moment in which a transfer begins."""

import asyncio

import pytest

from sipua.usage.subscription.outcome import TransferKind
from tests.support.raw_peer import raw_stage

pytestmark = pytest.mark.looptime


async def test_a_hangup_before_the_refer_has_left_is_reported_within_t4() -> None:
    """Row C5g: after our own BYE the response to the REFER has T4, also when both were asked for at once."""
    async with raw_stage() as stage:
        stage.peer.answers["BYE"] = 200
        call, _ = await stage.established()
        await asyncio.sleep(5)
        transferring = stage.soon(call.transfer("sip:carol@10.0.0.3"))
        await asyncio.sleep(0)
        await call.hangup()
        began = asyncio.get_running_loop().time()
        outcome = await transferring
        assert outcome.kind in (TransferKind.LOCAL_HANGUP, TransferKind.CALL_LOST)
        assert asyncio.get_running_loop().time() - began < 5.5
