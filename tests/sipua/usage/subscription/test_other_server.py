"""A REFER whose peer has several servers (RFC 3263 §4.3): what was told of a transfer stays true."""

import asyncio

import pytest

from sipua.usage.subscription.outcome import TransferKind
from tests.support.raw_peer import PEER, RawPeer, RawStage, raw_stage
from tests.support.raw_transfer import OVER, TARGET, notified

pytestmark = pytest.mark.looptime

SECOND = "10.0.0.22"


async def second_server(stage: RawStage) -> tuple[RawPeer, tuple[str, str]]:
    """Open another server under the name that the peer's Contact has; return it with that Contact."""
    stage.network.host(PEER, "pbx")
    stage.network.host(SECOND, "pbx")
    second = RawPeer(stage.network, SECOND)
    await second.open()
    return second, ("Contact", "<sip:peer@pbx>")


async def test_a_transfer_that_was_given_up_is_not_sent_to_the_next_server() -> None:
    async with raw_stage() as stage:
        second, contact = await second_server(stage)
        call, dialog = await stage.established(contact)
        outcome = await call.transfer(TARGET)
        assert outcome.kind is TransferKind.NO_RESPONSE
        await asyncio.sleep(40)
        assert second.all("REFER") == []
        assert len({refer.encode() for refer in stage.peer.all("REFER")}) == 1
        await dialog.bye()
        await second.aclose()


async def test_the_next_server_has_the_whole_time_for_its_first_report() -> None:
    async with raw_stage() as stage:
        second, contact = await second_server(stage)
        call, dialog = await stage.established(contact)
        running = stage.soon(call.transfer(TARGET))
        first = await stage.peer.request("REFER")
        await asyncio.sleep(20)
        stage.peer.reply(first, 503)
        refer = await second.request("REFER")
        assert refer.cseq == first.cseq
        second.reply(refer, 202)
        await asyncio.sleep(25)
        assert not running.done()
        dialog.notify(200, OVER)
        await notified(stage)
        assert (await running).kind is TransferKind.TRANSFERRED
        await dialog.bye()
        await second.aclose()


@pytest.mark.parametrize("end", [0, 503])
async def test_a_server_that_has_reported_has_the_refer_whatever_became_of_its_answer(end: int) -> None:
    async with raw_stage() as stage:
        second, contact = await second_server(stage)
        call, dialog = await stage.established(contact)
        running = stage.soon(call.transfer(TARGET))
        refer = await stage.peer.request("REFER")
        dialog.notify(180, "active;expires=120")
        await notified(stage)
        if end:
            stage.peer.reply(refer, end)
        await asyncio.sleep(40)
        assert second.all("REFER") == []
        if not end:
            dialog.notify(200, OVER)
            await notified(stage)
        assert (await running).kind is (TransferKind.REJECTED if end else TransferKind.TRANSFERRED)
        await dialog.bye()
        await second.aclose()
