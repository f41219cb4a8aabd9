"""Responses whose connection is gone (RFC 3261 §18.2.2, RFC 3263 §5)."""

import asyncio
import random

import pytest

from sipua.message import make_response
from sipua.transport import Endpoint, MemoryNetwork, TransportLayer
from sipua.transport.late import MAX_LATE_RESPONSES
from tests.support.transport import Recorder, options


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("sent_by", "arrives"), [("proxy.example:5070", True), ("proxy.example", False), ("nobody.example", False), ("10.0.0.3:5070", False)]
)
async def test_a_late_response_goes_to_the_name_in_via_when_its_source_takes_no_connection(sent_by: str, arrives: bool) -> None:
    network = MemoryNetwork(random.Random(1))
    layer = TransportLayer(network.host("10.0.0.1"))
    await layer.listen("tcp:10.0.0.1:5060")
    server = Recorder(layer)
    network.host("10.0.0.3", "proxy.example")
    proxy = Recorder(TransportLayer(network.host("10.0.0.3")))
    await proxy.layer.listen("tcp:10.0.0.3:5070")
    client = Recorder(TransportLayer(network.host("10.0.0.2")))
    channel = await client.layer.channel_to(Endpoint("TCP", "10.0.0.1", 5060))
    client.layer.send_request(options(f"SIP/2.0/TCP {sent_by};branch=z9hG4bK1;rport"), channel)
    await server.wait(lambda r: bool(r.requests))
    network.reset_streams()
    await asyncio.sleep(1)
    request, came_by = server.requests[0]
    layer.send_response(make_response(request, 200, to_tag="t"), came_by)
    await asyncio.sleep(10)
    assert layer.counters["dropped"] == (0 if arrives else 1)
    # the proxy's own layer drops it: the Via is not of its making
    assert proxy.layer.counters["received"] == (1 if arrives else 0)
    for recorder in (server, proxy, client):
        await recorder.layer.aclose()


@pytest.mark.looptime
async def test_responses_that_wait_are_bounded() -> None:
    network = MemoryNetwork(random.Random(1))
    layer = TransportLayer(network.host("10.0.0.1"))
    await layer.listen("tcp:10.0.0.1:5060")
    server, client = Recorder(layer), Recorder(TransportLayer(network.host("10.0.0.2")))
    channel = await client.layer.channel_to(Endpoint("TCP", "10.0.0.1", 5060))
    client.layer.send_request(options("SIP/2.0/TCP 10.0.0.2;branch=z9hG4bK1;rport"), channel)
    await server.wait(lambda r: bool(r.requests))
    network.silence_tcp("10.0.0.2")
    network.reset_streams()
    await asyncio.sleep(1)
    request, came_by = server.requests[0]
    for _ in range(MAX_LATE_RESPONSES + 20):
        layer.send_response(make_response(request, 200, to_tag="t"), came_by)
    assert layer.counters["dropped"] == 20
    await asyncio.sleep(10)
    assert layer.counters["dropped"] == MAX_LATE_RESPONSES + 20
    await asyncio.gather(layer.aclose(), client.layer.aclose())
