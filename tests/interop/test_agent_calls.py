"""The user agent of the library calls a real Asterisk: answered, refused, cancelled, transferred."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sipua.agent import UserAgent
from sipua.auth import Credential
from sipua.errors import CallFailedError
from sipua.rtp.ports import PortAllocator
from sipua.rtp.silence import SilenceClock
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallSettings
from sipua.usage.call.media import MediaMode, MediaSettings
from sipua.usage.subscription.refer import ReferSettings
from tests.support import sipp as sipp_runner
from tests.support.ami import Ami, Channel
from tests.support.asterisk import Asterisk
from tests.support.daemon import HOST
from tests.support.pbx_calls import target_uri
from tests.support.peers import rtp_range

PASSWORD = Credential("cxmld", "cxmld-secret")

Registered = ("udp", "tcp")


@asynccontextmanager
async def agent(transport: str = "udp", identity: str = f"<sip:cxmld@{HOST}>", password: Credential = PASSWORD) -> AsyncIterator[UserAgent]:
    """Run a user agent that has the PBX's account."""
    async with UserAgent(listen=[f"{transport}:{HOST}:0"], identity=identity, credentials=[password]) as running:
        yield running


def uri(asterisk: Asterisk, extension: str, transport: str) -> str:
    """Return the URI of an extension over a transport."""
    return target_uri(asterisk, extension) + (";transport=tcp" if transport == "tcp" else "")


@pytest.mark.parametrize("transport", Registered)
async def test_a_call_is_answered_after_the_password(ami: Ami, asterisk: Asterisk, transport: str) -> None:
    async with agent(transport) as ours:
        call = await ours.dial(uri(asterisk, "answers", transport))
        channel = await ami.wait_channel(name="PJSIP/cxmld-", is_up=True)
        assert (channel.context, channel.exten) == ("targets", "answers")
        assert call.is_confirmed
        await call.hangup()
        await call.wait_ended()
        await ami.wait_until(lambda channels: not channels, "no channel")


async def test_a_call_without_an_account_belongs_to_the_trunk(ami: Ami, asterisk: Asterisk) -> None:
    async with agent(identity=f"<sip:nobody@{HOST}>") as ours:
        call = await ours.dial(target_uri(asterisk, "echo"))
        await ami.wait_channel(name="PJSIP/cxmld-trunk-", is_up=True)
        response = await call.request("INFO", b"Signal=1\r\nDuration=160\r\n", "application/dtmf-relay")
        assert response.status == 200
        assert (await call.request("OPTIONS")).status == 200
        await call.hold()
        await call.resume()
        await call.hangup()
        await call.wait_ended()


@pytest.mark.parametrize("transport", Registered)
@pytest.mark.parametrize(
    ("extension", "status"),
    [("busy", 486), ("congestion", 503), ("declines", 603), ("rejects", 403), ("unknown", 404), ("noanswer-cause", 480)],
)
async def test_a_call_is_refused(asterisk: Asterisk, extension: str, status: int, transport: str) -> None:
    async with agent(transport) as ours:
        with pytest.raises(CallFailedError) as failed:
            await ours.dial(uri(asterisk, extension, transport))
        assert failed.value.status == status
        assert not ours.calls


async def test_a_wrong_password_fails_the_call_and_is_not_tried_again(asterisk: Asterisk) -> None:
    async with agent(password=Credential("cxmld", "wrong")) as ours:
        invites = 0

        def count(direction: str, data: bytes, _channel: object) -> None:
            nonlocal invites
            invites += direction == "out" and data.startswith(b"INVITE ")

        ours.transports.trace.append(count)
        with pytest.raises(CallFailedError) as failed:
            await ours.dial(target_uri(asterisk, "answers"))
        assert failed.value.status == 401
        assert invites == 2


async def test_a_call_that_rings_too_long_is_cancelled(ami: Ami, asterisk: Asterisk) -> None:
    async with agent() as ours:
        with pytest.raises(CallFailedError) as failed:
            await ours.dial(target_uri(asterisk, "noanswer"), timeout_s=0.5)
        assert failed.value.status == 487
        await ami.wait_until(lambda channels: not channels, "no channel")


async def test_the_pbx_says_what_it_can_do(asterisk: Asterisk) -> None:
    async with agent() as ours:
        response = await ours.options(target_uri(asterisk, "answers"))
        assert response.status == 200
        assert "REFER" in (response.headers.get("Allow") or "")


async def test_the_pbx_hangs_up(ami: Ami, asterisk: Asterisk) -> None:
    async with agent() as ours:
        call = await ours.dial(target_uri(asterisk, "answers"))
        await ami.hang_up_all()
        ending = await call.wait_ended()
        assert ending.by == "peer"


async def test_the_other_party_of_a_call_of_ours_is_transferred(ami: Ami, asterisk: Asterisk, sipp: None) -> None:
    async with agent() as ours, sipp_runner.target("200") as phone:
        call = await ours.dial(target_uri(asterisk, f"sip-{phone.port}"))
        await ami.wait_until(lambda channels: len([c for c in channels if c.bridge]) == 2, "our call bridged to the phone")
        outcome = await call.transfer(target_uri(asterisk, "plays"))
        assert (outcome.kind, outcome.refer_code, outcome.notify_code) == ("transferred", 202, 200)
        await ami.wait_until(is_phone_alone_at_plays, "the phone at plays, and our channel gone before our BYE")
        await end(call)
        assert await ami.channels(), "our BYE leaves the phone where it is"


def is_phone_alone_at_plays(channels: list[Channel]) -> bool:
    """Tell whether the phone is in the extension, and our own channel gone, which another thread of Asterisk's sees to."""
    return any(is_phone_at(channel, "plays") for channel in channels) and not any(c.name.startswith("PJSIP/cxmld") for c in channels)


def is_phone_at(channel: Channel, extension: str) -> bool:
    """Tell whether this is the phone's channel, and in *extension*."""
    return channel.name.startswith("PJSIP/external-") and (channel.context, channel.exten) == ("targets", extension)


async def test_a_call_with_nobody_behind_it_cannot_be_transferred(asterisk: Asterisk) -> None:
    async with agent() as ours:
        call = await ours.dial(target_uri(asterisk, "echo"))
        outcome = await call.transfer(target_uri(asterisk, "plays"))
        assert (outcome.kind, outcome.refer_code, outcome.notify_code) == ("failed", 202, 400)
        await end(call)


async def test_our_silence_is_never_taken_for_the_answer_of_the_target(ami: Ami, asterisk: Asterisk) -> None:
    del ami  # its fixture leaves no channel behind
    clock = SilenceClock(asyncio.get_running_loop())
    settings = CallSettings(media=MediaSettings(MediaMode.SILENCE, PortAllocator(*rtp_range()), clock))
    patience = ReferSettings(notify_timeout_s=1.0, bye_grace_s=0.0)
    at_once = asyncio.Semaphore(8)

    async def transferred(ours: UserAgent, number: int) -> str:
        async with at_once:
            call = await ours.dial(target_uri(asterisk, "party"))
            await asyncio.sleep(0.2 + number % 7 * 0.013)  # real time: audio flows, and REFER goes out anywhere between two packets
            outcome = await call.transfer(target_uri(asterisk, "silent-ring"), settings=patience)
            await end(call)
            return outcome.kind.value

    async with UserAgent(listen=[f"udp:{HOST}:0"], identity=f"<sip:nobody@{HOST}>", settings=settings) as ours:
        kinds = await asyncio.gather(*(transferred(ours, number) for number in range(60)))
    assert set(kinds) == {"notify_timeout"}


async def test_many_calls_at_once(ami: Ami, asterisk: Asterisk) -> None:
    async with agent() as ours:
        calls = await asyncio.gather(*(ours.dial(target_uri(asterisk, "answers")) for _ in range(10)))
        assert len(await ami.channels()) == 10
        await asyncio.gather(*(end(call) for call in calls))
        await ami.wait_until(lambda channels: not channels, "no channel")


async def end(call: Call) -> None:
    """Hang up and wait for the answer."""
    await call.hangup()
    await call.wait_ended()
