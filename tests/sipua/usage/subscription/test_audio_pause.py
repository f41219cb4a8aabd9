"""Our audio stops before a REFER goes out, as Asterisk takes a packet that it still passes on for the answer of the target."""

import asyncio

import pytest

from sipua.rtp.ports import PortAllocator
from sipua.rtp.silence import INTERVAL_S, SilenceClock
from sipua.usage.call.core import CallSettings
from sipua.usage.call.media import MediaMode, MediaSettings
from sipua.usage.call.transfer import PAUSE_S, QUIET_S
from tests.support.peers import rtp_range
from tests.support.raw_peer import OFFER, raw_stage
from tests.support.raw_transfer import OVER, TARGET, notified

pytestmark = pytest.mark.looptime

AUDIO = OFFER.replace(b"10.0.0.2", b"127.0.0.1")


def with_silence() -> CallSettings:
    """Return settings of calls that send silence from real ports."""
    clock = SilenceClock(asyncio.get_running_loop())
    return CallSettings(media=MediaSettings(MediaMode.SILENCE, PortAllocator(*rtp_range()), clock, "127.0.0.1"))


async def test_audio_stops_for_the_refer_and_goes_on_after_a_transfer_that_failed() -> None:
    async with raw_stage(settings=with_silence()) as stage:
        call, dialog = await stage.established(body=AUDIO)
        await asyncio.sleep(1)
        assert call.media.rtp is not None
        counters = call.media.rtp.counters
        assert counters.sent > 40
        began_at, sent = asyncio.get_running_loop().time(), counters.sent
        running = stage.soon(call.transfer(TARGET))
        refer = await stage.peer.request("REFER")
        assert asyncio.get_running_loop().time() - began_at >= QUIET_S
        assert counters.sent == sent
        stage.peer.reply(refer, 202)
        await asyncio.sleep(PAUSE_S / 2)
        assert counters.sent == sent
        dialog.notify(486, OVER)
        await notified(stage)
        await running
        await asyncio.sleep(2 * INTERVAL_S)
        assert 1 <= counters.sent - sent <= 3
        await dialog.bye()


async def test_audio_goes_on_while_a_target_rings_long_so_that_no_media_time_out_strikes() -> None:
    async with raw_stage(settings=with_silence()) as stage:
        call, dialog = await stage.established(body=AUDIO)
        assert call.media.rtp is not None
        running = stage.soon(call.transfer(TARGET))
        stage.peer.reply(await stage.peer.request("REFER"), 202)
        sent = call.media.rtp.counters.sent
        await asyncio.sleep(PAUSE_S + 10 * INTERVAL_S)
        assert call.media.rtp.counters.sent > sent
        dialog.notify(200, OVER)
        await notified(stage)
        await running
        await dialog.bye()
