"""Client transactions through the layer, in virtual time (RFC 3261 §17.1, §9.1)."""

import asyncio
from typing import Any

import pytest

from sipua.message import Request, Response
from sipua.transaction.layer import ClientTransaction, Failure, LocalResponse, State, TransactionLayer
from sipua.transport.base import Endpoint
from tests.support.loopback import Loopback, LoopbackChannel
from tests.support.messages import request, response

pytestmark = pytest.mark.looptime

UDP = Endpoint("UDP", "192.0.2.2", 5060)
TCP = Endpoint("TCP", "192.0.2.2", 5060)


def start(layer: TransactionLayer, user: Any, channel: LoopbackChannel, method: str = "INVITE") -> ClientTransaction:
    return layer.start(
        request(method, via=None),
        channel,
        on_response=user.on_response,
        on_failure=user.on_failure,
        on_terminated=user.on_terminated,
    )


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_the_layer_puts_a_via_with_a_new_branch_on_top(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    one = start(layer, user, net.channel())
    two = start(layer, user, net.channel())
    assert one.request.via.branch != two.request.via.branch
    assert one.request.via.branch.startswith("z9hG4bK")
    assert next(iter(one.request.headers))[0] == "Via"


async def test_an_invite_over_udp_is_sent_seven_times_and_fails_after_32_seconds(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    begin = now()
    start(layer, user, net.channel())
    await asyncio.sleep(31.9)
    assert user.failures == []
    await asyncio.sleep(0.2)
    assert [t - begin for t in net.times("INVITE")] == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
    assert user.failures == [Failure.TIMEOUT]
    assert user.ends == ["client"]
    assert layer.client_count == 0
    assert layer.statistics.client_timeouts == 1


async def test_a_request_over_udp_is_repeated_up_to_every_t2(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    begin = now()
    start(layer, user, net.channel(), "REFER")
    await asyncio.sleep(33)
    assert [t - begin for t in net.times("REFER")] == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
    assert user.failures == [Failure.TIMEOUT]


async def test_a_request_is_still_repeated_at_t2_after_a_provisional_response(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    begin = now()
    transaction = start(layer, user, net.channel(), "REGISTER")
    await asyncio.sleep(0.1)
    net.receive(response(transaction.request, 100), net.channel())
    await asyncio.sleep(33)
    assert [t - begin for t in net.times("REGISTER")] == pytest.approx([0, 0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5])
    assert user.responses == [100]
    assert user.failures == [Failure.TIMEOUT]


@pytest.mark.parametrize("method", ["INVITE", "REFER"])
async def test_nothing_is_repeated_over_tcp_but_the_timeout_is_the_same(
    layer: TransactionLayer, net: Loopback, user: Any, method: str
) -> None:
    start(layer, user, net.channel("TCP"), method)
    await asyncio.sleep(33)
    assert net.names == [method]
    assert user.failures == [Failure.TIMEOUT]


async def test_an_invite_answered_40_seconds_after_ringing_still_succeeds(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    transaction = start(layer, user, net.channel())
    net.receive(response(transaction.request, 180), net.channel())
    await asyncio.sleep(40)
    net.receive(response(transaction.request, 200), net.channel())
    assert user.responses == [180, 200]
    assert user.failures == []
    assert net.names == ["INVITE"]


async def test_each_2xx_reaches_the_user_and_later_ones_are_strays(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    transaction = start(layer, user, net.channel())
    net.receive(response(transaction.request, 200, "x"), net.channel())
    net.receive(response(transaction.request, 200, "y"), net.channel())
    await asyncio.sleep(31)
    net.receive(response(transaction.request, 200, "y"), net.channel())
    assert user.responses == [200, 200, 200]
    await asyncio.sleep(1.1)
    assert user.ends == ["client"]
    net.receive(response(transaction.request, 200, "y"), net.channel())
    net.receive(response(transaction.request, 486, "y"), net.channel())
    assert [r.status for r in user.strays] == [200]
    assert layer.statistics.responses_stray == 2


async def test_a_repeated_486_is_acknowledged_each_time_and_told_once(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    transaction = start(layer, user, net.channel())
    for _ in range(3):
        net.receive(response(transaction.request, 486, "busy"), net.channel())
        await asyncio.sleep(1)
    assert net.names == ["INVITE", "ACK", "ACK", "ACK"]
    assert user.responses == [486]
    ack = net.sent[1].message
    assert isinstance(ack, Request)
    assert ack.via == transaction.request.via
    assert ack.to.tag == "busy"
    assert ack.cseq == (1, "ACK")


async def test_a_closed_connection_fails_what_waits_on_it(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    channel = net.channel("TCP")
    start(layer, user, channel, "REFER")
    start(layer, user, channel)
    answered = start(layer, user, channel)
    net.receive(response(answered.request, 200), channel)
    channel.close()
    assert user.failures == [Failure.TRANSPORT, Failure.TRANSPORT]
    assert answered.state is State.ACCEPTED
    assert layer.client_count == 1
    await asyncio.sleep(32.1)
    assert layer.client_count == 0
    assert channel.listeners == []


async def test_a_send_that_fails_is_told_after_start_has_returned(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    channel = net.channel()
    channel.refusing = True
    start(layer, user, channel, "REFER")
    assert user.failures == []
    await asyncio.sleep(0)
    assert user.failures == [Failure.TRANSPORT]
    assert layer.client_count == 0
    assert layer.statistics.client_transport_failures == 1


async def test_a_response_to_cancel_does_not_reach_the_invite(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    transaction = start(layer, user, net.channel())
    net.receive(response(request("CANCEL", branch=transaction.request.via.branch), 200), net.channel())
    assert user.responses == []
    assert layer.statistics.responses_stray == 1
    assert user.strays == []


async def test_a_fault_in_a_callback_costs_the_transaction_nothing(
    layer: TransactionLayer, net: Loopback, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(_response: Response) -> None:
        raise ValueError("mine")

    transaction = layer.start(request("INVITE", via=None), net.channel(), on_response=fault, on_failure=user.on_failure)
    net.receive(response(transaction.request, 486), net.channel())
    assert net.names == ["INVITE", "ACK"]
    assert "failed" in caplog.text


# --- CANCEL


async def test_cancel_waits_for_a_provisional_response(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    transaction = start(layer, user, net.channel())
    transaction.cancel('SIP;cause=200;text="Call completed elsewhere"')
    await asyncio.sleep(0.2)
    assert net.names == ["INVITE"]
    net.receive(response(transaction.request, 180), net.channel())
    assert net.names == ["INVITE", "CANCEL"]
    cancel = net.sent[1].message
    assert isinstance(cancel, Request)
    assert cancel.via.branch == transaction.request.via.branch
    assert cancel.uri == transaction.request.uri
    assert cancel.cseq == (1, "CANCEL")
    assert not cancel.to.tag
    assert cancel.headers.get("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    assert net.sent[1].channel is net.sent[0].channel
    net.receive(response(cancel, 200), net.channel())
    net.receive(response(transaction.request, 487), net.channel())
    assert user.responses == [180, 487]
    assert net.names == ["INVITE", "CANCEL", "ACK"]


async def test_no_cancel_is_sent_when_the_final_response_was_faster(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    transaction = start(layer, user, net.channel())
    transaction.cancel()
    net.receive(response(transaction.request, 200), net.channel())
    transaction.cancel()
    await asyncio.sleep(1)
    assert net.names == ["INVITE"]
    assert user.responses == [200]


async def test_an_invite_without_final_response_is_given_up_64_t1_after_cancel(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    transaction = start(layer, user, net.channel("TCP"))
    net.receive(response(transaction.request, 183), net.channel("TCP"))
    await asyncio.sleep(50)
    transaction.cancel()
    transaction.cancel()
    await asyncio.sleep(31.9)
    assert user.failures == []
    await asyncio.sleep(0.2)
    assert user.failures == [Failure.TIMEOUT]
    assert net.names == ["INVITE", "CANCEL"]
    assert layer.client_count == 0


async def test_a_cancel_is_repeated_by_its_own_transaction_over_udp(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    transaction = start(layer, user, net.channel())
    net.receive(response(transaction.request, 180), net.channel())
    begin = now()
    transaction.cancel()
    await asyncio.sleep(2)
    assert [t - begin for t in net.times("CANCEL")] == pytest.approx([0, 0.5, 1.5])


async def test_cancel_has_no_effect_on_other_methods(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    start(layer, user, net.channel(), "REFER").cancel()
    assert net.names == ["REFER"]


# --- request()


async def test_request_returns_the_final_response(layer: TransactionLayer, net: Loopback) -> None:
    task = asyncio.create_task(layer.request(request("OPTIONS", via=None), UDP))
    await asyncio.sleep(0.1)
    sent = net.sent[0].message
    assert isinstance(sent, Request)
    net.receive(response(sent, 100), net.channel())
    net.receive(response(sent, 404), net.channel())
    answer = await task
    assert answer.status == 404
    assert not isinstance(answer, LocalResponse)


async def test_request_makes_up_a_408_when_nobody_answers(layer: TransactionLayer, net: Loopback) -> None:
    begin = now()
    answer = await layer.request(request("OPTIONS", via=None), UDP)
    assert isinstance(answer, LocalResponse)
    assert answer.status == 408
    assert answer.reason == "Request Timeout"
    assert now() - begin == pytest.approx(32)


@pytest.mark.parametrize("target", [UDP, TCP])
async def test_request_makes_up_a_503_when_there_is_no_way(layer: TransactionLayer, net: Loopback, target: Endpoint) -> None:
    net.unreachable = True
    answer = await layer.request(request("OPTIONS", via=None), target)
    assert isinstance(answer, LocalResponse)
    assert answer.status == 503
    net.unreachable = False
    net.channel(target.transport).refusing = True
    answer = await layer.request(request("OPTIONS", via=None), target)
    assert answer.status == 503


async def test_a_canceled_request_task_cancels_its_invite(layer: TransactionLayer, net: Loopback) -> None:
    task = asyncio.create_task(layer.request(request("INVITE", via=None), UDP))
    await asyncio.sleep(0.1)
    sent = net.sent[0].message
    assert isinstance(sent, Request)
    net.receive(response(sent, 180), net.channel())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert net.names == ["INVITE", "CANCEL"]
    net.receive(response(sent, 487), net.channel())
    assert net.names == ["INVITE", "CANCEL", "ACK"]


# --- ACK, closing


async def test_an_ack_gets_its_own_branch_once_and_is_repeated_unchanged(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    start(layer, user, net.channel())
    ack = request("ACK", via=None, to_tag="b1")
    layer.send_ack(ack, net.channel())
    layer.send_ack(ack, net.channel())
    assert net.names == ["INVITE", "ACK", "ACK"]
    assert net.sent[1].message.via == net.sent[2].message.via
    assert net.sent[1].message.via.branch != net.sent[0].message.via.branch
    assert layer.client_count == 1


async def test_an_ack_that_cannot_be_sent_is_logged(layer: TransactionLayer, net: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    net.channel().refusing = True
    layer.send_ack(request("ACK", via=None, to_tag="b1"), net.channel())
    assert "ACK to udp:192.0.2.2:5060 failed" in caplog.text


async def test_closing_fails_what_is_pending_and_stops_all_timers(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    task = asyncio.create_task(layer.request(request("OPTIONS", via=None), UDP))
    start(layer, user, net.channel("TCP"))
    answered = start(layer, user, net.channel("TCP"))
    net.receive(response(answered.request, 200), net.channel("TCP"))
    await asyncio.sleep(0.1)
    await layer.aclose()
    assert (await task).status == 503
    assert user.failures == [Failure.TRANSPORT]
    sent = list(net.names)
    await asyncio.sleep(100)
    assert net.names == sent
    assert layer.client_count == 0
    assert net.channel("TCP").listeners == []


async def test_a_request_after_closing_fails_without_being_sent(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    await layer.aclose()
    start(layer, user, net.channel())
    assert user.failures == []
    assert (await layer.request(request("OPTIONS", via=None), UDP)).status == 503
    assert user.failures == [Failure.TRANSPORT]
    assert net.names == []
