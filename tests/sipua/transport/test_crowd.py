"""How many connections peers may have."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.transport import MemoryNetwork, TransportLayer
from sipua.transport.crowd import Crowd, place_of
from sipua.transport.network import Stream
from sipua.transport.triage import Intake


def test_one_address_has_a_limit_and_all_together_have_one() -> None:
    crowd = Crowd(max_all=3, max_per_address=2)
    assert [crowd.enter("192.0.2.1") for _ in range(3)] == ["", "", "2 connections from there are open, the limit for one address"]
    assert crowd.enter("192.0.2.2") == ""
    assert crowd.enter("192.0.2.3") == "3 connections of peers are open, the limit"
    crowd.leave("192.0.2.1")
    assert crowd.enter("192.0.2.3") == ""


def test_strangers_leave_the_last_quarter_to_those_who_are_known() -> None:
    crowd = Crowd(max_all=8, max_per_address=2)
    assert [crowd.enter(f"192.0.2.{n}", is_known=False) for n in range(6)] == [""] * 6
    assert crowd.enter("192.0.2.6", is_known=False) == "6 connections of peers are open, the limit for an unknown address"
    assert [crowd.enter(f"198.51.100.{n}") for n in range(2)] == [""] * 2
    assert crowd.enter("198.51.100.9") == "8 connections of peers are open, the limit"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_an_ipv6_address_counts_with_its_network(one: str, other: str, same: bool) -> None:
    assert (place_of(one) == place_of(other)) is same


@given(st.lists(st.tuples(st.booleans(), st.ip_addresses())))
def test_nothing_is_left_when_all_have_gone(moves: list[tuple[bool, object]]) -> None:
    crowd = Crowd(max_all=5, max_per_address=2)
    inside: list[str] = []
    for is_coming, address in moves:
        if is_coming and not crowd.enter(str(address)):
            inside.append(str(address))
        elif inside:
            crowd.leave(inside.pop())
        assert len(crowd) == len(inside) <= 5
    for host in inside:
        crowd.leave(host)
    assert not crowd._of


class Silent:
    """Connects and says nothing."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.is_open = True

    def on_data(self, data: bytes) -> None:
        raise AssertionError(f"nobody asked for {data!r}")

    def on_closed(self) -> None:
        self.is_open = False


@pytest.mark.looptime
async def test_a_known_peer_connects_while_strangers_hold_all_that_they_can_get() -> None:
    network = MemoryNetwork(random.Random(1))
    layer = TransportLayer(network.host("10.0.0.1"), max_connections=8, intake=Intake(is_known=lambda host: host == "10.0.0.2"))
    await layer.listen("tcp:10.0.0.1:5060")
    opened: dict[str, Silent] = {}

    async def connect(host: str) -> bool:
        def made(stream: Stream) -> Silent:
            opened[host] = Silent(stream)
            return opened[host]

        await network.host(host).connect_tcp("10.0.0.1", 5060, made)
        await asyncio.sleep(0.1)
        return opened[host].is_open

    assert [await connect(f"192.0.2.{n}") for n in range(1, 8)] == [True] * 6 + [False]
    assert await connect("10.0.0.2")
    assert layer.counters["refused"] == 1
    await layer.aclose()
