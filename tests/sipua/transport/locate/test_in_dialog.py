"""A call whose peer is a name: once it is known, requests of the call cost no question, no task and no system call."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sipua.agent import UserAgent
from sipua.transport import MemoryNetwork
from sipua.transport.locate import DnsSettings
from sipua.usage.call.call import Call
from tests.support.dns import Zone

pytestmark = pytest.mark.looptime

US, PBX = "10.0.0.1", "10.0.0.2"
NAME = "sip:100@pbx.example.com:5060"


@contextmanager
def tasks_made() -> Iterator[list[str]]:
    """Note the names of the coroutines that become tasks meanwhile."""
    made: list[str] = []
    loop = asyncio.get_running_loop()

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        made.append(str(coroutine))
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(factory)
    try:
        yield made
    finally:
        loop.set_task_factory(None)


async def answered(call: Call) -> None:
    await call.answer()
    await call.wait_ended()


@pytest.mark.parametrize("target", [NAME, f"sip:100@{PBX}"])
async def test_requests_of_a_call_ask_nobody_and_start_nothing(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = MemoryNetwork(random.Random(1))
    zone = Zone({("pbx.example.com", "A"): (PBX,)}, ttl_s=3600)
    monkeypatch.setattr("sipua.transport.locate.locator.NameServer", lambda _settings: zone)
    ours = network.host(US)
    agent = UserAgent(listen=[f"udp:{US}:5060"], network=ours, dns=DnsSettings(), rng=random.Random(2))
    pbx = UserAgent(listen=[f"udp:{PBX}:5060"], network=network.host(PBX), rng=random.Random(3))
    pbx.on_call = answered
    await agent.start()
    await pbx.start()
    call = await agent.dial(target)
    dialog = call._session.dialog
    assert dialog is not None
    dialog.state.remote_target = target  # a Contact that is a name, which few PBXs write
    assert (await dialog.request(dialog.new_request("OPTIONS"))).status == 200
    zone.asked.clear()
    monkeypatch.setattr(ours, "source_for", unexpected)
    with tasks_made() as made:
        for _ in range(20):
            assert (await dialog.request(dialog.new_request("OPTIONS"))).status == 200
    assert made == []
    assert zone.asked == []
    await call.hangup()
    await agent.aclose()
    await pbx.aclose()


def unexpected(host: str) -> str:
    raise AssertionError(f"the routing table is asked for {host}")
