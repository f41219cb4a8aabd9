"""Calls of the Asterisk under test to a daemon, and where their parties are: all channels of a call share the id given here."""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.ami import Ami, Channel
from tests.support.asterisk import Asterisk
from tests.support.daemon import HOST

_numbers = itertools.count(1)

SILENT = "Local/silent@callers/n"
"""The far end of a call: inside the PBX, answered and silent for five minutes."""


@dataclass(slots=True)
class PbxCall:
    """One call that the PBX makes; ``id`` is the Linkedid of its channels."""

    ami: Ami
    id: str

    async def channels(self) -> list[Channel]:
        """Return the channels of this call."""
        return [channel for channel in await self.ami.channels() if channel.linked == self.id]

    async def wait(self, holds: Callable[[list[Channel]], bool], what: str, *, timeout_s: float = 10.0) -> list[Channel]:
        """Wait until *holds* accepts the channels of this call."""
        return await self.ami.wait_until(
            lambda channels: holds([channel for channel in channels if channel.linked == self.id]), what, timeout_s=timeout_s
        )

    async def hang_up(self) -> None:
        """Let the PBX end every channel of this call; one that ends meanwhile is no fault."""
        for channel in await self.channels():
            await self.ami.command(f"channel request hangup {channel.name}")


async def call_daemon(ami: Ami, dialled: str, *, caller: str = SILENT) -> PbxCall:
    """Connect *caller* (a channel, once it is answered) with *dialled*, such as ``PJSIP/cxmld-trunk/sip:busy@127.0.0.1:5062``."""
    return await _originate(ami, Channel=caller, Context="callers", Exten="dial", Priority="1", Variable=f"DIALLED={dialled}")


async def call_daemon_alone(ami: Ami, dialled: str) -> PbxCall:
    """Let the PBX call the daemon by itself, with nobody to talk to: the channel only waits."""
    return await _originate(ami, Channel=dialled, Application="Wait", Data="60")


async def _originate(ami: Ami, **headers: str) -> PbxCall:
    # All of one length: the PBX takes an id that begins another one's for a double.
    name = f"case-{os.getpid()}-{next(_numbers):05}"
    await ami.action("Originate", ChannelId=name, CallerID='"Test Caller" <2000>', Async="true", Timeout="30000", **headers)
    return PbxCall(ami, name)


def trunk(user: str, port: int, *, endpoint: str = "cxmld-trunk", transport: str = "") -> str:
    """Return what Dial calls: *user* at the daemon on *port*, by the trunk *endpoint*."""
    return f"PJSIP/{endpoint}/sip:{user}@{HOST}:{port}" + (f";transport={transport}" if transport else "")


def target_uri(asterisk: Asterisk, user: str) -> str:
    """Return the URI of an extension of the PBX."""
    return f"sip:{user}@{asterisk.host}:{asterisk.ports.sip}"


def daemon_legs(channels: list[Channel]) -> list[Channel]:
    """Return the channels that lead to the daemon."""
    return [channel for channel in channels if channel.name.startswith("PJSIP/cxmld")]


def is_at(where: str, channels: list[Channel]) -> bool:
    """Tell whether the caller, seen in the *channels* of its call, is *where*.

    ``phone``: bridged to the phone that was the target. ``agent``: up and bridged with the daemon. ``alone``: the daemon's leg is all
    there is. ``gone``: no channel is left. Anything else is an extension of ``targets`` that the caller's channel runs.
    """
    legs = daemon_legs(channels)
    phones = [channel for channel in channels if channel.name.startswith("PJSIP/external")]
    match where:
        case "phone":
            bridges = {channel.bridge for channel in phones if channel.is_up and channel.bridge}
            return not legs and any(sum(channel.bridge == bridge for channel in channels) == 2 for bridge in bridges)
        case "agent":
            return any(leg.is_up and leg.bridge for leg in legs) and not any(
                channel.context == "targets" for channel in channels if channel not in legs
            )
        case "alone":
            return len(channels) == len(legs) == 1 and legs[0].is_up
        case "gone":
            return not channels
        case _:
            return not legs and any((channel.context, channel.exten) == ("targets", where) for channel in channels)
