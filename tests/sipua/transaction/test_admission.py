"""The door for requests outside a dialog."""

from typing import Any

import pytest

from sipua.message import Request, make_cancel
from sipua.transaction.admission import SILENCE, Refusal
from sipua.transaction.layer import TransactionLayer
from sipua.transport.base import Channel
from tests.support.loopback import Loopback
from tests.support.messages import request


async def test_a_refused_request_costs_no_transaction(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    layer.admit = lambda _request, _channel: Refusal(403, "Who are you", (("Retry-After", "7"),))
    for _ in range(2):
        net.receive(request("INVITE"), net.channel())
    assert net.names == ["403", "403"]
    first, again = (sent.message for sent in net.sent)
    assert first.headers.get("Retry-After") == "7"
    assert first.to.tag == again.to.tag != ""
    assert user.requests == []
    assert (layer.server_count, layer.statistics.requests_refused) == (0, 2)


async def test_silence_sends_nothing(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    layer.admit = lambda _request, _channel: Refusal(SILENCE)
    net.receive(request("OPTIONS"), net.channel())
    assert (net.names, user.requests) == ([], [])


async def test_requests_in_a_dialog_and_cancel_are_not_asked_for(layer: TransactionLayer, net: Loopback, user: Any) -> None:
    asked: list[str] = []

    def admit(new: Request, _channel: Channel) -> None:
        asked.append(new.method)

    layer.admit = admit
    net.receive(request("INVITE"), net.channel())
    net.receive(request("BYE", to_tag="b1", branch="z9hG4bKb"), net.channel())
    net.receive(make_cancel(user.requests[0].request), net.channel())
    net.receive(request("INVITE"), net.channel())  # a retransmission
    assert asked == ["INVITE"]


async def test_a_fault_of_the_door_lets_nobody_in(
    layer: TransactionLayer, net: Loopback, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(_request: Request, _channel: Channel) -> None:
        raise ValueError("mine")

    layer.admit = fault
    net.receive(request("INVITE"), net.channel())
    assert (net.names, user.requests) == (["500"], [])
    assert "ValueError: mine" in caplog.text
