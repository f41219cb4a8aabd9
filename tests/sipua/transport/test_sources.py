"""Our address on the way to others: asked of the routing table now and then, in bounded memory."""

import asyncio
import random

import pytest

from sipua.transport.memory import MemoryNetwork
from sipua.transport.network import AsyncioNetwork
from sipua.transport.sources import HOLD_S, MAX_SOURCES, Sources
from sipua.transport.udp import UdpPort

pytestmark = pytest.mark.looptime


class Routes(AsyncioNetwork):
    """A routing table; ``address`` None is no route."""

    def __init__(self) -> None:
        super().__init__()
        self.address: str | None = "10.0.0.1"
        self.asked: list[str] = []

    def source_for(self, host: str) -> str:
        self.asked.append(host)
        if self.address is None:
            raise OSError(101, "Network is unreachable")
        return self.address


async def test_the_routing_table_is_asked_once_in_a_while_and_a_new_address_is_found() -> None:
    routes = Routes()
    sources = Sources(routes)
    assert [sources.find("192.0.2.1") for _ in range(100)] == ["10.0.0.1"] * 100
    assert routes.asked == ["192.0.2.1"]
    routes.address = "10.0.0.2"
    await asyncio.sleep(HOLD_S)
    assert sources.find("192.0.2.1") == "10.0.0.2"
    assert len(routes.asked) == 2


async def test_without_a_route_there_is_none_and_it_is_not_asked_again_at_once() -> None:
    routes = Routes()
    routes.address = None
    sources = Sources(routes)
    assert sources.find("192.0.2.1") is None
    assert sources.find_any("192.0.2.1") == "127.0.0.1"
    assert sources.find_any("2001:db8::1") == "::1"
    assert routes.asked == ["192.0.2.1", "2001:db8::1"]


async def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    routes = Routes()
    sources = Sources(routes)
    for number in range(MAX_SOURCES + 10):
        sources.find(f"10.{number >> 8}.{number & 255}.1")
    assert len(sources) == MAX_SOURCES
    routes.asked.clear()
    sources.find(f"10.{MAX_SOURCES >> 8}.9.1")
    assert routes.asked == []
    sources.find("10.0.0.1")
    assert routes.asked == ["10.0.0.1"]


async def test_a_wildcard_socket_learns_that_the_machine_has_another_address() -> None:
    routes = Routes()
    port = UdpPort(MemoryNetwork(random.Random(1)).host("0.0.0.0"), NoOwner(), sources=Sources(routes))
    await port.open("0.0.0.0", 5060)
    assert port.local_for("192.0.2.1").host == "10.0.0.1"
    routes.address = "10.0.0.2"
    await asyncio.sleep(HOLD_S)
    assert port.local_for("192.0.2.1").host == "10.0.0.2"


class NoOwner:
    """Takes no datagram."""

    def on_udp(self, data: bytes, channel: object) -> None:
        raise AssertionError(data)

    def on_udp_error(self, port: UdpPort, error: OSError) -> None:
        raise AssertionError(error)
