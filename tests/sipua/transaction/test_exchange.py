"""Requests with their target and credentials (RFC 3261 §8.1, §22)."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable

import pytest

from sipua.auth import Authenticator, Credential
from sipua.driver import TaskSet
from sipua.errors import TransportError
from sipua.message import Request, Response
from sipua.transaction.exchange import Exchanger
from sipua.transaction.layer import LocalResponse, TransactionLayer
from sipua.transaction.sending import Sending
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
        self.tasks = TaskSet()

    def send(
        self, request: Request, authenticator: Authenticator | None = None, may_retry: Callable[[], bool] = lambda: True
    ) -> "asyncio.Task[Response]":
        exchange = self.exchange(request, authenticator, may_retry)
        return asyncio.get_running_loop().create_task(exchange)

    async def exchange(self, request: Request, authenticator: Authenticator | None, may_retry: Callable[[], bool]) -> Response:
        return await self.exchanger.exchange(request, authenticator, lambda: next(self.numbers), self.attempts.append, may_retry)


class CallbackBench(Bench):
    """The same by callbacks."""

    async def exchange(self, request: Request, authenticator: Authenticator | None, may_retry: Callable[[], bool]) -> Response:
        final: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.exchanger.send(
            request, authenticator, lambda: next(self.numbers), self.tasks, final.set_result, self.attempts.append, may_retry
        )
        return await final


@pytest.fixture(params=[Bench, CallbackBench])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    bench: Bench = request.param()
    await bench.transports.listen(f"udp:{AGENT}:5060")
    await bench.peer.open()
    yield bench
    await bench.exchanger.join()
    assert len(bench.tasks) == len(bench.exchanger) == 0
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
    assert response.status == 486
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
    assert (await sent).status == 401
    assert bench.attempts == [1, 2]


async def test_challenge_is_the_answer_when_its_sender_has_lost_interest(bench: Bench) -> None:
    sent = bench.send(options(), authenticator(), may_retry=lambda: False)
    bench.peer.reply(await bench.peer.request("OPTIONS"), 401, CHALLENGE)
    assert (await sent).status == 401
    assert next(bench.numbers) == 2
    assert len(bench.peer.all("OPTIONS")) == 1


async def test_challenge_without_credentials_is_the_answer(bench: Bench) -> None:
    sent = bench.send(options())
    bench.peer.reply(await bench.peer.request("OPTIONS"), 407, ("Proxy-Authenticate", "Digest realm=x"))
    assert (await sent).status == 407


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
    assert (await sent).status == 200


async def test_size_decides_between_udp_and_tcp(bench: Bench) -> None:
    small, large = options(), options()
    large.headers.add("X-Large", "x" * 1300)
    assert (await bench.exchanger.channel_for(small)).remote.transport == "UDP"
    assert (await bench.exchanger.channel_for(large)).remote.transport == "TCP"


async def test_no_way_is_a_transport_error(bench: Bench) -> None:
    with pytest.raises(TransportError):
        await bench.exchanger.channel_for(options("sip:nowhere.invalid"))


def send(bench: Bench, told: list[Response], uri: str = f"sip:{PEER}") -> Sending:
    return bench.exchanger.send(options(uri), None, lambda: next(bench.numbers), bench.tasks, told.append)


async def test_a_request_leaves_at_once_and_its_answer_is_told_once(bench: Bench) -> None:
    told: list[Response] = []
    send(bench, told)
    assert bench.transactions.client_count == 1
    assert len(bench.tasks) == 0
    request = await bench.peer.request("OPTIONS")
    bench.peer.reply(request, 100)
    await asyncio.sleep(1)
    assert told == []
    assert len(bench.exchanger) == 1
    for _ in range(2):
        bench.peer.reply(request, 200)
    await bench.exchanger.join()
    await asyncio.sleep(1)
    assert [response.status for response in told] == [200]


@pytest.mark.parametrize("uri", [f"sip:{PEER}", f"sip:{PEER};transport=tcp"])
async def test_what_is_forgotten_is_told_to_nobody(bench: Bench, uri: str) -> None:
    told: list[Response] = []
    send(bench, told, uri).forget()
    await bench.exchanger.join()
    await bench.tasks.join()
    await asyncio.sleep(70)
    assert told == []
    assert bench.transactions.client_count == 0
    assert [message for message in bench.peer.all("OPTIONS") if message.via.transport == "TCP"] == []


async def test_closing_forgets_what_waits(bench: Bench) -> None:
    told: list[Response] = []
    for uri in (f"sip:{PEER}", f"sip:{PEER};transport=tcp"):
        send(bench, told, uri)
    bench.exchanger.close()
    await bench.transactions.aclose()
    await bench.exchanger.join()
    await bench.tasks.aclose()
    assert told == []


async def test_a_fault_on_the_way_is_logged_and_a_made_up_503(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fault(_request: Request) -> None:
        raise ValueError("mine")

    monkeypatch.setattr(bench.exchanger, "targets", fault)
    told: list[Response] = []
    send(bench, told, f"sip:{PEER};transport=tcp")
    await asyncio.sleep(1)
    assert [(type(response), response.status) for response in told] == [(LocalResponse, 503)]
    assert len(bench.exchanger) == 0
    assert "ValueError: mine" in caplog.text


@pytest.mark.parametrize("turns", [0, 1])
async def test_a_task_that_is_cancelled_tells_nobody_and_is_not_waited_for(bench: Bench, turns: int) -> None:
    told: list[Response] = []
    bench.network.host("10.0.0.8")  # takes no connection for now
    send(bench, told, "sip:10.0.0.8;transport=tcp")
    for _ in range(turns):  # none: the task hasn't begun
        await asyncio.sleep(0)
    await bench.tasks.aclose()
    await bench.exchanger.join()
    assert told == []


@pytest.mark.parametrize("value", ["x", "ü" * 40, "\udcff" * 9])
async def test_the_length_of_a_request_is_what_it_takes_on_the_wire(value: str) -> None:
    request = options()
    request.headers.add("X-Any", value)
    for body in (b"", b"v=0\xff\r\n" * 30):
        request.body = body
        assert request.size == len(request.copy().encode())


async def test_cancelled_exchange_leaves_its_transaction_to_run_out(bench: Bench) -> None:
    sent = asyncio.get_running_loop().create_task(bench.exchanger.exchange(options(), None, lambda: 1))
    await bench.peer.request("OPTIONS")
    sent.cancel()
    await asyncio.sleep(70)
    assert bench.transactions.client_count == 0
