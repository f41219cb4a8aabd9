"""What a call leaves goes as soon as nobody holds it: nothing waits for the garbage collector (docs/adr/0021)."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from sipua.message import Request
from sipua.message.build import make_cancel
from tests.support.pbx import EMPTY, REFER_DOCUMENT, Application, Stage
from tests.support.raw_peer import OFFER, RawDialog, RawPeer

pytestmark = pytest.mark.looptime

DEVICE = "10.0.0.7"
CALLS = 6
FORGOTTEN_S = 400.0  # the transactions of 32 s, and subscriptions of 180 s
PAUSE = '<Response><Pause length="600"/></Response>'

Way = Callable[[RawPeer, Request], Awaitable[None]]


async def referred(peer: RawPeer, invite: Request, status: int) -> RawDialog:
    """Acknowledge the 200 and answer the REFER that follows."""
    dialog = RawDialog.as_caller(peer, invite, await peer.response("200 INVITE"))
    dialog.ack(invite.cseq.number)
    peer.reply(await peer.request("REFER"), status)
    return dialog


async def transferred(peer: RawPeer, invite: Request) -> None:
    dialog = await referred(peer, invite, 202)
    dialog.notify(100, "active;expires=60")
    dialog.notify(200, "terminated;reason=noresource")


async def declined(peer: RawPeer, invite: Request) -> None:
    await referred(peer, invite, 603)


async def never_reported(peer: RawPeer, invite: Request) -> None:
    await referred(peer, invite, 202)


async def hung_up(peer: RawPeer, invite: Request) -> None:
    dialog = await referred(peer, invite, 202)
    peer.send(dialog.request("BYE"))


async def never_acknowledged(peer: RawPeer, invite: Request) -> None:
    await peer.response("200 INVITE")


async def cancelled(peer: RawPeer, invite: Request) -> None:
    await peer.response("180 INVITE")
    peer.send(make_cancel(invite))


WAYS: dict[Way, str] = {
    transferred: REFER_DOCUMENT,
    declined: REFER_DOCUMENT,
    never_reported: REFER_DOCUMENT,
    hung_up: REFER_DOCUMENT,
    never_acknowledged: REFER_DOCUMENT,
    cancelled: PAUSE,
}


@pytest.mark.cpython
@pytest.mark.parametrize("way", WAYS)
async def test_a_call_leaves_no_circle(way: Way) -> None:
    async with Stage(Application({"/voice": WAYS[way], "/done": EMPTY})) as stage:
        peer = RawPeer(stage.network, DEVICE)
        await peer.open()
        peer.answers["BYE"] = 200
        gc.disable()
        try:
            for number in range(CALLS + 1):
                if number == 1:
                    await asyncio.sleep(FORGOTTEN_S)
                    gc.collect()  # what the start leaves, and the first call
                invite = peer.new("INVITE", body=OFFER, call_id=f"c{number}")
                peer.send(invite)
                await way(peer, invite)
            await asyncio.sleep(FORGOTTEN_S)
            left = garbage()
        finally:
            gc.enable()
        await peer.aclose()
    assert len(stage.observer.ended) == CALLS + 1
    assert {name: count for name, count in left.items() if count >= CALLS} == {}


def garbage() -> Counter[str]:
    """Collect, and return what of ours and of asyncio was there, by type."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return Counter(type(one).__qualname__ for one in gc.garbage if type(one).__module__.startswith(("sipua.", "cxml.", "_asyncio")))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()
