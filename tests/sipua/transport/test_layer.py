"""The transport layer on a memory network."""

import asyncio
import logging
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import TransportError
from sipua.message import Headers, Response, Uri, make_response
from sipua.transport import Endpoint, MemoryNetwork, TransportLayer, Transports
from sipua.transport.advertised import Advertised
from sipua.transport.layer import MAX_UDP_REQUEST
from tests.support.transport import ALICE, BOB, Pair, Recorder, ask, options

pytestmark = pytest.mark.looptime

BIG = b"x" * MAX_UDP_REQUEST


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize(("alice", "bob"), [(ALICE, BOB), ("2001:db8::1", "2001:db8::2")])
async def test_a_request_is_answered_over_the_transport_it_came_by(transport: str, alice: str, bob: str) -> None:
    async with Pair(alice=alice, bob=bob) as pair:
        channel = await ask(pair.alice.layer, pair.bob_at(transport))
        await pair.alice.wait(lambda alice: len(alice.responses) == 1)
        request, _ = pair.bob.requests[0]
        assert request.via.transport == transport
        assert request.via.received == alice
        assert request.via.rport == (5060 if transport == "UDP" else channel.local.port)
        assert request.via.port == 5060
        response, by = pair.alice.responses[0]
        assert response.status == 200
        assert by.local.transport == transport
        assert pair.alice.layer.counters["sent"] == pair.alice.layer.counters["received"] == 1


async def test_a_large_request_goes_by_tcp_and_its_via_says_so() -> None:
    async with Pair() as pair:
        channel = await ask(pair.alice.layer, pair.bob_at("UDP"), body=BIG)
        await pair.alice.wait(lambda alice: len(alice.responses) == 1)
        assert channel.remote == pair.bob_at("TCP")
        assert pair.bob.requests[0][0].via.transport == "TCP"
        assert pair.bob.requests[0][0].body == BIG


async def test_a_large_request_falls_back_to_udp_and_the_refusal_is_remembered_for_a_minute() -> None:
    async with Pair() as pair:
        pair.network.silence_tcp(BOB)
        loop = asyncio.get_running_loop()
        started = loop.time()
        channel = await ask(pair.alice.layer, pair.bob_at("UDP"), body=BIG)
        assert channel.remote.transport == "UDP"
        assert loop.time() - started == pytest.approx(4.0, abs=0.01)
        await pair.alice.wait(lambda alice: len(alice.responses) == 1)  # an equal datagram that waits would be dropped
        await ask(pair.alice.layer, pair.bob_at("UDP"), body=BIG)
        assert loop.time() - started == pytest.approx(4.0, abs=0.01)
        await pair.alice.wait(lambda alice: len(alice.responses) == 2)
        await asyncio.sleep(61)
        pair.network.silent.clear()
        assert (await ask(pair.alice.layer, pair.bob_at("UDP"), body=BIG)).remote.transport == "TCP"


@pytest.mark.parametrize(
    "via",
    [
        ["SIP/2.0/UDP 10.9.9.9:5060;branch=z9hG4bKx"],
        [f"SIP/2.0/UDP {ALICE}:5061;branch=z9hG4bKx"],
        [f"SIP/2.0/UDP {ALICE}:5060;branch=z9hG4bKx", "SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKy"],
        [f"SIP/2.0/UDP {ALICE}:5060;branch=z9hG4bKx, SIP/2.0/UDP 10.9.9.9"],
    ],
)
async def test_a_response_that_is_not_for_us_alone_is_dropped(via: list[str]) -> None:
    async with Pair() as pair:
        channel = await pair.bob.layer.channel_to(Endpoint("UDP", ALICE, 5060))
        response = Response(200, "OK", Headers([("Via", value) for value in via]))
        for name, value in [("From", "<sip:a@a>;tag=1"), ("To", "<sip:b@b>;tag=2"), ("Call-ID", "x"), ("CSeq", "1 OPTIONS")]:
            response.headers.add(name, value)
        channel.send(response.encode())
        await asyncio.sleep(1)
        assert pair.alice.responses == []
        assert pair.alice.layer.counters["dropped"] == 1


async def test_the_advertised_host_stands_in_via_and_marks_responses_as_ours() -> None:
    network = MemoryNetwork()
    alice = Recorder(TransportLayer(network.host(ALICE), advertised=Advertised("sip.example.com")))
    bob = Recorder(TransportLayer(network.host(BOB)), answer=200)
    await alice.layer.listen("udp:0.0.0.0:5070")
    where = await bob.layer.listen(f"udp:{BOB}:5060")
    channel = await ask(alice.layer, where)
    assert channel.local == Endpoint("UDP", ALICE, 5070)
    await alice.wait(lambda alice: len(alice.responses) == 1)
    via = bob.requests[0][0].via
    assert (via.sent_by, via.received, via.rport) == ("sip.example.com:5070", ALICE, 5070)
    await alice.layer.aclose()
    await bob.layer.aclose()


async def test_a_wildcard_listener_names_the_address_that_the_peer_sees() -> None:
    network = MemoryNetwork()
    layer = TransportLayer(network.host(ALICE))
    await layer.listen("udp:0.0.0.0:5060")
    channel = await layer.channel_to(Endpoint("UDP", BOB, 5060))
    assert layer.via_for(channel, "z9hG4bKq") == f"SIP/2.0/UDP {ALICE}:5060;branch=z9hG4bKq;rport"
    await layer.aclose()


async def test_a_channel_needs_a_socket_of_the_targets_family_and_a_known_transport() -> None:
    async with Pair() as pair:
        with pytest.raises(TransportError, match="no UDP socket for the address family"):
            await pair.alice.layer.channel_to(Endpoint("UDP", "::1", 5060))
        with pytest.raises(TransportError, match="TLS is not set up here"):
            await pair.alice.layer.channel_to(Endpoint("TLS", BOB, 5061))
        with pytest.raises(TransportError, match="no certificate is set"):
            await pair.alice.layer.listen("tls:10.0.0.1:5061")
        with pytest.raises(TransportError, match="already in use"):
            await pair.alice.layer.listen("udp:10.0.0.1:5060")
    with pytest.raises(TransportError, match="closed"):
        await pair.alice.layer.channel_to(pair.bob_at("UDP"))
    with pytest.raises(TransportError, match="closed"):
        await pair.alice.layer.listen("udp:10.0.0.1:5060")


async def test_a_datagram_that_the_socket_refuses_is_a_transport_error() -> None:
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("UDP"))
        with pytest.raises(TransportError, match="Message too long"):
            pair.alice.layer.send_request(options(pair.alice.layer.via_for(channel, "z9hG4bKx"), body=b"x" * 66_000), channel)
        assert pair.alice.layer.counters["send_errors"] == 1


async def test_keepalives_and_stun_over_udp_are_ignored() -> None:
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("UDP"))
        for data in (b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0", b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), b"\r\n\r\n\r\n"):
            channel.send(data)
        await asyncio.sleep(1)
        assert pair.bob.layer.counters["keepalives"] == 6
        assert pair.bob.layer.counters["malformed"] == 0


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
async def test_a_broken_request_is_answered_without_state(transport: str) -> None:
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at(transport))
        request = options(pair.alice.layer.via_for(channel, "z9hG4bKx"))
        request.headers.set("CSeq", "1 INVITE")
        channel.send(request.encode())
        await pair.alice.wait(lambda alice: len(alice.responses) == 1)
        response, _ = pair.alice.responses[0]
        assert (response.status, response.reason) == (400, "CSeq names another method")
        assert response.to.tag
        assert (pair.bob.requests, pair.bob.layer.counters["malformed"], pair.bob.layer.counters["rejected"]) == ([], 1, 1)
        assert channel.is_open


async def test_a_request_without_mandatory_fields_is_answered_from_what_it_has_to_where_it_came_from() -> None:
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("UDP"))
        channel.send(b"OPTIONS sip:b SIP/2.0\r\nVia: SIP/9.0/UDP ;;;\r\nTo: <sip:b@b>\r\nCSeq: 7 OPTIONS\r\n\r\n")
        await asyncio.sleep(1)
        answer = pair.network.packets[-1]
        assert answer.destination == (ALICE, 5060)
        assert answer.data.startswith(b"SIP/2.0 400 ")
        assert b"Call-ID" not in answer.data
        assert b"\r\nTo: <sip:b@b>;tag=" in answer.data
        assert b"\r\nCSeq: 7 OPTIONS\r\n" in answer.data


@pytest.mark.parametrize("data", [b"ACK sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n", b"garbage\r\n\r\n", b"A"])
async def test_broken_acks_responses_and_garbage_are_dropped(data: bytes) -> None:
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("UDP"))
        channel.send(data)
        await asyncio.sleep(1)
        assert len(pair.network.packets) == 1
        assert pair.bob.layer.counters["malformed"] == pair.bob.layer.counters["dropped"] == 1


async def test_an_exception_above_is_logged_and_counted_and_costs_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Pair() as pair:

        def fail(*_: object) -> None:
            raise RuntimeError("no")

        monkeypatch.setattr(pair.bob, "on_request", fail)
        for transport in ("UDP", "TCP"):
            await ask(pair.alice.layer, pair.bob_at(transport))
        await asyncio.sleep(1)
        assert pair.bob.layer.counters["user_errors"] == 2
        assert len([record for record in caplog.records if "handling a message" in record.getMessage()]) == 1


async def test_a_flood_of_broken_messages_makes_one_line_in_an_interval(caplog: pytest.LogCaptureFixture) -> None:
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("UDP"))
        for _ in range(100):
            channel.send(b"garbage")
        await asyncio.sleep(1)
        assert len([record for record in caplog.records if record.getMessage().startswith("malformed")]) == 1


async def test_trace_hooks_see_both_directions_and_a_failing_one_does_no_harm() -> None:
    async with Pair() as pair:
        seen: list[tuple[str, bytes, str]] = []

        def fail(*_: object) -> None:
            raise RuntimeError("no")

        pair.alice.layer.trace += [fail, lambda direction, data, channel: seen.append((direction, data[:7], channel.remote.host))]
        await ask(pair.alice.layer, pair.bob_at("TCP"))
        await pair.alice.wait(lambda alice: len(alice.responses) == 1)
        assert seen == [("out", b"OPTIONS", BOB), ("in", b"SIP/2.0", BOB)]


async def test_the_debug_log_shows_messages_without_credentials(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sipua.transport")
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("UDP"))
        request = options(pair.alice.layer.via_for(channel, "z9hG4bKx"))
        request.headers.add("Authorization", 'Digest username="alice", response="secret1"')
        request.headers.add("Proxy-Authorization", 'Digest username="alice", response="secret2"')
        pair.alice.layer.send_request(request, channel)
        await asyncio.sleep(1)
    assert caplog.text.count("OPTIONS sip:bob@bob.example") == 2
    assert caplog.text.count("Proxy-Authorization: ***") == 2
    assert "secret" not in caplog.text


MESSAGE = options(f"SIP/2.0/UDP {ALICE}:5060;branch=z9hG4bKx;rport").encode()
FRAGMENTS = [
    MESSAGE,
    MESSAGE[:60],
    b"\r\n",
    b"Via: ",
    b"Via: SIP/2.0/UDP [::1];maddr=224.0.0.1\r\n",
    b"Content-Length: 5\r\n",
    b"\xff\0",
    b"SIP/2.0 ",
]


@given(data=st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(FRAGMENTS)), max_size=6).map(b"".join), cut=st.integers(1, 200))
async def test_random_bytes_never_break_the_layer(data: bytes, cut: int) -> None:
    async with Pair() as pair:
        udp = await pair.alice.layer.channel_to(pair.bob_at("UDP"))
        tcp = await pair.alice.layer.channel_to(pair.bob_at("TCP"))
        udp.send(data)
        for start in range(0, len(data), cut):
            if tcp.is_open:
                tcp.send(data[start : start + cut])
                await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        count = len(pair.bob.requests)
        await ask(pair.alice.layer, pair.bob_at("UDP"), call_id="after")
        await pair.bob.wait(lambda bob: len(bob.requests) > count)
        assert pair.bob.requests[-1][0].call_id == "after"
        assert pair.bob.layer.counters["user_errors"] == 0


async def test_a_response_goes_to_the_source_whatever_maddr_says() -> None:
    async with Pair() as pair:
        carol = Recorder(TransportLayer(pair.network.host("10.0.0.3")))
        await carol.layer.listen("udp:10.0.0.3:5060")
        channel = await pair.alice.layer.channel_to(pair.bob_at("UDP"))
        via = pair.alice.layer.via_for(channel, "z9hG4bKx")
        for maddr in ("10.0.0.3", "224.0.1.75", "255.255.255.255"):
            pair.alice.layer.send_request(options(f"{via};maddr={maddr}"), channel)
        await asyncio.sleep(1)
        destinations = [packet.destination[0] for packet in pair.network.packets if packet.data.startswith(b"SIP/2.0")]
        assert destinations == [ALICE, ALICE, ALICE]
        assert carol.responses == []
        await carol.layer.aclose()


@pytest.mark.parametrize("cseq", ["1 OPTIONS", "1 INVITE"])  # one that is served, and one that is refused without state
@pytest.mark.parametrize("params", ["", ";x=<q", ";rport;x=<q", ";x=<q;rport", ';rport;x=a"b"c"', ";rport" + ";abcdef" * 62, ";a" * 64])
async def test_a_response_goes_to_the_source_whatever_hides_the_stamp(params: str, cseq: str) -> None:
    async with Pair() as pair:
        channel = await pair.alice.layer.channel_to(pair.bob_at("UDP"))
        request = options(f"SIP/2.0/UDP 10.0.0.3:53;branch=z9hG4bKx{params}")
        request.headers.set("CSeq", cseq)
        channel.send(request.encode())
        await asyncio.sleep(1)
        answers = [packet for packet in pair.network.packets if packet.data.startswith(b"SIP/2.0")]
        assert [packet.destination[0] for packet in answers] == [ALICE]
        assert pair.bob.layer.counters["user_errors"] == 0


async def test_messages_that_nobody_wants_are_dropped_and_counted() -> None:
    network = MemoryNetwork()
    layer: Transports = TransportLayer(network.host(ALICE))
    assert isinstance(layer, TransportLayer)
    where = await layer.listen(f"udp:{ALICE}:5060")
    async with Pair(network, alice="10.0.0.4") as pair:
        await ask(pair.alice.layer, where)
        await asyncio.sleep(1)
    assert (layer.counters["received"], layer.counters["dropped"]) == (1, 1)
    await layer.aclose()


async def test_a_response_too_long_for_a_datagram_is_dropped_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async with Pair() as pair:
        pair.bob.answer = 0
        await ask(pair.alice.layer, pair.bob_at("UDP"))
        await pair.bob.wait(lambda bob: len(bob.requests) == 1)
        request, channel = pair.bob.requests[0]
        response = make_response(request, 200, to_tag="b")
        response.set_body(b"x" * 70_000, "text/plain")
        pair.bob.layer.send_response(response, channel)
        assert pair.bob.layer.counters["send_errors"] == 1
        assert "Message too long" in caplog.text


async def test_requests_survive_a_terrible_network_when_they_are_repeated() -> None:
    network = MemoryNetwork(random.Random(1), loss=0.3, duplicate=0.3, reorder=0.3, delay=(0.01, 0.1))
    async with Pair(network) as pair:
        for _ in range(20):
            await ask(pair.alice.layer, pair.bob_at("UDP"))
            await asyncio.sleep(0.5)
        assert pair.alice.responses
        assert pair.bob.layer.counters["malformed"] == pair.alice.layer.counters["dropped"] == 0


async def test_of_several_sockets_the_one_at_the_source_address_is_taken() -> None:
    network = MemoryNetwork()
    layer = TransportLayer(network.host(ALICE))
    wildcard = await layer.listen("udp:0.0.0.0:5060")
    exact = await layer.listen(f"udp:{ALICE}:5070")
    assert (wildcard.port, exact.port) == (5060, 5070)
    assert (await layer.channel_to(Endpoint("UDP", BOB, 5060))).local.port == 5070
    await layer.aclose()


async def test_a_fault_of_the_parser_costs_one_message(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(data: bytes) -> None:
        raise RecursionError("deep")

    async with Pair() as pair:
        with monkeypatch.context() as patch:
            patch.setattr("sipua.transport.layer.parse_message", fail)
            await ask(pair.alice.layer, pair.bob_at("UDP"))
            await asyncio.sleep(1)
        assert pair.bob.layer.counters["dropped"] == 1
        assert "RecursionError" in caplog.text
        await ask(pair.alice.layer, pair.bob_at("UDP"))
        await pair.alice.wait(lambda alice: len(alice.responses) == 1)


async def test_messages_above_our_own_limit_are_malformed() -> None:
    network = MemoryNetwork()
    small = Recorder(TransportLayer(network.host("10.0.0.4"), max_message_bytes=1000), answer=200)
    udp, tcp = await small.layer.listen("udp:10.0.0.4:5060"), await small.layer.listen("tcp:10.0.0.4:5060")
    async with Pair(network) as pair:
        for where in (udp, tcp):
            channel = await pair.alice.layer.channel_to(where)
            pair.alice.layer.send_request(options(pair.alice.layer.via_for(channel, "z9hG4bKx"), body=b"x" * 1000), channel)
        await pair.alice.wait(lambda alice: len(alice.responses) == 1)
        assert (pair.alice.responses[0][0].status, pair.alice.responses[0][1].local.transport) == (513, "TCP")
        assert (small.requests, small.layer.counters["malformed"]) == ([], 2)
    await small.layer.aclose()


async def test_names_are_resolved_by_the_networks_own_look_up() -> None:
    async with Pair() as pair:
        assert await pair.alice.layer.resolve(Uri.parse("sip:bob@bob.example;transport=tcp")) == [pair.bob_at("TCP")]
