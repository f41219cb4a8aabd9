"""Two transfers in one call by a peer that writes no Event id for the first (RFC 3515 §2.4.6)."""

import asyncio

import pytest

from sipua.usage.subscription.outcome import TransferKind
from tests.support.raw_peer import raw_stage
from tests.support.raw_transfer import OVER, notified, transferring

pytestmark = pytest.mark.looptime


async def test_the_last_notify_of_a_former_transfer_is_not_the_result_of_the_next() -> None:
    """docs/spec/refer.md, "Matching": what says a known final status again and ends a subscription belongs to that one."""
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(486, "active;expires=60")
        await notified(stage)
        assert (await running).kind is TransferKind.BUSY
        second = stage.soon(call.transfer("sip:other@10.0.0.3"))
        again = await stage.peer.request("REFER")
        stage.peer.reply(again, 202)
        await asyncio.sleep(0.05)
        dialog.notify(486, OVER)
        await notified(stage)
        assert not second.done()
        dialog.notify(200, OVER, event=f"refer;id={again.cseq.number}")
        await notified(stage)
        outcome = await second
        assert (outcome.kind, outcome.notify_code) == (TransferKind.TRANSFERRED, 200)
        await dialog.bye()


async def test_without_ids_a_result_that_differs_from_the_former_ones_is_the_next_ones() -> None:
    async with raw_stage() as stage:
        call, dialog, running, refer = await transferring(stage)
        stage.peer.reply(refer, 202)
        dialog.notify(486, "active;expires=60")
        await notified(stage)
        assert (await running).kind is TransferKind.BUSY
        second = stage.soon(call.transfer("sip:other@10.0.0.3"))
        stage.peer.reply(await stage.peer.request("REFER"), 202)
        await asyncio.sleep(0.05)
        dialog.notify(200, OVER)
        await notified(stage)
        assert (await second).kind is TransferKind.TRANSFERRED
        await dialog.bye()
