"""Which datagrams are served first, which wait, and which are dropped unread (docs/spec/overload.md, "Datagrams")."""

import asyncio
import socket
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.transport.bucket import MAX_SOURCES
from sipua.transport.layer import TransportLayer
from sipua.transport.memory import MemoryNetwork
from sipua.transport.triage import (
    BURST_S,
    GOES_ON_PER_S,
    MAX_OF_A_SOURCE,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    Intake,
    Kind,
    StrangerLimits,
    Triage,
    Verdict,
    look,
    source_key,
)
from tests.support.tables import SPEC, read_table
from tests.support.wire import Wire

PEER, OTHER, STRANGER = ("10.0.0.9", 5060), ("10.0.0.8", 5060), ("192.0.2.66", 5060)

LOOKS = {
    Kind.NEW: [
        Wire().invite(),
        Wire().request("OPTIONS"),
        Wire().request("REFER"),
        "INVITE sip:a@b SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nt:<sip:b@b>\r\n\r\n",
        "INVITE sip:a@b SIP/2.0\r\nContact: <sip:a@b>\r\n ;tag=1\r\nTo: <sip:b@b>\r\n\r\n",
        "",
        "x" * 5000,
        "INVITE sip:a@b SIP/2.0\r\n\r\n",
    ],
    Kind.GOES_ON: [
        "SIP/2.0 200 OK\r\n\r\n",
        Wire().request("ACK"),
        Wire().request("BYE", to_tag="x"),
        Wire().request("BYE"),
        Wire().request("INVITE", to_tag="x"),
        Wire().request("NOTIFY", to_tag="x"),
        "OPTIONS sip:a@b SIP/2.0\r\nt : <sip:a@b>\r\n\t; TAG = x\r\n\r\n",
        "OPTIONS sip:a@b SIP/2.0\nTo: <sip:a@b>;tag=x\n\n",
    ],
    Kind.CANCEL: [Wire().request("CANCEL")],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in LOOKS.items() for text in texts])
def test_a_look_tells_new_requests_from_what_goes_on(kind: Kind, text: str) -> None:
    assert look(text.encode()) is kind


@given(st.binary(max_size=300))
def test_nothing_that_comes_disturbs_the_look_or_the_order(data: bytes) -> None:
    triage = Triage(Intake())
    if triage.sort(data, PEER, 0.0) is Verdict.WAITS:
        assert triage.next_waiting() == (data, PEER)
    assert len(triage) == 0


DATAGRAMS = {
    "response": "SIP/2.0 200 OK\r\n\r\n",
    "ACK": Wire().request("ACK", to_tag="x"),
    "BYE": Wire().request("BYE", to_tag="x"),
    "INVITE with a To tag": Wire().request("INVITE", to_tag="x"),
    "NOTIFY with a To tag": Wire().request("NOTIFY", to_tag="x"),
    "CANCEL, its INVITE waits": Wire().request("CANCEL", branch="same"),
    "CANCEL": Wire().request("CANCEL"),
    "INVITE": Wire().invite(),
    "OPTIONS": Wire().request("OPTIONS"),
    "junk": "\x00junk",
}


@pytest.mark.parametrize("row", read_table(SPEC / "overload.md", "Datagrams"), ids=lambda row: f"{row['Source']}: {row['Looks like']}")
def test_the_table_of_datagrams(row: dict[str, str]) -> None:
    triage = Triage(Intake(StrangerLimits(per_source=1), is_known=lambda host: host == PEER[0]))
    source = PEER if row["Source"].startswith("known") else STRANGER
    if "over its rate" in row["Source"]:
        for _ in range(2 if source is STRANGER else int(GOES_ON_PER_S * BURST_S)):
            triage.sort(b"BYE ", source, 0.0)
    if "its INVITE waits" in row["Looks like"]:
        triage.sort(Wire().invite(branch="same").encode(), PEER, 0.0)
    verdict = triage.sort(DATAGRAMS[row["Looks like"]].encode(), source, 0.0)
    assert verdict is Verdict(row["What is done"])


def test_what_goes_on_is_served_at_once_new_requests_wait_and_strangers_wait_behind_them() -> None:
    triage = Triage(Intake(is_known=lambda host: host.startswith("10.")))
    first, second = Wire().invite(call_id="1").encode(), Wire().invite(call_id="2").encode()
    bye = Wire().request("BYE", to_tag="x").encode()
    assert triage.sort(bye, STRANGER, 0.0) is Verdict.WAITS
    assert [triage.sort(data, PEER, 0.0) for data in (first, bye, second)] == [Verdict.WAITS, Verdict.NOW, Verdict.WAITS]
    assert [triage.next_waiting() for _ in range(4)] == [(first, PEER), (second, PEER), (bye, STRANGER), None]


def test_a_cancel_stays_behind_its_invite_and_overtakes_others() -> None:
    triage = Triage(Intake())
    invite, cancel = Wire().invite(branch="same").encode(), Wire().request("CANCEL", branch="same").encode()
    triage.sort(invite, PEER, 0.0)
    assert triage.sort(Wire().request("CANCEL", branch="other").encode(), PEER, 0.0) is Verdict.NOW
    assert triage.sort(cancel, OTHER, 0.0) is Verdict.NOW
    assert triage.sort(cancel, PEER, 0.0) is Verdict.WAITS
    assert [triage.next_waiting(), triage.next_waiting()] == [(invite, PEER), (cancel, PEER)]
    assert triage.sort(cancel, PEER, 0.0) is Verdict.NOW


def test_a_repetition_waits_once() -> None:
    triage = Triage(Intake())
    invite = Wire().invite().encode()
    assert [triage.sort(invite, PEER, 0.0) for _ in range(3)] == [Verdict.WAITS] * 3
    assert len(triage) == 1
    triage.next_waiting()
    assert triage.sort(invite, PEER, 0.0) is Verdict.WAITS


def test_the_queues_are_bounded_in_datagrams_and_octets() -> None:
    intake = Intake(is_known=lambda host: not host.startswith("192.0.2."))
    triage = Triage(intake)
    for number in range(MAX_WAITING):
        for peer in (PEER, OTHER):
            triage.sort(b"INVITE %d" % number, peer, 0.0)
        for last in (1, 2):
            triage.sort(b"INVITE %d" % number, ("192.0.2.66", last), 0.0)
            triage.sort(b"INVITE %d" % number, (f"192.0.2.{last}", 5060), 0.0)
    assert len(triage) == 2 * MAX_WAITING
    assert intake.shed == {"queue_full": MAX_WAITING, "strangers_queue_full": 3 * MAX_WAITING}
    triage.clear()
    for number in range(100):
        triage.sort(b"%05d" % number + b"x" * 60_000, PEER, 0.0)
    assert len(triage) == MAX_WAITING_BYTES // 60_005


def test_one_source_does_not_fill_the_queue() -> None:
    intake = Intake()
    triage = Triage(intake)
    for number in range(10_000):
        triage.sort(b"INVITE %d" % number, (PEER[0], number), 0.0)
    assert (len(triage), intake.shed) == (MAX_OF_A_SOURCE, {"queue_full": 10_000 - MAX_OF_A_SOURCE})
    assert triage.sort(b"INVITE", OTHER, 0.0) is Verdict.WAITS
    triage.next_waiting()
    assert triage.sort(b"INVITE", PEER, 0.0) is Verdict.WAITS
    assert triage.sort(b"INVITE again", PEER, 0.0) is Verdict.SHED
    while triage.next_waiting():
        pass
    assert triage.sort(b"INVITE again", PEER, 0.0) is Verdict.WAITS


def test_a_known_source_that_pretends_to_go_on_does_not_hold_up_another() -> None:
    triage = Triage(Intake())
    count = 10 * GOES_ON_PER_S  # in one second
    verdicts = Counter(triage.sort(b"BYE %d" % number, PEER, number / count) for number in range(count))
    assert verdicts[Verdict.NOW] == GOES_ON_PER_S * (BURST_S + 1) - 1
    assert verdicts[Verdict.WAITS] == MAX_OF_A_SOURCE
    assert triage.sort(b"BYE 1", OTHER, 1.0) is Verdict.NOW
    assert triage.sort(b"BYE 1", PEER, 2.0) is Verdict.NOW


def test_each_stranger_has_a_rate_and_all_together_have_another() -> None:
    intake = Intake(StrangerLimits(per_source=5, in_all=12), is_known=lambda _host: False)
    triage = Triage(intake)
    passed = Counter(host for host in ("1.1.1.1", "2.2.2.2") * 50 if triage.sort(host.encode(), (host, 1), 0.0) is not Verdict.SHED)
    assert passed == {"1.1.1.1": 10, "2.2.2.2": 10}  # two seconds' worth at once
    assert intake.shed["source_rate"] == 80
    passed = Counter(str(n) for n in range(50) if triage.sort(b"%d" % n, (f"3.3.3.{n}", 1), 0.0) is not Verdict.SHED)
    assert len(passed) == 4
    assert intake.shed["stranger_rate"] == 46


def test_a_subscriber_of_ipv6_is_one_source_whatever_address_of_its_block_it_takes() -> None:
    assert source_key("2001:db8:0:1::1") == source_key("2001:db8:0:1:ffff::2") != source_key("2001:db8:0:2::1")
    assert source_key("fe80::1%eth0") == source_key("fe80::2")
    assert source_key("192.0.2.1") != source_key("192.0.2.2")


def test_the_table_of_sources_is_bounded() -> None:
    triage = Triage(Intake(StrangerLimits(per_source=1), is_known=lambda _host: False))
    for number in range(MAX_SOURCES * 2):
        triage.sort(b"x", (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 5060), 0.0)
    assert triage.source_count == MAX_SOURCES


class Order:
    """A transport user that writes down what it gets."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_request(self, request: object, channel: object) -> None:
        del channel
        self.names.append(f"{request.method} {request.call_id}")  # type: ignore[attr-defined]

    def on_response(self, response: object, channel: object) -> None:
        """None comes here."""


async def test_within_what_one_read_gives_requests_in_a_dialog_come_before_new_ones() -> None:
    """On a real socket whose receive queue is full of new requests when the loop gets to it."""
    layer = TransportLayer()
    order = Order()
    layer.user = order
    endpoint = await layer.listen("udp:127.0.0.1:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(50):
            sender.sendto(Wire("127.0.0.1").invite(call_id=f"new{number}").encode(), ("127.0.0.1", endpoint.port))
        sender.sendto(Wire("127.0.0.1").request("BYE", call_id="old", to_tag="x").encode(), ("127.0.0.1", endpoint.port))
        while len(order.names) < 51:
            await asyncio.sleep(0)
    await layer.aclose()
    assert order.names == ["BYE old", *(f"INVITE new{number}" for number in range(50))]


async def test_what_waits_is_forgotten_at_shutdown() -> None:
    network = MemoryNetwork()
    layer = TransportLayer(network.host("10.0.0.1"))
    layer.user = order = Order()
    await layer.listen("udp:10.0.0.1:5060")
    wire = await Wire().open(network)
    wire.send(wire.invite())
    for port in layer._udp:
        port.on_datagram(wire.invite().encode(), PEER)
    await layer.aclose()
    await asyncio.sleep(0)
    assert order.names == []
