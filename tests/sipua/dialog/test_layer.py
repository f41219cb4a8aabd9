"""Dialogs and their usages (RFC 3261 §12, RFC 5057), with transactions and usages that a test plays."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import cast

import pytest

from sipua.dialog.layer import Dialog, DialogLayer
from sipua.dialog.state import DialogState
from sipua.message import Request, Response, make_response
from sipua.timers import Timing
from sipua.transaction.exchange import Exchanger
from sipua.transaction.layer import ServerTransaction, TransactionLayer
from sipua.transport.base import Channel, Endpoint
from tests.support.messages import request as make_request
from tests.support.tables import SPEC, read_table

pytestmark = pytest.mark.looptime


class FakeTransactions:
    """Takes the layer as its user and keeps ACKs."""

    def __init__(self) -> None:
        self.user: object = None
        self.timing = Timing()
        self.acks: list[Request] = []

    def send_ack(self, ack: Request, channel: Channel) -> None:
        self.acks.append(ack)


class FakeExchanger:
    """Has a way to everybody."""

    async def channel_for(self, request: Request) -> object:
        return FakeChannel()


class FakeChannel:
    """An address."""

    remote = Endpoint("UDP", "192.0.2.1", 5060)


@dataclass
class FakeTransaction:
    """A request, and what it was answered."""

    request: Request
    answers: list[Response] = field(default_factory=list)
    channel: FakeChannel = field(default_factory=FakeChannel)

    def respond(self, response: Response) -> bool:
        self.answers.append(response)
        return True


@dataclass
class FakeUsage:
    """Accepts what *methods* names."""

    methods: tuple[str, ...]
    got: list[str] = field(default_factory=list)
    overtaken: list[str] = field(default_factory=list)
    acks: int = 0
    layer: Dialog | None = None

    def accepts(self, request: Request) -> bool:
        return request.method in self.methods

    def on_request(self, transaction: ServerTransaction) -> None:
        self.got.append(transaction.request.method)

    def on_overtaken(self, transaction: ServerTransaction) -> None:
        self.overtaken.append(transaction.request.method)

    def on_ack(self, ack: Request) -> None:
        self.acks += 1

    def close(self) -> None:
        if self.layer is not None:
            self.layer.detach(self)


class Bench:
    """A layer with one dialog: Call-ID ``c1@192.0.2.1``, our tag ``b1``, the peer's ``a1``."""

    def __init__(self) -> None:
        self.transactions = FakeTransactions()
        self.layer = DialogLayer(
            cast(TransactionLayer, self.transactions), cast(Exchanger, FakeExchanger()), user_agent="test", rng=random.Random(1)
        )
        self.initial: list[str] = []
        self.layer.user = self
        state = DialogState.from_uas(self._opening(), "b1")
        self.dialog = Dialog(state, self.layer, "<sip:me@192.0.2.2>")

    @staticmethod
    def _opening() -> Request:
        request = make_request("INVITE", cseq=10)
        request.headers.add("Contact", "<sip:alice@192.0.2.1>")
        return request

    def on_initial_request(self, transaction: ServerTransaction) -> None:
        self.initial.append(transaction.request.method)

    def answer_alone(self, request: Request, tag: str) -> Response | None:
        return None if request.method == "INVITE" else make_response(request, 603, to_tag=tag)

    def receive(self, method: str, *headers: tuple[str, str], cseq: int = 11, to_tag: str = "b1") -> list[int]:
        """Let a request come; return the statuses that it was answered."""
        request = make_request(method, cseq=cseq, to_tag=to_tag)
        for name, value in headers:
            request.headers.set(name, value)
        transaction = FakeTransaction(request)
        self.layer.on_request(cast(ServerTransaction, transaction))
        return [answer.status for answer in transaction.answers]


async def test_request_without_to_tag_is_the_users() -> None:
    bench = Bench()
    assert bench.receive("INVITE", to_tag="") == []
    assert bench.initial == ["INVITE"]
    bench.layer.user = None
    assert bench.receive("INVITE", to_tag="") == [480]


async def test_request_in_a_dialog_goes_to_the_usage_that_accepts_it() -> None:
    bench = Bench()
    call, subscription = FakeUsage(("INFO", "BYE")), FakeUsage(("NOTIFY",))
    bench.dialog.attach(call)
    bench.dialog.attach(subscription)
    assert bench.receive("INFO") == []
    assert bench.receive("NOTIFY", cseq=12) == []
    assert (call.got, subscription.got) == (["INFO"], ["NOTIFY"])


async def test_dialog_lives_as_long_as_its_last_usage() -> None:
    bench = Bench()
    call, subscription = FakeUsage(("INFO",)), FakeUsage(("NOTIFY",))
    bench.dialog.attach(call)
    bench.dialog.attach(call)
    bench.dialog.attach(subscription)
    assert len(bench.dialog.usages) == 2
    bench.dialog.detach(call)
    assert bench.receive("INFO") == [481]
    assert bench.receive("NOTIFY", cseq=12) == []
    bench.dialog.detach(subscription)
    bench.dialog.detach(subscription)
    assert len(bench.layer) == 0
    assert bench.receive("NOTIFY", cseq=13) == [481]


async def test_overtaken_request_is_answered_500_and_told_to_its_usage() -> None:
    bench = Bench()
    usage = FakeUsage(("NOTIFY",))
    bench.dialog.attach(usage)
    assert bench.receive("NOTIFY", cseq=20) == []
    assert bench.receive("NOTIFY", cseq=19) == [500]
    assert bench.receive("BYE", cseq=19) == [481]
    assert usage.overtaken == ["NOTIFY"]


@pytest.mark.parametrize("row", read_table(SPEC / "dialog.md", "Overtaken requests"), ids=lambda row: row["Request"])
async def test_every_row_of_the_overtaken_requests_holds(row: dict[str, str]) -> None:
    bench = Bench()
    method = row["Request"]
    usage = FakeUsage(("OPTIONS", method))
    bench.dialog.attach(usage)
    bench.receive("OPTIONS", cseq=20)
    served = method == "BYE"
    for number in (20, 19):
        assert bench.receive(method, cseq=number) == ([] if served else [500])
    assert usage.got == ["OPTIONS", *([method] * 2 if served else [])]
    assert usage.overtaken == ([] if served else [method] * 2)
    assert (row["Answer"], row["Usage"]) == (("200", "serves it") if served else ("500", "is told"))


async def test_refused_request_takes_its_number_all_the_same() -> None:
    bench = Bench()
    bench.dialog.attach(FakeUsage(("INFO",)))
    assert bench.receive("NOTIFY", ("Event", "presence"), cseq=20) == [489]
    assert bench.receive("INFO", cseq=15) == [500]


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("FROB", (), 501),
        ("MESSAGE", (), 405),
        ("INFO", (("Require", "x"),), 420),
        ("NOTIFY", (("Event", "refer"),), 481),
        ("NOTIFY", (("Event", ";;"),), 489),
        ("BYE", (), 481),
    ],
)
async def test_request_that_no_usage_wants_is_refused(method: str, headers: tuple[tuple[str, str], ...], status: int) -> None:
    bench = Bench()
    bench.dialog.attach(FakeUsage(()))
    assert bench.receive(method, *headers) == [status]


async def test_ack_goes_to_every_usage_of_its_dialog_and_elsewhere_to_nobody() -> None:
    bench = Bench()
    usage = FakeUsage(())
    bench.dialog.attach(usage)
    channel = cast(Channel, FakeChannel())
    bench.layer.on_ack(make_request("ACK", to_tag="b1"), channel)
    bench.layer.on_ack(make_request("ACK", to_tag="else"), channel)
    assert usage.acks == 1


async def test_numbers_rise_by_one_from_a_random_first() -> None:
    bench = Bench()
    first = bench.dialog.new_request("INFO")
    assert 1 <= first.cseq.number < 2**15
    assert bench.dialog.new_request("BYE").cseq.number == first.cseq.number + 1
    assert first.headers.get("Contact") == "<sip:me@192.0.2.2>"
    assert first.headers.get("User-Agent") == "test"


async def test_names_are_fresh_and_long() -> None:
    layer = Bench().layer
    assert len({layer.new_tag() for _ in range(100)}) == 100
    assert len({layer.new_call_id() for _ in range(100)}) == 100
    assert len(layer.new_tag()) == 16
    assert 2.0 <= layer.uniform(2.0, 3.0) <= 3.0


async def test_late_2xx_has_its_handler_for_64_t1() -> None:
    layer = Bench().layer
    ok = make_response(make_request("INVITE", from_tag="ours"), 200, to_tag="x")
    seen: list[Response] = []
    key = ("c1@192.0.2.1", "ours")
    channel = cast(Channel, FakeChannel())
    layer.on_stray_response(ok, channel)
    layer.expect_2xx(key, seen.append)
    layer.on_stray_response(ok, channel)
    layer.forget_2xx_later(key)
    await asyncio.sleep(31)
    layer.on_stray_response(ok, channel)
    layer.forget_2xx_later(key)
    await asyncio.sleep(31)
    layer.on_stray_response(ok, channel)
    await asyncio.sleep(2)
    layer.on_stray_response(ok, channel)
    assert len(seen) == 3
    assert layer.stray_2xx == {}
    layer.forget_2xx_later(key)


async def test_close_forgets_everything() -> None:
    bench = Bench()
    usage = FakeUsage((), layer=bench.dialog)
    bench.dialog.attach(usage)
    bench.layer.expect_2xx(("a", "b"), lambda _response: None)
    bench.layer.forget_2xx_later(("a", "b"))
    bench.layer.close()
    assert len(bench.layer) == 0
    assert bench.layer.stray_2xx == {}


async def test_ack_has_the_number_the_credentials_and_the_answer() -> None:
    bench = Bench()
    await bench.layer.send_ack(bench.dialog, 5, b"v=0", [("Authorization", "Digest x")])
    ack = bench.transactions.acks[0]
    assert (ack.method, ack.cseq.number, ack.body) == ("ACK", 5, b"v=0")
    assert ack.headers.get("Authorization") == "Digest x"
    assert "Contact" not in ack.headers
