"""Answered transactions at rest: what they keep, what a repetition gets, when they end (docs/spec/transactions.md, "At rest")."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from sipua.message import Request, Response, make_cancel
from sipua.transaction.layer import Failure, ServerTransaction, State, TransactionLayer
from sipua.transaction.machine.base import pack, unpack
from sipua.transaction.rest import SWEEP_S, Rest, Resting
from sipua.transport.base import Channel
from tests.support.loopback import Loopback
from tests.support.messages import request, response
from tests.support.strategies import responses

pytestmark = pytest.mark.looptime


class Quiet:
    """A user that answers everything and asks for no news of the end."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.kept: list[ServerTransaction] = []
        self.acks = 0

    def on_request(self, transaction: ServerTransaction) -> None:
        self.kept.append(transaction)
        transaction.respond(response(transaction.request, self.status))

    def on_ack(self, request: Request, channel: Channel) -> None:
        self.acks += 1

    def on_stray_response(self, response: Response, channel: Channel) -> None:
        pytest.fail("nothing strays")


@pytest.fixture
def quiet(layer: TransactionLayer) -> Quiet:
    made = layer.user = Quiet()
    return made


async def test_a_repetition_gets_the_same_octets(layer: TransactionLayer, net: Loopback, quiet: Quiet) -> None:
    for _ in range(3):
        net.receive(request("NOTIFY", to_tag="b1"), net.channel())
    assert len(quiet.kept) == 1
    assert len({sent.message.encode() for sent in net.sent}) == 1
    assert (layer.statistics.requests_repeated, layer.statistics.server_retransmissions) == (2, 2)


async def test_it_ends_to_the_moment_though_it_is_taken_away_later(layer: TransactionLayer, net: Loopback, quiet: Quiet) -> None:
    net.receive(request("NOTIFY", to_tag="b1"), net.channel())
    await asyncio.sleep(31.99)
    net.receive(request("NOTIFY", to_tag="b1"), net.channel())
    assert (len(quiet.kept), layer.server_count, quiet.kept[0].state) == (1, 1, State.COMPLETED)
    await asyncio.sleep(0.01)
    assert (layer.server_count, quiet.kept[0].state) == (0, State.TERMINATED)
    net.receive(request("NOTIFY", to_tag="b1"), net.channel())
    assert len(quiet.kept) == 2


async def test_a_call_that_was_taken_absorbs_copies_hands_up_acks_and_sends_its_2xx_again(
    layer: TransactionLayer, net: Loopback, quiet: Quiet
) -> None:
    net.receive(request("INVITE"), net.channel())
    transaction = quiet.kept[0]
    net.receive(request("INVITE"), net.channel())
    net.receive(request("ACK", to_tag="b1"), net.channel())  # a peer that reuses the branch
    net.receive(make_cancel(request("INVITE")), net.channel())
    assert net.names == ["200", "200"]
    assert net.sent[1].message.cseq.method == "CANCEL"
    assert net.sent[1].message.to.tag == "b1"
    assert (len(quiet.kept), quiet.acks, transaction.state) == (1, 1, State.ACCEPTED)
    assert transaction.respond(response(transaction.request, 200))
    assert not transaction.respond(response(transaction.request, 486))
    await asyncio.sleep(32)
    assert transaction.state is State.TERMINATED
    assert not transaction.respond(response(transaction.request, 200))
    assert net.names == ["200", "200", "200"]


async def test_many_need_one_timer_and_hardly_any_object(
    layer: TransactionLayer, net: Loopback, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    armed: list[float] = []
    call_at = loop.call_at

    def counted(when: float, callback: Callable[..., Any], *args: Any, **more: Any) -> asyncio.TimerHandle:
        armed.append(when)
        return call_at(when, callback, *args, **more)

    monkeypatch.setattr(loop, "call_at", counted)
    objects = []
    for number in range(201):
        net.receive(request("NOTIFY", to_tag="b1", branch=f"z9hG4bK{number}", cseq=number), net.channel())
        quiet.kept.clear()
        net.sent.clear()
        if number in (100, 200):
            gc.collect()
            objects.append(len(gc.get_objects()))
    assert len(armed) == 1
    assert objects[1] - objects[0] <= 3 * 100  # the key, and what is kept under it
    assert layer.server_count == 201


async def test_silence_is_kept_up_after_a_408(layer: TransactionLayer, net: Loopback, quiet: Quiet) -> None:
    quiet.status = 408
    for _ in range(2):
        net.receive(request("INFO", to_tag="b1"), net.channel())
    assert (net.names, len(quiet.kept)) == ([], 1)


async def test_an_answer_that_comes_again_is_dropped_for_t4(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    transaction = layer.start(
        request("REFER", via=None), net.channel(), on_response=user.on_response, on_failure=lambda failure: pytest.fail(failure)
    )
    for _ in range(3):
        net.receive(response(transaction.request, 202), net.channel())
    assert (user.responses, layer.statistics.responses_stray, layer.client_count) == ([202], 0, 1)
    assert transaction.state is State.COMPLETED
    await asyncio.sleep(5)
    assert (transaction.state, layer.client_count) == (State.TERMINATED, 0)
    net.receive(response(transaction.request, 202), net.channel())
    assert layer.statistics.responses_stray == 1


async def test_an_answered_request_hears_nothing_of_its_connection(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    channel = net.channel()
    failures: list[Failure] = []
    transaction = layer.start(request("REFER", via=None), channel, on_response=user.on_response, on_failure=failures.append)
    net.receive(response(transaction.request, 202), channel)
    channel.close()
    await layer.aclose()
    assert failures == []
    assert channel.listeners == []


async def test_the_first_to_come_is_the_first_to_end() -> None:
    loop = asyncio.get_running_loop()
    ended: list[str] = []
    resting: Resting[str] = Resting(loop, lambda rest: ended.append(rest.key))
    now, channel = loop.time(), Loopback().channel()
    for key, after in (("a", 1.0), ("b", 1.5), ("c", 5.0)):
        resting.add(Rest(key, now + after, channel))
    assert resting.first is not None
    assert resting.first.key == "a"
    await asyncio.sleep(1.0 + SWEEP_S)
    assert ended == ["a", "b"]
    resting.pop()
    assert (ended, len(resting)) == (["a", "b", "c"], 0)
    await asyncio.sleep(10)
    resting.add(Rest("d", loop.time() + 1, channel))
    resting.clear()
    await asyncio.sleep(10)
    assert ended == ["a", "b", "c"]


@given(responses())
def test_what_is_kept_is_what_was_sent(made: Response) -> None:
    data = pack(made)
    again = unpack(data)
    assert (again.start_line, again.headers, again.body) == (made.start_line, made.headers, made.body)
    assert again.encode() == data == made.encode()
