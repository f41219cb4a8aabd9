"""The beginning of a transfer against a scripted peer."""

import asyncio

from sipua.message import Request
from sipua.usage.call.call import Call
from sipua.usage.subscription.outcome import TransferOutcome
from tests.support.raw_peer import RawDialog, RawStage

TARGET = "sip:support@10.0.0.3"
OVER = "terminated;reason=noresource"


async def transferring(stage: RawStage, target: str = TARGET) -> tuple[Call, RawDialog, "asyncio.Task[TransferOutcome]", Request]:
    """Establish a call and start a transfer; return them with the REFER."""
    call, dialog = await stage.established()
    running = stage.soon(call.transfer(target))
    return call, dialog, running, await stage.peer.request("REFER")


async def notified(stage: RawStage, status: int = 200) -> None:
    """See the answer to a NOTIFY."""
    await stage.peer.response(f"{status} NOTIFY", 0.1)
