"""A registration over TCP is renewed when its connection closes."""

import asyncio
import random

import pytest

from sipua.agent import UserAgent
from sipua.message import Request, Response, make_response
from sipua.transport import MemoryNetwork, TransportLayer
from sipua.transport.base import Channel

pytestmark = pytest.mark.looptime

AGENT, REGISTRAR = "10.0.0.1", "10.0.0.9"


class OpenRegistrar:
    """Takes every REGISTER."""

    def __init__(self, layer: TransportLayer) -> None:
        self.layer = layer
        self.requests: list[tuple[float, int]] = []
        layer.user = self

    def on_request(self, request: Request, channel: Channel) -> None:
        self.requests.append((asyncio.get_running_loop().time(), request.expires or 0))
        response = make_response(request, 200, to_tag="r")
        if request.expires and request.contact is not None:
            response.headers.add("Contact", f"{request.contact.with_tag('')};expires={request.expires}")
        self.layer.send_response(response, channel)

    def on_response(self, response: Response, channel: Channel) -> None:
        raise AssertionError("a registrar sends no requests here")


async def test_a_closed_connection_is_opened_again_by_a_new_register() -> None:
    network = MemoryNetwork(random.Random(1))
    layer = TransportLayer(network.host(REGISTRAR))
    await layer.listen(f"tcp:{REGISTRAR}:5060")
    registrar = OpenRegistrar(layer)
    async with UserAgent(listen=[f"tcp:{AGENT}:5060"], network=network.host(AGENT)) as agent:
        registration = await agent.register(f"sip:{REGISTRAR};transport=tcp", user="cxmld")
        await registration.wait_registered(1)
        await asyncio.sleep(10)
        assert len(registrar.requests) == 1
        for number in (2, 3):
            network.reset_streams(AGENT)
            await asyncio.sleep(10)
            assert len(registrar.requests) == number
            assert registration.is_registered
        network.refuse_tcp(REGISTRAR)
        network.reset_streams(AGENT)
        await asyncio.sleep(10)
        assert not registration.is_registered
    await layer.aclose()


async def test_a_registration_over_udp_has_no_flow_to_watch() -> None:
    network = MemoryNetwork(random.Random(1))
    layer = TransportLayer(network.host(REGISTRAR))
    await layer.listen(f"udp:{REGISTRAR}:5060")
    registrar = OpenRegistrar(layer)
    async with UserAgent(listen=[f"udp:{AGENT}:5060"], network=network.host(AGENT)) as agent:
        registration = await agent.register(f"sip:{REGISTRAR}", user="cxmld")
        await registration.wait_registered(1)
        assert not any(task.get_name().startswith("flow to") for task in asyncio.all_tasks())
    assert [expires for _, expires in registrar.requests] == [300, 0]
    await layer.aclose()
