"""Two transaction layers over the real transport layer and the network in memory, in virtual time."""

import asyncio
import random

import pytest

from sipua.message import Request, Response, make_response
from sipua.transaction.layer import LocalResponse, ServerTransaction, TransactionLayer
from sipua.transport.base import Channel, Endpoint
from sipua.transport.layer import TransportLayer
from sipua.transport.memory import MemoryNetwork
from tests.support.messages import request

pytestmark = pytest.mark.looptime


class Answering:
    """Refuses INVITE with 486, answers all else 200."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    def on_request(self, transaction: ServerTransaction) -> None:
        self.methods.append(transaction.request.method)
        transaction.respond(make_response(transaction.request, 486 if transaction.is_invite else 200, to_tag="b1"))

    def on_ack(self, request: Request, channel: Channel) -> None:
        raise AssertionError("every ACK here belongs to a 486")

    def on_stray_response(self, response: Response, channel: Channel) -> None:
        raise AssertionError("there is no 2xx to INVITE here")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("loss", [0.0, 0.3])
async def test_requests_and_responses_find_their_way(transport: str, loss: float) -> None:
    loop = asyncio.get_running_loop()
    network = MemoryNetwork(random.Random(3), loss=loss, delay=(0.01, 0.05))
    ours, theirs = TransportLayer(network.host("192.0.2.1")), TransportLayer(network.host("192.0.2.2"))
    client, server = TransactionLayer(ours, loop), TransactionLayer(theirs, loop)
    user = server.user = Answering()
    await ours.listen(f"{transport}:192.0.2.1:5060")
    await theirs.listen(f"{transport}:192.0.2.2:5060")
    target = Endpoint(transport.upper(), "192.0.2.2", 5060)
    statuses = [
        (await client.request(request(method, via=None, call_id=f"{method}{number}"), target)).status
        for number in range(4)
        for method in ("OPTIONS", "INVITE")
    ]
    assert statuses == [200, 486] * 4
    assert user.methods == ["OPTIONS", "INVITE"] * 4
    await asyncio.sleep(70)
    assert client.client_count == server.server_count == 0
    assert server.statistics.acks_missing == 0
    for layer in (client, server):
        await layer.aclose()
    for transports in (ours, theirs):
        await transports.aclose()


@pytest.mark.parametrize(("transport", "status"), [("UDP", 408), ("TCP", 503)])
async def test_nobody_there_is_a_made_up_response(transport: str, status: int) -> None:
    network = MemoryNetwork(random.Random(3))
    ours = TransportLayer(network.host("192.0.2.1"))
    network.host("192.0.2.2")
    client = TransactionLayer(ours, asyncio.get_running_loop())
    await ours.listen("udp:192.0.2.1:5060")
    answer = await client.request(request("OPTIONS", via=None), Endpoint(transport, "192.0.2.2", 5060))
    assert isinstance(answer, LocalResponse)
    assert answer.status == status
    await client.aclose()
    await ours.aclose()


async def test_a_server_that_closes_its_connection_fails_the_requests_on_it() -> None:
    loop = asyncio.get_running_loop()
    network = MemoryNetwork(random.Random(3))
    ours, theirs = TransportLayer(network.host("192.0.2.1")), TransportLayer(network.host("192.0.2.2"))
    client = TransactionLayer(ours, loop)
    await theirs.listen("tcp:192.0.2.2:5060")
    task = asyncio.create_task(client.request(request("OPTIONS", via=None), Endpoint("TCP", "192.0.2.2", 5060)))
    await asyncio.sleep(1)
    begin = loop.time()
    await theirs.aclose()
    answer = await task
    assert isinstance(answer, LocalResponse)
    assert answer.status == 503
    assert loop.time() - begin < 20
    await client.aclose()
    await ours.aclose()
