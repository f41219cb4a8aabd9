"""Two transaction layers over a network that loses messages, in virtual time."""

import asyncio
import random

import pytest

from sipua.message import Request, Response, make_response
from sipua.transaction.layer import LocalResponse, ServerTransaction, TransactionLayer
from sipua.transport.base import Channel, Endpoint
from tests.support.loopback import linked
from tests.support.messages import request

pytestmark = pytest.mark.looptime


class Answering:
    """Answers everything 200, an INVITE 180 and after a second 486."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def on_request(self, transaction: ServerTransaction) -> None:
        message = transaction.request
        self.seen.append((message.method, message.call_id))
        if not transaction.is_invite:
            transaction.respond(make_response(message, 200, to_tag="b1"))
            return
        transaction.respond(make_response(message, 180, to_tag="b1"))
        busy = make_response(message, 486, to_tag="b1")
        asyncio.get_running_loop().call_later(1, transaction.respond, busy)

    def on_ack(self, request: Request, channel: Channel) -> None:
        raise AssertionError("every ACK here belongs to a 486")

    def on_stray_response(self, response: Response, channel: Channel) -> None:
        raise AssertionError("there is no 2xx to INVITE here")


@pytest.mark.parametrize("seed", range(20))
async def test_each_request_has_one_outcome_and_is_served_once_whatever_is_lost(seed: int) -> None:
    rng = random.Random(seed)
    left, right = linked()
    left.lose = right.lose = lambda _message: rng.random() < 0.4
    loop = asyncio.get_running_loop()
    client, server = TransactionLayer(left, loop), TransactionLayer(right, loop)
    answering = Answering()
    server.user = answering
    target = Endpoint("UDP", "192.0.2.2", 5060)
    messages = [request(method, via=None, call_id=f"{method}{n}") for n in range(5) for method in ("INVITE", "OPTIONS")]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.request(message, target)) for message in messages]
    for message, task in zip(messages, tasks, strict=True):
        answer = task.result()
        assert answer.status == (486 if message.method == "INVITE" else 200) or isinstance(answer, LocalResponse)
    assert len(answering.seen) == len(set(answering.seen))
    assert sum(isinstance(task.result(), LocalResponse) for task in tasks) <= 2
    await asyncio.sleep(100)
    assert client.client_count == server.server_count == 0
    await client.aclose()
    await server.aclose()
