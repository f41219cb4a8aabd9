"""Server transactions through the layer, in virtual time (RFC 3261 §17.2, §9.2, §8.2.2.2; RFC 6026; RFC 4320)."""

import asyncio
from typing import Any

import pytest

from sipua.message import Request, Response, make_cancel
from sipua.transaction.bounds import RETRY_AFTER_S
from sipua.transaction.layer import ServerTransaction, State, TransactionLayer
from tests.support.loopback import Loopback
from tests.support.messages import request, response

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_new_request_reaches_the_user_once(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("NOTIFY", to_tag="b1"), net.channel())
    net.receive(request("NOTIFY", to_tag="b1"), net.channel())
    assert [t.request.method for t in user.requests] == ["NOTIFY"]
    assert not user.requests[0].is_invite
    assert layer.statistics.requests_repeated == 1
    assert net.names == []


async def test_a_final_response_is_repeated_for_64_t1_over_udp(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("BYE", to_tag="b1"), net.channel())
    assert user.requests[0].respond(response(user.requests[0].request, 200))
    assert not user.requests[0].respond(response(user.requests[0].request, 500))
    await asyncio.sleep(31.9)
    net.receive(request("BYE", to_tag="b1"), net.channel())
    assert net.names == ["200", "200"]
    await asyncio.sleep(0.2)
    assert user.ends == ["server"]
    assert layer.server_count == 0
    net.receive(request("BYE", to_tag="b1"), net.channel())
    assert len(user.requests) == 2


async def test_a_silent_invite_gets_a_100_after_200_ms(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    for transport in ("UDP", "TCP"):
        net.sent.clear()
        begin = now()
        net.receive(request("INVITE", branch=f"z9hG4bK{transport}", call_id=transport), net.channel(transport))
        await asyncio.sleep(5)
        assert [t - begin for t in net.times("100")] == pytest.approx([0.2])
        assert not net.sent[0].message.to.tag


async def test_no_100_follows_a_quick_answer(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    user.handler = lambda transaction: transaction.respond(response(transaction.request, 180))
    net.receive(request("INVITE"), net.channel())
    await asyncio.sleep(1)
    assert net.names == ["180"]


async def test_a_repeated_invite_gets_the_last_provisional_response_again(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("INVITE"), net.channel())
    user.requests[0].respond(response(user.requests[0].request, 180))
    net.receive(request("INVITE"), net.channel())
    assert net.names == ["180", "180"]
    assert layer.statistics.server_retransmissions == 1


async def test_an_invite_answered_with_200_absorbs_its_repetitions(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("INVITE"), net.channel())
    accepted = response(user.requests[0].request, 200)
    assert user.requests[0].respond(accepted)
    for _ in range(3):
        net.receive(request("INVITE"), net.channel())
    assert net.names == ["200"]
    assert len(user.requests) == 1
    assert user.requests[0].respond(accepted)
    assert net.names == ["200", "200"]
    assert not user.requests[0].respond(response(user.requests[0].request, 486))
    await asyncio.sleep(32.1)
    assert layer.server_count == 0


async def test_a_refused_invite_is_repeated_up_to_every_t2_and_misses_its_ack(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    missing: list[str] = []
    net.receive(request("INVITE"), net.channel())
    begin = now()
    user.requests[0].on_no_ack = lambda: missing.append("ACK")
    user.requests[0].respond(response(user.requests[0].request, 486))
    await asyncio.sleep(33)
    assert [t - begin for t in net.times("486")] == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
    assert missing == ["ACK"]
    assert user.ends == ["server"]
    assert layer.statistics.acks_missing == 1


async def test_the_ack_of_a_refusal_stops_its_repetition_and_is_absorbed(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("INVITE"), net.channel())
    user.requests[0].respond(response(user.requests[0].request, 486))
    net.receive(request("INVITE"), net.channel())
    assert net.names == ["486", "486"]
    for _ in range(2):
        net.receive(request("ACK", to_tag="b1"), net.channel())
    await asyncio.sleep(4.9)
    assert user.requests[0].state is State.CONFIRMED
    await asyncio.sleep(0.2)
    assert net.names == ["486", "486"]
    assert user.acks == []
    assert layer.server_count == 0


async def test_an_ack_for_a_2xx_reaches_the_user(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("INVITE"), net.channel())
    user.requests[0].respond(response(user.requests[0].request, 200))
    net.receive(request("ACK", to_tag="b1", branch="z9hG4bKother"), net.channel())
    net.receive(request("ACK", to_tag="b1"), net.channel())  # a peer that reuses the branch
    assert len(user.acks) == 2
    assert len(user.requests) == 1


async def test_a_response_that_finds_no_connection_does_not_end_the_transaction(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    channel = net.channel("TCP")
    net.receive(request("INVITE"), channel)
    channel.close()
    user.requests[0].respond(response(user.requests[0].request, 486))
    assert user.requests[0].state is State.COMPLETED


# --- RFC 4320


async def test_a_100_to_another_method_comes_at_3_5_seconds_and_not_before(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    begin = now()
    net.receive(request("REFER", to_tag="b1"), net.channel())
    assert not user.requests[0].respond(response(user.requests[0].request, 100))
    assert not user.requests[0].respond(response(user.requests[0].request, 180))
    await asyncio.sleep(10)
    assert [t - begin for t in net.times("100")] == pytest.approx([3.5])
    assert net.names == ["100"]
    net.receive(request("REFER", to_tag="b1"), net.channel())
    assert net.names == ["100", "100"]


async def test_a_408_to_another_method_is_never_sent(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("REFER", to_tag="b1"), net.channel())
    assert not user.requests[0].respond(response(user.requests[0].request, 408))
    net.receive(request("REFER", to_tag="b1"), net.channel())
    assert net.names == []
    assert len(user.requests) == 1
    assert layer.unanswered_count == 0


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
async def test_a_request_that_nobody_answers_is_forgotten_when_its_client_has_given_up(
    layer: TransactionLayer, net: Loopback, user: Any, transport: str
) -> None:
    net.receive(request("REFER", to_tag="b1"), net.channel(transport))
    await asyncio.sleep(32.1)
    assert layer.server_count == layer.unanswered_count == 0
    assert user.ends == ["server"]
    assert not user.requests[0].respond(response(user.requests[0].request, 200))


# --- CANCEL


async def test_a_cancel_gets_200_and_the_user_answers_487(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    canceled: list[Request] = []

    def on_cancel(cancel: Request) -> None:
        canceled.append(cancel)
        transaction.respond(response(transaction.request, 487, transaction.to_tag))

    net.receive(request("INVITE"), net.channel())
    transaction: ServerTransaction = user.requests[0]
    transaction.on_cancel = on_cancel
    transaction.respond(response(transaction.request, 180, "mine"))
    net.receive(make_cancel(transaction.request), net.channel())
    assert net.names == ["180", "200", "487"]
    assert [sent.message.to.tag for sent in net.sent] == ["mine"] * 3
    assert net.sent[1].message.cseq.method == "CANCEL"
    net.receive(make_cancel(transaction.request), net.channel())
    assert net.names == ["180", "200", "487", "200"]
    assert len(canceled) == 1
    assert len(user.requests) == 1


async def test_without_a_handler_the_layer_answers_487_itself_with_the_same_tag(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("INVITE"), net.channel())
    net.receive(make_cancel(user.requests[0].request), net.channel())
    assert net.names == ["200", "487"]
    assert net.sent[0].message.to.tag == net.sent[1].message.to.tag != ""


async def test_a_cancel_after_the_final_response_changes_nothing(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("INVITE"), net.channel())
    user.requests[0].on_cancel = lambda _cancel: pytest.fail("too late")
    user.requests[0].respond(response(user.requests[0].request, 200, "mine"))
    net.receive(make_cancel(user.requests[0].request), net.channel())
    assert net.names == ["200", "200"]
    assert net.sent[1].message.to.tag == "mine"


async def test_a_cancel_of_nothing_gets_481(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("CANCEL"), net.channel())
    net.receive(request("CANCEL"), net.channel())
    assert net.names == ["481", "481"]
    assert net.sent[0].message.to.tag == net.sent[1].message.to.tag != ""
    assert user.requests == []
    assert layer.statistics.cancels_unmatched == 2
    assert layer.server_count == 0


async def test_a_cancel_of_another_method_gets_200_without_effect(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("REFER", to_tag="b1"), net.channel())
    user.requests[0].on_cancel = lambda _cancel: pytest.fail("only INVITE can be canceled")
    net.receive(request("CANCEL", to_tag="b1"), net.channel())
    assert net.names == ["200"]
    assert user.requests[0].respond(response(user.requests[0].request, 202))


# --- merged, limits, faults


async def test_a_request_that_comes_a_second_way_gets_482(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("INVITE"), net.channel())
    net.receive(request("INVITE", branch="z9hG4bKb2"), net.channel())
    assert net.names == ["482"]
    assert len(user.requests) == 1
    net.receive(request("ACK", branch="z9hG4bKb2", to_tag="x"), net.channel())
    assert user.acks == []
    net.receive(request("INVITE", branch="z9hG4bKb3", cseq=2), net.channel())
    assert len(user.requests) == 2


async def test_a_request_that_got_503_may_come_another_way_and_any_other_is_merged(
    layer: TransactionLayer, net: Loopback, user: Any
) -> None:
    for status, answers in ((503, 2), (302, 1), (486, 1), (699, 1), (200, 1)):
        user.requests.clear()
        net.receive(request("INVITE", branch=f"z9hG4bKa{status}", call_id=str(status)), net.channel())
        user.requests[0].respond(response(user.requests[0].request, status))
        net.receive(request("INVITE", branch=f"z9hG4bKb{status}", call_id=str(status)), net.channel())
        assert len(user.requests) == answers, status
        net.receive(request("INVITE", branch=f"z9hG4bKc{status}", call_id=str(status)), net.channel())
        assert len(user.requests) == answers, "the second one is ongoing"
    await asyncio.sleep(33)  # the end of the refused one leaves the mark of the second alone
    net.receive(request("INVITE", branch="z9hG4bKd", call_id="503"), net.channel())
    assert net.names[-1] == "482"


async def test_inside_a_dialog_nothing_is_merged(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("INFO", to_tag="b1"), net.channel())
    net.receive(request("INFO", to_tag="b1", branch="z9hG4bKb2"), net.channel())
    assert len(user.requests) == 2


async def test_a_request_may_come_again_another_way_once_the_first_is_forgotten(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    user.handler = lambda transaction: transaction.respond(response(transaction.request, 200))
    net.receive(request("OPTIONS"), net.channel("TCP"))
    net.receive(request("OPTIONS", branch="z9hG4bKb2"), net.channel("TCP"))
    assert net.names == ["200", "200"]


async def test_too_many_unanswered_requests_get_503_without_a_transaction(net: Loopback, user: Any) -> None:
    layer = TransactionLayer(net, asyncio.get_running_loop(), max_unanswered=2)
    layer.user = user
    for number in range(4):
        net.receive(request("INVITE", branch=f"z9hG4bK{number}", call_id=str(number)), net.channel())
    net.receive(request("INVITE", branch="z9hG4bK3", call_id="3"), net.channel())
    assert net.names == ["503", "503", "503"]
    waits = [sent.message.headers.get("Retry-After") for sent in net.sent]
    assert waits[1] == waits[2]
    assert {int(wait or 0) for wait in waits} <= set(RETRY_AFTER_S)
    assert net.sent[1].message.to.tag == net.sent[2].message.to.tag != net.sent[0].message.to.tag
    assert layer.server_count == 2
    assert (layer.statistics.requests_refused, layer.statistics.requests_repeated) == (2, 1)
    user.requests[0].respond(response(user.requests[0].request, 200))
    net.receive(request("INVITE", branch="z9hG4bKx", call_id="x"), net.channel())
    assert len(user.requests) == 3
    net.receive(make_cancel(user.requests[1].request), net.channel())  # CANCEL is always served
    assert net.names[-2:] == ["200", "487"]
    await layer.aclose()


async def test_a_fault_of_the_user_is_answered_500(
    layer: TransactionLayer, net: Loopback, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(_transaction: ServerTransaction) -> None:
        raise ValueError("mine")

    user.handler = fault
    net.receive(request("OPTIONS"), net.channel())
    assert net.names == ["500"]
    assert "ValueError: mine" in caplog.text
    assert layer.statistics.user_faults == 1


async def test_without_a_user_requests_get_503(layer: TransactionLayer, net: Loopback) -> None:
    layer.user = None
    net.receive(request("OPTIONS"), net.channel())
    net.receive(request("ACK"), net.channel())
    net.receive(response(request("INVITE"), 200), net.channel())
    assert net.names == ["503"]


async def test_after_closing_nothing_is_answered(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("INVITE"), net.channel())
    await layer.aclose()
    net.receive(request("INVITE", branch="z9hG4bKb2", call_id="c2"), net.channel())
    await asyncio.sleep(100)
    assert net.names == []
    assert layer.server_count == layer.unanswered_count == 0


async def test_an_answered_transaction_does_not_hold_its_request(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    import gc
    import weakref

    class Watched(Request):
        __slots__ = ("__weakref__",)

    for method, status in (("INVITE", 200), ("INVITE", 486), ("BYE", 200)):
        plain = request(method, branch=f"z9hG4bK{method}{status}", call_id=f"{method}{status}")
        watched = Watched(plain.method, plain.uri, plain.headers)
        reference = weakref.ref(watched)
        net.receive(watched, net.channel())
        user.requests[0].respond(response(watched, status))
        user.requests.clear()
        del watched
        gc.collect()
        assert reference() is None, (method, status)
    assert layer.server_count == 3


# --- peers of RFC 2543


async def test_requests_without_the_cookie_are_matched_by_their_fields(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(request("INVITE", branch="1"), net.channel())
    net.receive(request("INVITE", branch="1"), net.channel())
    net.receive(request("INVITE", branch="1", call_id="c2"), net.channel())
    assert len(user.requests) == 2
    user.requests[0].respond(response(user.requests[0].request, 486, "mine"))
    net.receive(request("ACK", branch="1", to_tag="other"), net.channel())
    assert user.requests[0].state == "Completed"
    assert len(user.acks) == 1
    net.receive(request("ACK", branch="1", to_tag="mine"), net.channel())
    assert user.requests[0].state == "Confirmed"
    net.receive(request("CANCEL", branch="1", call_id="c2"), net.channel())
    assert net.names == ["486", "200", "487"]


async def test_a_stray_response_of_another_method_is_dropped(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    net.receive(Response(200, headers=response(request("BYE", to_tag="b1"), 200).headers), net.channel())
    assert user.strays == []
    assert layer.statistics.responses_stray == 1
