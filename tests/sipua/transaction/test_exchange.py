"""Requests with their target and credentials (RFC 3261 §8.1, §22)."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator

import pytest

from sipua.auth import Authenticator, Credential
from sipua.errors import TransportError
from sipua.message import Request
from sipua.transaction.exchange import Exchanger
from sipua.transaction.layer import LocalResponse, TransactionLayer
from sipua.transport.layer import TransportLayer
from sipua.transport.memory import MemoryNetwork
from sipua.transport.resolver import Resolver
from tests.support.messages import request as make_request
from tests.support.raw_peer import AGENT, PEER, RawPeer, header

pytestmark = pytest.mark.looptime

CHALLENGE = ("WWW-Authenticate", 'Digest realm="r", nonce="n1", qop="auth"')


class Bench:
    """An exchanger and the peer that its requests go to."""

    def __init__(self) -> None:
        self.network = MemoryNetwork(random.Random(1))
        host = self.network.host(AGENT)
        self.transports = TransportLayer(host)
        self.transactions = TransactionLayer(self.transports, asyncio.get_running_loop())
        self.exchanger = Exchanger(self.transactions, Resolver(host.lookup))
        self.peer = RawPeer(self.network)
        self.numbers = itertools.count(2)
        self.attempts: list[int] = []

    def send(self, request: Request, authenticator: Authenticator | None = None) -> "asyncio.Task[object]":
        exchange = self.exchanger.exchange(request, authenticator, lambda: next(self.numbers), self.attempts.append)
        return asyncio.get_running_loop().create_task(exchange)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.transports.listen(f"udp:{AGENT}:5060")
    await bench.peer.open()
    yield bench
    await bench.transactions.aclose()
    await bench.transports.aclose()
    await bench.peer.aclose()


def options(uri: str = f"sip:{PEER}") -> Request:
    return make_request("OPTIONS", uri=uri, via=None)


def authenticator() -> Authenticator:
    return Authenticator((Credential("a", "b"),), lambda: "cnonce")


async def test_answer_comes_back(bench: Bench) -> None:
    sent = bench.send(options())
    bench.peer.reply(await bench.peer.request("OPTIONS"), 486)
    response = await sent
    assert response.status == 486  # type: ignore[attr-defined]
    assert not isinstance(response, LocalResponse)


async def test_challenge_is_answered_once_with_the_next_number(bench: Bench) -> None:
    sent = bench.send(options(), authenticator())
    first = await bench.peer.request("OPTIONS")
    bench.peer.reply(first, 401, CHALLENGE)
    second = await bench.peer.request("OPTIONS")
    assert (first.cseq.number, second.cseq.number) == (1, 2)
    assert second.call_id == first.call_id
    assert second.via.branch != first.via.branch
    assert "nc=00000001" in header(second, "Authorization")
    bench.peer.reply(second, 401, ("WWW-Authenticate", 'Digest realm="r", nonce="n2", qop="auth"'))
    assert (await sent).status == 401  # type: ignore[attr-defined]
    assert bench.attempts == [1, 2]


async def test_challenge_is_the_answer_when_its_sender_has_lost_interest(bench: Bench) -> None:
    exchange = bench.exchanger.exchange(options(), authenticator(), lambda: next(bench.numbers), may_retry=lambda: False)
    sent = asyncio.get_running_loop().create_task(exchange)
    bench.peer.reply(await bench.peer.request("OPTIONS"), 401, CHALLENGE)
    assert (await sent).status == 401
    assert next(bench.numbers) == 2
    assert len(bench.peer.all("OPTIONS")) == 1


async def test_challenge_without_credentials_is_the_answer(bench: Bench) -> None:
    sent = bench.send(options())
    bench.peer.reply(await bench.peer.request("OPTIONS"), 407, ("Proxy-Authenticate", "Digest realm=x"))
    assert (await sent).status == 407  # type: ignore[attr-defined]


async def test_silence_is_a_made_up_408(bench: Bench) -> None:
    response = await bench.send(options())
    assert isinstance(response, LocalResponse)
    assert response.status == 408
    assert asyncio.get_running_loop().time() == pytest.approx(32.0, abs=0.01)


@pytest.mark.parametrize(
    "uri", ["sip:nowhere.invalid", "sips:10.0.0.2", "sip:10.0.0.2;transport=ws", "tel:+1", "sip:10.0.0.9;transport=tcp"]
)
async def test_target_without_a_way_is_a_made_up_503(bench: Bench, uri: str) -> None:
    response = await bench.send(options(uri))
    assert isinstance(response, LocalResponse)
    assert response.status == 503


@pytest.mark.parametrize("route", ["<sip:", "<sip:nowhere.invalid;lr>"])
async def test_route_without_a_way_is_a_made_up_503(bench: Bench, route: str) -> None:
    request = options()
    request.headers.add("Route", route)
    response = await bench.send(request)
    assert isinstance(response, LocalResponse)
    assert response.status == 503


async def test_second_address_is_tried_when_the_first_takes_no_connection(bench: Bench) -> None:
    bench.network.host("10.0.0.8", "pbx.example")
    bench.network.host(PEER, "pbx.example")
    bench.network.refuse_tcp("10.0.0.8")
    sent = bench.send(options("sip:pbx.example;transport=tcp"))
    bench.peer.reply(await bench.peer.request("OPTIONS"), 200)
    assert (await sent).status == 200  # type: ignore[attr-defined]


async def test_size_decides_between_udp_and_tcp(bench: Bench) -> None:
    small, large = options(), options()
    large.headers.add("X-Large", "x" * 1300)
    assert (await bench.exchanger.channel_for(small)).remote.transport == "UDP"
    assert (await bench.exchanger.channel_for(large)).remote.transport == "TCP"


async def test_no_way_is_a_transport_error(bench: Bench) -> None:
    with pytest.raises(TransportError):
        await bench.exchanger.channel_for(options("sip:nowhere.invalid"))


async def test_cancelled_exchange_leaves_its_transaction_to_run_out(bench: Bench) -> None:
    sent = bench.send(options())
    await bench.peer.request("OPTIONS")
    sent.cancel()
    await asyncio.sleep(70)
    assert bench.transactions.client_count == 0
