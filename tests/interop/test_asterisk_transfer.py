"""Blind transfers by a real Asterisk: what it reports to the agent, and where the caller really is.

The agent of this file is a script, so that a failure here means that the PBX behaves differently from what
``asterisk/README.md`` says and the daemon relies on.
"""

import asyncio
from dataclasses import dataclass

import pytest

from tests.support import sipp as sipp_runner
from tests.support.ami import Ami, Channel
from tests.support.raw_agent import RawAgent, raw_agent

pytestmark = pytest.mark.usefixtures("sipp")


@dataclass(frozen=True, slots=True)
class Case:
    """A transfer: the kind of the phone that is its target, or the PBX's own extension; the last status; where the caller ends.

    ``caller`` is ``phone`` (bridged to the target), ``agent`` (still in the call with the agent), ``extension`` (in the target's
    dialplan) or ``gone``.
    """

    name: str
    status: str
    caller: str
    phone: str = ""
    extension: str = ""


CASES = [
    Case("a phone answers", "200", "phone", phone="200"),
    Case("a phone is busy", "486", "gone", phone="486"),
    Case("a phone declines", "503", "gone", phone="603"),
    Case("a phone rings for ever", "503", "gone", phone="silent"),
    Case("an extension does not exist", "404", "agent", extension="unknown"),
    Case("an extension is busy", "486", "gone", extension="busy"),
    Case("an extension declines", "503", "gone", extension="declines"),
    Case("an extension answers late", "200", "extension", extension="true-slow"),
]


def is_at(where: str, extension: str, channels: list[Channel]) -> bool:
    """Tell whether the transferred caller is where a case says."""
    legs = [channel for channel in channels if channel.name.startswith("PJSIP/cxmld-trunk-")]
    match where:
        case "phone":
            return any(channel.name.startswith("PJSIP/external-") and channel.is_up and channel.bridge for channel in channels)
        case "agent":
            return any(channel.is_up and channel.bridge for channel in legs)
        case "extension":
            return any((channel.context, channel.exten) == ("targets", extension) for channel in channels)
        case _:
            return not any(channel.context == "targets" or channel.name.startswith("PJSIP/external-") for channel in channels)


async def transfer(ami: Ami, agent: RawAgent, user: str) -> str:
    """Let the PBX call the agent, transfer the caller to *user* and return the last status that NOTIFY reports."""
    await ami.originate(f"udp-{agent.port}", "silent")
    async with asyncio.timeout(20):
        await agent.answered.wait()
        assert await agent.refer(user) == "202"
        return await agent.outcome


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
async def test_the_pbx_reports_a_transfer_truthfully(ami: Ami, case: Case) -> None:
    async with raw_agent() as agent:
        if case.phone:
            async with sipp_runner.target(case.phone) as phone:
                await check(ami, agent, case, f"true-{phone.port}")
        else:
            await check(ami, agent, case, case.extension)


async def check(ami: Ami, agent: RawAgent, case: Case, user: str) -> None:
    """Transfer to *user*; the report and the caller's place must be those of the case."""
    assert await transfer(ami, agent, user) == case.status
    assert not agent.ended.is_set(), "the PBX leaves it to the agent to hang up"
    await ami.wait_until(lambda channels: is_at(case.caller, user, channels), f"the caller at: {case.caller}")
    agent.bye()


async def test_a_stock_dialplan_reports_success_while_the_phone_still_rings(ami: Ami) -> None:
    """The ringing tone counts as media: 180 and 200 come 20 ms apart, and the refusal that follows is never reported."""
    async with raw_agent() as agent, sipp_runner.target("486") as phone:
        assert await transfer(ami, agent, f"sip-{phone.port}") == "200"
        (await phone.wait()).check()
        assert agent.notified == ["100", "180", "200"]
