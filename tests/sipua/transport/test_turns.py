"""New calls that wait: how many are set up before those that go on have their turn (docs/spec/overload.md, "Datagrams")."""

import asyncio
import random

import pytest

from sipua.transport.memory import MemoryNetwork
from sipua.transport.udp import UdpChannel, UdpPort
from tests.support.wire import Wire

pytestmark = pytest.mark.looptime

PEER = ("192.0.2.7", 5060)


class Owner:
    """Counts what is handed up between the turns of somebody else."""

    def __init__(self) -> None:
        self.turns: list[list[str]] = [[]]

    def on_udp(self, data: bytes, _channel: UdpChannel) -> None:
        self.turns[-1].append(data.partition(b" ")[0].decode())

    def on_udp_error(self, _port: UdpPort, error: OSError) -> None:
        raise error


async def turns(*datagrams: str) -> list[list[str]]:
    """Let datagrams come at the same moment; return what was handed up before each turn of the others, until nothing waits."""
    owner = Owner()
    port = UdpPort(MemoryNetwork(random.Random(1)).host("10.0.0.1"), owner)
    await port.open("10.0.0.1", 5060)
    for datagram in datagrams:
        port.on_datagram(datagram.encode(), PEER)
    while sum(len(turn) for turn in owner.turns) < len(datagrams):
        owner.turns.append([])
        await asyncio.sleep(0)
    port.close()
    return owner.turns


def invites(count: int) -> list[str]:
    return [Wire().invite(call_id=f"c{number}") for number in range(count)]


async def test_few_new_calls_are_set_up_one_a_turn() -> None:
    assert await turns(*invites(3)) == [[], ["INVITE"], ["INVITE"], ["INVITE"]]


async def test_what_goes_on_has_no_turn() -> None:
    bye = Wire().request("BYE", to_tag="x")
    assert await turns(*invites(1), bye) == [["BYE"], ["INVITE"]]


async def test_the_more_wait_the_more_have_their_turn_eight_at_most() -> None:
    counts = [len(turn) for turn in await turns(*invites(60))]
    assert counts == [0, 8, 8, 8, 8, 8, 6, 4, 3, 2, 2, 1, 1, 1]
