"""Fixtures of the transaction tests: a layer over a loopback, and a user that remembers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from sipua.message import Request, Response
from sipua.transaction.layer import Failure, ServerTransaction, TransactionLayer
from sipua.transport.base import Channel
from tests.support.loopback import Loopback


@dataclass
class Listener:
    """A transaction user, and the callbacks of client transactions, that write down what they are told."""

    requests: list[ServerTransaction] = field(default_factory=list)
    acks: list[Request] = field(default_factory=list)
    strays: list[Response] = field(default_factory=list)
    responses: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    handler: Callable[[ServerTransaction], None] | None = None

    def on_request(self, transaction: ServerTransaction) -> None:
        self.requests.append(transaction)
        transaction.on_terminated = lambda: self.ends.append("server")
        if self.handler is not None:
            self.handler(transaction)

    def on_ack(self, request: Request, channel: Channel) -> None:
        self.acks.append(request)

    def on_stray_response(self, response: Response, channel: Channel) -> None:
        self.strays.append(response)

    def on_response(self, response: Response) -> None:
        self.responses.append(response.status)

    def on_failure(self, failure: Failure) -> None:
        self.failures.append(failure)

    def on_terminated(self) -> None:
        self.ends.append("client")


@pytest.fixture
def net() -> Loopback:
    return Loopback()


@pytest.fixture
def user() -> Listener:
    return Listener()


@pytest.fixture
async def layer(net: Loopback, user: Listener) -> AsyncIterator[TransactionLayer]:
    branches = iter(range(1, 100_000))
    layer = TransactionLayer(net, asyncio.get_running_loop(), new_branch=lambda: f"z9hG4bKn{next(branches)}")
    layer.user = user
    yield layer
    await layer.aclose()
