"""Transfers that the peer asks for: the transferee's side on the wire (RFC 3515 §2.4)."""

import asyncio
import logging

import pytest

from sipua.errors import CallError
from sipua.usage.call.referred import MAX_TRANSFERS, IncomingTransfer
from tests.support.raw_peer import RawDialog, RawStage, header, raw_stage

pytestmark = pytest.mark.looptime

REFER_TO = ("Refer-To", "<sip:carol@10.0.0.3>")


async def referred(stage: RawStage, *headers: tuple[str, str]) -> tuple[RawDialog, IncomingTransfer]:
    """Establish a call and let the peer ask for a transfer."""
    call, dialog = await stage.established()
    transfers: list[IncomingTransfer] = []
    call.on_transfer_request(transfers.append)
    dialog.send("REFER", REFER_TO, *headers)
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    return dialog, transfers[0]


async def test_transfer_is_accepted_and_reported_to_its_end() -> None:
    async with raw_stage() as stage:
        dialog, transfer = await referred(stage, ("Referred-By", "<sip:peer@x>"))
        assert transfer.target == "sip:carol@10.0.0.3"
        assert transfer.referred_by == "<sip:peer@x>"
        transfer.accept()
        accepted = await stage.peer.response("202 REFER")
        assert "Contact" in accepted.headers
        bodies = []
        for status in (0, 180, 200):
            if status:
                await asyncio.sleep(2)
                (transfer.progress if status < 200 else transfer.finish)(status)
            notify = await stage.peer.request("NOTIFY")
            bodies.append((notify.body, header(notify, "Subscription-State").partition(";")[0]))
            assert header(notify, "Event") == f"refer;id={transfer.request.cseq.number}"
            stage.peer.reply(notify, 200)
        assert bodies == [
            (b"SIP/2.0 100 Trying\r\n", "active"),
            (b"SIP/2.0 180 Ringing\r\n", "active"),
            (b"SIP/2.0 200 OK\r\n", "terminated"),
        ]
        await dialog.bye()


async def test_subscription_outlives_the_call() -> None:
    async with raw_stage() as stage:
        dialog, transfer = await referred(stage)
        transfer.accept()
        stage.peer.reply(await stage.peer.request("NOTIFY"), 200)
        await dialog.bye()
        transfer.finish(486)
        notify = await stage.peer.request("NOTIFY")
        assert notify.body.startswith(b"SIP/2.0 486")
        stage.peer.reply(notify, 200)
        await asyncio.sleep(0.1)
        assert len(stage.agent.dialogs) == 0


@pytest.mark.parametrize("status", [481, 489, 0])
async def test_notify_that_the_peer_does_not_want_ends_the_subscription(status: int) -> None:
    async with raw_stage() as stage:
        dialog, transfer = await referred(stage)
        transfer.accept()
        notify = await stage.peer.request("NOTIFY")
        if status:
            stage.peer.reply(notify, status)
        await asyncio.sleep(40)
        transfer.finish(200)
        await asyncio.sleep(1)
        assert len({message.cseq.number for message in stage.peer.all("NOTIFY")}) == 1
        await dialog.bye()


async def test_transfer_that_never_ends_times_out() -> None:
    async with raw_stage() as stage:
        dialog, transfer = await referred(stage)
        stage.peer.answers["NOTIFY"] = 200
        transfer.accept()
        await asyncio.sleep(190)
        states = [header(message, "Subscription-State") for message in stage.peer.all("NOTIFY")]
        assert states[-1].startswith("terminated;reason=timeout")
        await dialog.bye()


async def test_subscription_that_is_not_wanted_is_not_made() -> None:
    async with raw_stage() as stage:
        dialog, transfer = await referred(stage, ("Refer-Sub", "false"))
        transfer.accept(200)
        accepted = await stage.peer.response("200 REFER")
        assert header(accepted, "Refer-Sub") == "false"
        transfer.finish(200)
        await asyncio.sleep(1)
        assert stage.peer.all("NOTIFY") == []
        await dialog.bye()


async def test_transfer_is_decided_once() -> None:
    async with raw_stage() as stage:
        dialog, transfer = await referred(stage)
        transfer.reject(486)
        await stage.peer.response("486 REFER")
        with pytest.raises(CallError):
            transfer.accept()
        await dialog.bye()


@pytest.mark.parametrize("is_over", [False, True])
async def test_transfer_that_nobody_decides_is_declined_in_time(is_over: bool) -> None:
    async with raw_stage() as stage:
        dialog, transfer = await referred(stage)
        if is_over:
            await dialog.bye()
        await stage.peer.response("603 REFER")
        assert asyncio.get_running_loop().time() < 32
        with pytest.raises(CallError):
            transfer.accept()
        if not is_over:
            await dialog.bye()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((("Refer-To", ""),), 400),
        ((("Refer-To", "<sip:a@b>, <sip:c@d>"),), 400),
        ((("Refer-To", "<<"),), 400),
        ((("Refer-To", "<tel:+1>"),), 416),
        ((("Refer-To", "<sip:a@b;method=BYE>"),), 403),
    ],
)
async def test_refer_that_can_not_be_followed_is_refused(headers: tuple[tuple[str, str], ...], status: int) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        call.on_transfer_request(lambda transfer: transfer.accept())
        dialog.send("REFER", *headers)
        await stage.peer.response(f"{status} REFER", 0.1)
        await dialog.bye()


async def test_transfers_under_way_in_one_call_are_bounded() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        stage.peer.answers["NOTIFY"] = 200
        transfers: list[IncomingTransfer] = []

        def take(transfer: IncomingTransfer) -> None:
            transfer.accept()
            transfers.append(transfer)

        call.on_transfer_request(take)
        for _ in range(MAX_TRANSFERS + 3):
            dialog.send("REFER", REFER_TO)
        await asyncio.sleep(0.1)
        assert len(transfers) == MAX_TRANSFERS
        assert stage.peer.unread().count("500 REFER") == 3
        for transfer in transfers:
            transfer.finish(200)
        await asyncio.sleep(1)
        dialog.send("REFER", REFER_TO)
        await stage.peer.response("202 REFER")
        await asyncio.sleep(0.1)
        transfers[-1].finish(603)
        await dialog.bye()


async def test_handler_that_raises_gives_500(caplog: pytest.LogCaptureFixture) -> None:
    async with raw_stage(faults=True) as stage:
        call, dialog = await stage.established()

        def broken(transfer: IncomingTransfer) -> None:
            raise RuntimeError("oops")

        call.on_transfer_request(broken)
        with caplog.at_level(logging.ERROR):
            dialog.send("REFER", REFER_TO)
            await stage.peer.response("500 REFER", 0.1)
        assert call.is_confirmed
        call.on_transfer_request(None)
        dialog.send("REFER", REFER_TO)
        await stage.peer.response("603 REFER", 0.1)
        await dialog.bye()


async def test_agent_that_closes_forgets_the_subscription() -> None:
    async with raw_stage(is_quiet=False) as stage:
        _, transfer = await referred(stage)
        transfer.accept()
        stage.peer.answers = {"NOTIFY": 200, "BYE": 200}
        await asyncio.sleep(0.1)
        await stage.agent.aclose()
        transfer.finish(200)
        assert len(stage.agent.dialogs) == 0


async def test_a_subscribe_ends_the_subscription_with_a_last_notify() -> None:
    """RFC 6665 §4.2.1.4: Expires 0 is answered and followed by a terminated NOTIFY; SUBSCRIBE is a method that we allow."""
    async with raw_stage() as stage:
        dialog, transfer = await referred(stage)
        transfer.accept()
        stage.peer.reply(await stage.peer.request("NOTIFY"), 200)
        event = ("Event", f"refer;id={transfer.request.cseq.number}")
        dialog.send("SUBSCRIBE", event, ("Expires", "60"))
        assert header(await stage.peer.response("200 SUBSCRIBE"), "Expires") == "60"
        stage.peer.reply(await stage.peer.request("NOTIFY"), 200)
        dialog.send("SUBSCRIBE", event, ("Expires", "0"))
        assert header(await stage.peer.response("200 SUBSCRIBE"), "Expires") == "0"
        last = await stage.peer.request("NOTIFY")
        assert header(last, "Subscription-State").startswith("terminated")
        stage.peer.reply(last, 200)
        transfer.finish(200)
        await asyncio.sleep(0.1)
        dialog.send("SUBSCRIBE", event, ("Expires", "60"))
        await stage.peer.response("403 SUBSCRIBE")
        await dialog.bye()


@pytest.mark.parametrize("is_accepted", [True, False])
async def test_only_a_refer_that_is_accepted_refreshes_the_target(is_accepted: bool) -> None:
    """RFC 3261 §12.2.2: a request that is refused changes nothing."""
    async with raw_stage() as stage:
        _, transfer = await referred(stage, ("Contact", "<sip:moved@10.0.0.2:5060>"))
        if is_accepted:
            transfer.accept()
            stage.peer.reply(await stage.peer.request("NOTIFY"), 481)
        else:
            transfer.reject()
        (call,) = stage.agent.calls
        await call.hangup()
        assert ("moved" in (await stage.peer.request("BYE")).uri) is is_accepted


@pytest.mark.parametrize("status", [200, 400])
async def test_only_a_notify_that_is_accepted_refreshes_the_target(status: int) -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        running = stage.soon(call.transfer("sip:carol@10.0.0.3"))
        stage.peer.reply(await stage.peer.request("REFER"), 202)
        body, state = (200, "terminated;reason=noresource") if status == 200 else (b"rubbish", "active;expires=60")
        dialog.notify(body, state, ("Contact", "<sip:moved@10.0.0.2:5060>"))
        await stage.peer.response(f"{status} NOTIFY", 0.1)
        if status != 200:
            dialog.notify(200, "terminated;reason=noresource", ("Contact", ""))
        await running
        await call.hangup()
        assert ("moved" in (await stage.peer.request("BYE")).uri) is (status == 200)
