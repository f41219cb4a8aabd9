"""The transaction layer stays small, and says the same twice (docs/spec/overload.md, "Transactions")."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sipua.message import Request, Response, make_response
from sipua.transaction.admission import Refusal
from sipua.transaction.bounds import MAX_REFUSED, RETRY_AFTER_S, RefusedInvites, overloaded
from sipua.transaction.layer import TransactionLayer
from sipua.transport.base import Channel
from tests.support.loopback import Loopback
from tests.support.messages import request, response

pytestmark = pytest.mark.looptime

BUSY = Refusal(503, headers=(("Retry-After", "7"),))


@pytest.fixture
async def small(net: Loopback, user: Any) -> AsyncIterator[TransactionLayer]:
    """A layer that has room for four server transactions."""
    layer = TransactionLayer(net, asyncio.get_running_loop(), max_servers=4)
    layer.user = user
    yield layer
    await layer.aclose()


def invite(number: int) -> Request:
    return request("INVITE", branch=f"z9hG4bK{number}", call_id=str(number))


def info(number: int) -> Request:
    return request("INFO", branch=f"z9hG4bKi{number}", to_tag="b1", cseq=number)


async def test_a_copy_of_a_refused_invite_gets_the_same_answer_though_there_is_room_now(
    layer: TransactionLayer, net: Loopback, user: Any
) -> None:
    """Its sender has got the first 503 and doesn't listen any more: a call would be nobody's."""
    layer.admit = lambda _request, _channel: BUSY
    net.receive(invite(1), net.channel())
    layer.admit = None
    await asyncio.sleep(31.9)
    net.receive(invite(1), net.channel())
    net.receive(invite(2), net.channel())
    assert [sent.message.headers.get("Retry-After") for sent in net.sent if sent.name == "503"] == ["7", "7"]
    assert net.sent[0].message.to.tag == net.sent[1].message.to.tag
    assert [transaction.request.call_id for transaction in user.requests] == ["2"]
    assert (layer.statistics.requests_refused, layer.statistics.requests_repeated) == (1, 1)
    await asyncio.sleep(0.2)
    net.receive(invite(1), net.channel())
    assert len(user.requests) == 2


async def test_other_refusals_are_judged_anew(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    """A caller who has logged in since is let in."""
    layer.admit = lambda _request, _channel: Refusal(401)
    net.receive(invite(1), net.channel())
    layer.admit = None
    net.receive(invite(1), net.channel())
    assert len(user.requests) == 1


def test_the_memory_of_refusals_is_bounded_and_forgets_what_is_over() -> None:
    refused = RefusedInvites(32.0)
    for number in range(MAX_REFUSED + 100):
        refused.add(str(number), BUSY, 0.0)
    assert len(refused) == MAX_REFUSED
    assert refused.find("0", 0.0) is None
    assert refused.find("200", 31.9) is BUSY
    assert refused.find("200", 32.0) is None
    refused.add("late", BUSY, 40.0)
    assert len(refused) == 1


def test_the_time_to_wait_is_spread_and_follows_from_the_request() -> None:
    waits = [int(overloaded(tag).headers[0][1]) for tag in range(1000)]
    assert set(waits) == set(RETRY_AFTER_S)
    assert max(waits.count(wait) for wait in RETRY_AFTER_S) == 100
    assert overloaded(5) == overloaded(5)


async def test_answered_transactions_make_room_the_oldest_first(small: TransactionLayer, net: Loopback, user: Any) -> None:
    user.handler = lambda transaction: transaction.respond(response(transaction.request, 200))
    for number in range(1, 11):
        net.receive(info(number), net.channel())
    assert len(user.requests) == 10
    assert (small.server_count, small.statistics.server_cut) == (4, 6)
    assert user.ends == ["server"] * 6
    net.receive(info(10), net.channel())
    assert (len(user.requests), small.statistics.requests_repeated) == (10, 1)
    net.receive(info(1), net.channel())
    assert len(user.requests) == 11  # forgotten; its number tells the dialog that it is old
    await asyncio.sleep(40)
    assert small.server_count == 0


async def test_an_invite_that_waits_for_its_ack_goes_in_its_turn(small: TransactionLayer, net: Loopback, user: Any) -> None:
    """It is newer than what rests: its copy would open a second call."""
    user.handler = lambda transaction: transaction.respond(response(transaction.request, 486 if transaction.is_invite else 200))
    for number in range(1, 4):
        net.receive(info(number), net.channel())
    await asyncio.sleep(0.2)
    net.receive(invite(1), net.channel())
    for number in range(4, 7):
        net.receive(info(number), net.channel())
    net.receive(invite(1), net.channel())
    assert (len(user.requests), small.statistics.server_cut) == (7, 3)
    await asyncio.sleep(0.2)
    for number in range(7, 11):
        net.receive(info(number), net.channel())
    net.receive(invite(1), net.channel())
    assert len(user.requests) == 12  # the oldest by then


async def test_calls_are_not_forgotten_and_new_ones_get_503_when_only_they_are_left(
    small: TransactionLayer, net: Loopback, user: Any
) -> None:
    user.handler = lambda transaction: transaction.respond(response(transaction.request, 200))
    for number in range(6):
        net.receive(invite(number), net.channel())
    assert net.names == ["200"] * 4 + ["503"] * 2
    assert small.server_count == 4
    net.receive(invite(0), net.channel())
    assert len(user.requests) == 4
    await asyncio.sleep(33)
    assert small.server_count == 0


async def test_refused_invites_that_nobody_acknowledges_make_room(small: TransactionLayer, net: Loopback, user: Any) -> None:
    user.handler = lambda transaction: transaction.respond(response(transaction.request, 488))
    for number in range(100):
        net.receive(invite(number), net.channel())
    assert net.names == ["488"] * 100
    assert small.server_count == 4


async def test_reinvites_that_were_taken_make_room(small: TransactionLayer, net: Loopback, user: Any) -> None:
    user.handler = lambda transaction: transaction.respond(response(transaction.request, 200))
    for number in range(100):
        net.receive(request("INVITE", branch=f"z9hG4bK{number}", to_tag="b1", cseq=number + 1), net.channel())
    assert (net.names, small.server_count) == (["200"] * 100, 4)


async def test_what_has_one_answer_for_ever_costs_no_transaction(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    def answer(request: Request, _channel: Channel, tag: str) -> Response | None:
        return make_response(request, 200, to_tag=tag) if request.method == "OPTIONS" else None

    layer.answer = answer
    for _ in range(2):
        net.receive(request("OPTIONS"), net.channel())
    net.receive(request("INVITE"), net.channel())
    assert net.names == ["200", "200"]
    assert net.sent[0].message.to.tag == net.sent[1].message.to.tag != ""
    assert [transaction.request.method for transaction in user.requests] == ["INVITE"]
    assert (layer.server_count, layer.statistics.requests_stateless) == (1, 2)


async def test_a_fault_while_answering_is_logged_and_the_request_gets_a_transaction(
    layer: TransactionLayer, net: Loopback, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(_request: Request, _channel: Channel, _tag: str) -> None:
        raise ValueError("mine")

    layer.answer = fault
    net.receive(request("OPTIONS"), net.channel())
    assert len(user.requests) == 1
    assert "ValueError: mine" in caplog.text


async def test_a_flood_of_cancels_for_nothing_leaves_nothing(layer: TransactionLayer, net: Loopback) -> None:
    for number in range(500):
        net.receive(request("CANCEL", branch=f"z9hG4bK{number}"), net.channel())
    assert net.names == ["481"] * 500
    assert layer.server_count == 0
