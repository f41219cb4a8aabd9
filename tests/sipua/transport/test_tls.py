"""TLS between two transport layers on the network in memory: real handshakes, virtual time."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from sipua.errors import TransportError
from sipua.message import make_response
from sipua.transport import Endpoint, MemoryNetwork, TransportLayer
from sipua.transport.certificates import CertificateError, TlsSettings, VerifyClients
from sipua.transport.network import Stream
from sipua.transport.tcp import MAX_UNSENT_BYTES
from sipua.transport.tls import ALERT_SECONDS, Tls
from tests.support.certificates import Authority
from tests.support.transport import ALICE, BOB, Recorder, ask, options

pytestmark = pytest.mark.looptime

BOB_NAMED = Endpoint("TLS", BOB, 5061, "bob.example")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Stage:
    """Alice and Bob with certificates, each listening at TLS port 5061; Bob answers 200."""

    def __init__(self, alice: Tls, bob: Tls, network: MemoryNetwork | None = None, **options_of_bob: Any) -> None:
        self.network = network or MemoryNetwork(record=True, delay=(0.01, 0.01))
        self.alice = Recorder(TransportLayer(self.network.host(ALICE), tls=alice))
        self.bob = Recorder(TransportLayer(self.network.host(BOB, "bob.example"), tls=bob, **options_of_bob), answer=200)

    async def __aenter__(self) -> Self:
        for recorder, host in ((self.alice, ALICE), (self.bob, BOB)):
            if recorder.layer._tls is not None and recorder.layer._tls.contexts.server is not None:
                await recorder.layer.listen(f"tls:{host}:5061")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.alice.layer.aclose()
        await self.bob.layer.aclose()

    async def raw(self, port: int = 5061) -> "Raw":
        """Connect to Bob without TLS."""
        made: list[Raw] = []

        def opened(stream: Stream) -> Raw:
            made.append(Raw(stream))
            return made[0]

        await self.network.host("10.0.0.66").connect_tcp(BOB, port, opened)
        return made[0]


class Raw:
    """A peer that sends octets."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.received = b""
        self.closed_at: float | None = None

    def on_data(self, data: bytes) -> None:
        self.received += data

    def on_closed(self) -> None:
        self.closed_at = asyncio.get_running_loop().time()


@pytest.fixture
async def stage(authority: Authority) -> AsyncIterator[Stage]:
    async with Stage(authority.tls("alice.example"), authority.tls("bob.example", BOB)) as made:
        yield made


async def test_request_and_response_cross_tls(stage: Stage) -> None:
    channel = await ask(stage.alice.layer, BOB_NAMED)
    await stage.alice.wait(lambda alice: len(alice.responses) == 1)
    request, inbound = stage.bob.requests[0]
    assert str(request.via).startswith(f"SIP/2.0/TLS {ALICE}:5061;branch=z9hG4bKx;rport=")
    assert "alias" in request.via.params
    assert channel.remote == BOB_NAMED
    assert channel.identity == ("bob.example", BOB)
    assert (inbound.remote.transport, inbound.identity) == ("TLS", ())
    assert await stage.alice.layer.channel_to(BOB_NAMED) is channel
    assert not any(b"OPTIONS" in packet.data for packet in stage.network.packets)


async def test_the_handshake_names_the_domain_and_leaves_addresses_out(stage: Stage) -> None:
    await stage.alice.layer.channel_to(BOB_NAMED)
    assert any(b"bob.example" in packet.data for packet in stage.network.packets)
    stage.network.packets.clear()
    await stage.alice.layer.channel_to(Endpoint("TLS", BOB, 5061, BOB))
    assert not any(BOB.encode() in packet.data for packet in stage.network.packets)


async def test_another_name_at_the_same_address_gets_a_check_of_its_own(stage: Stage) -> None:
    await stage.alice.layer.channel_to(BOB_NAMED)
    with pytest.raises(TransportError, match=r"does not stand for carol\.example but for bob\.example, 10\.0\.0\.2"):
        await stage.alice.layer.channel_to(BOB_NAMED._replace(name="carol.example"))
    assert stage.alice.layer.counters["handshakes_failed"] == 1
    assert stage.bob.layer.connections == 1


@pytest.mark.parametrize("name", ["", "a" * 64 + ".example", "..", "\x00"])
async def test_a_name_that_no_certificate_has_fails_and_harms_nobody(stage: Stage, name: str) -> None:
    with pytest.raises(TransportError):
        await stage.alice.layer.channel_to(BOB_NAMED._replace(name=name))
    await asyncio.sleep(60)
    assert stage.bob.layer.connections == 0


async def test_servers_are_not_checked_when_the_settings_say_so(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    async with Stage(authority.tls("alice.example", verify_servers=False), other.tls(pair=other.expired("x.example"))) as stage:
        channel = await ask(stage.alice.layer, BOB_NAMED)
        await stage.alice.wait(lambda alice: len(alice.responses) == 1)
        assert channel.identity == ()


@pytest.mark.parametrize(
    ("make", "reason", "text"),
    [
        (lambda ca, other: other.tls("bob.example"), "unknown_ca", "comes from an authority that we don't know"),
        (lambda ca, other: ca.tls(pair=ca.expired("bob.example")), "expired", "has expired; renew it there"),
        (lambda ca, other: ca.tls("carol.example"), "wrong_name", "wildcards don't count"),
        (lambda ca, other: ca.tls("*.example"), "wrong_name", r"but for \*\.example"),
        (lambda ca, other: ca.tls("bob.example", verify=VerifyClients.REQUIRED), "", ""),
    ],
)
async def test_a_server_that_is_not_who_was_asked_for_gets_nothing(
    authority: Authority, tmp_path: Path, make: Any, reason: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Stage(authority.tls("alice.example"), make(authority, Authority(tmp_path))) as stage:
        if not reason:
            await stage.alice.layer.channel_to(BOB_NAMED)
            return
        with pytest.raises(TransportError, match=text):
            await stage.alice.layer.channel_to(BOB_NAMED)
        assert stage.alice.layer._tls is not None
        assert stage.alice.layer._tls.failures[reason] == 1
        await asyncio.sleep(1)
        assert (stage.alice.layer.connections, stage.bob.layer.connections) == (0, 0)
        assert stage.bob.requests == []
        assert f"TLS with {BOB} failed ({reason})" in caplog.text
        assert f"TLS with {ALICE} failed (" in caplog.text


@pytest.mark.parametrize("verify", [VerifyClients.OPTIONAL, VerifyClients.REQUIRED])
async def test_a_clients_certificate_gives_its_requests_an_identity(authority: Authority, verify: VerifyClients) -> None:
    async with Stage(authority.tls("alice.example", ALICE), authority.tls("bob.example", verify=verify)) as stage:
        await ask(stage.alice.layer, BOB_NAMED)
        await stage.alice.wait(lambda alice: len(alice.responses) == 1)
        assert stage.bob.requests[0][1].identity == ("alice.example", ALICE)


async def test_a_client_without_a_certificate_is_let_in_only_where_that_is_optional(authority: Authority, tmp_path: Path) -> None:
    nobody = authority.tls()
    async with Stage(nobody, authority.tls("bob.example", verify=VerifyClients.OPTIONAL)) as stage:
        await ask(stage.alice.layer, BOB_NAMED)
        await stage.alice.wait(lambda alice: len(alice.responses) == 1)
        assert stage.bob.requests[0][1].identity == ()
    for client in (nobody, Tls(replace(Authority(tmp_path).settings("alice.example"), ca_file=str(authority.file)))):
        async with Stage(client, authority.tls("bob.example", verify=VerifyClients.REQUIRED)) as stage:
            closed = asyncio.Event()
            try:
                channel = await ask(stage.alice.layer, BOB_NAMED)
                channel.on_close(closed.set)
                await asyncio.wait_for(closed.wait(), 5)  # in TLS 1.3 the refusal comes after the client's own last word
            except TransportError:
                pass
            await asyncio.sleep(1)
            assert stage.bob.requests == []
            assert (stage.alice.layer.connections, stage.bob.layer.connections) == (0, 0)
            assert stage.alice.layer.counters["handshakes_failed"] == stage.bob.layer.counters["handshakes_failed"] == 1


async def test_a_handshake_that_stalls_ends_and_never_blocks_others(authority: Authority) -> None:
    async with Stage(authority.tls("alice.example"), authority.tls("bob.example", handshake_seconds=10.0)) as stage:
        stalled = [await stage.raw() for _ in range(20)]
        stalled[1].stream.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03half a hello")
        await ask(stage.alice.layer, BOB_NAMED)
        await stage.alice.wait(lambda alice: len(alice.responses) == 1)
        for _ in range(9):
            await asyncio.sleep(1)
            stalled[1].stream.write(b"x")
        assert all(raw.closed_at is None for raw in stalled)
        await asyncio.sleep(2)
        assert all(raw.closed_at is not None for raw in stalled)
        assert stage.bob.layer._tls is not None
        assert stage.bob.layer._tls.failures["timeout"] == 20


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"OPTIONS sip:bob@bob.example SIP/2.0\r\nVia: SIP/2.0/TLS 10.0.0.66;branch=z9hG4bK1\r\n\r\n", "plain_text"),
        (b"GET / HTTP/1.1\r\n\r\n", "plain_text"),
        (b"\x00", "plain_text"),
        (b"\x16" + b"\xff" * 500, "plain_text"),
        (b"\x16\x03\x01\x00\x05hello", "protocol"),
        (b"\x16\x03\x01\x40\x00\x01\x01\xff\xff" + b"\0" * 16380 + (b"\x16\x03\x01\x40\x00" + b"\0" * 16384) * 4, "too_long"),
    ],
)
async def test_octets_that_are_no_tls_end_the_connection_at_once(
    stage: Stage, octets: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    raw = await stage.raw()
    raw.stream.write(octets)
    await asyncio.sleep(ALERT_SECONDS + 1)
    assert raw.closed_at is not None
    assert stage.bob.layer._tls is not None
    assert stage.bob.layer._tls.failures[reason] == 1
    assert f"TLS with 10.0.0.66 failed ({reason}): " in caplog.text


async def test_a_connection_that_ends_in_the_handshake_is_told_and_forgotten(stage: Stage) -> None:
    for octets in (b"", b"\x16\x03\x01\x02\x00\x01\x00"):
        raw = await stage.raw()
        raw.stream.write(octets)
        raw.stream.abort()
    await asyncio.sleep(1)
    assert stage.bob.layer._tls is not None
    assert stage.bob.layer._tls.failures["closed"] == 2
    assert stage.bob.layer._pool._handshakes == set()
    assert len(stage.bob.layer._pool._crowd) == 0


async def test_tls_to_a_port_for_tcp_is_told_and_closed(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    async with Stage(authority.tls("alice.example"), authority.tls("bob.example")) as stage:
        await stage.bob.layer.listen("tcp:10.0.0.2:5060")
        with pytest.raises(TransportError, match="closed the connection in the handshake"):
            await stage.alice.layer.channel_to(BOB_NAMED._replace(port=5060))
        assert "it speaks TLS to a port for TCP" in caplog.text
        assert stage.bob.layer.counters["tls_on_tcp"] == 1


async def test_a_server_that_answers_in_plain_text_is_told(stage: Stage) -> None:
    class Answering(Raw):
        def on_data(self, data: bytes) -> None:
            self.stream.write(b"SIP/2.0 400 Bad Request\r\n\r\n")

    await stage.network.host("10.0.0.66").listen_tcp("10.0.0.66", 5061, Answering)
    with pytest.raises(TransportError, match="answered without TLS; is this its port for TLS"):
        await stage.alice.layer.channel_to(Endpoint("TLS", "10.0.0.66", 5061, "x.example"))


async def test_a_server_that_says_nothing_costs_four_seconds(stage: Stage) -> None:
    raws: list[Raw] = []

    def silent(stream: Stream) -> Raw:
        raws.append(Raw(stream))
        return raws[0]

    await stage.network.host("10.0.0.66").listen_tcp("10.0.0.66", 5061, silent)
    with pytest.raises(TransportError, match="timed out"):
        await stage.alice.layer.channel_to(Endpoint("TLS", "10.0.0.66", 5061, "x.example"))
    assert asyncio.get_running_loop().time() == pytest.approx(4.0, abs=0.1)
    assert raws[0].closed_at is not None


async def test_messages_arrive_whole_however_the_octets_are_cut(authority: Authority) -> None:
    network = MemoryNetwork(delay=(0.0, 0.01), chunk=(1, 7))
    async with Stage(authority.tls("alice.example"), authority.tls("bob.example"), network) as stage:
        for index in range(20):
            await ask(stage.alice.layer, BOB_NAMED, body=b"x" * 997 * index, call_id=f"c{index}")
        await stage.alice.wait(lambda alice: len(alice.responses) == 20)
        assert [len(request.body) for request, _ in stage.bob.requests] == [997 * index for index in range(20)]


async def test_keepalives_work_over_tls(stage: Stage) -> None:
    """RFC 5626 §4.4.1."""
    channel = await ask(stage.alice.layer, BOB_NAMED)
    channel.on_close(lambda: None)
    await asyncio.sleep(1000)
    assert stage.bob.layer.counters["keepalives"] >= 8
    assert channel.is_open


async def test_a_close_is_said_and_heard(stage: Stage) -> None:
    await ask(stage.alice.layer, BOB_NAMED)
    await stage.alice.wait(lambda alice: len(alice.responses) == 1)
    assert stage.bob.layer.connections == 1
    await stage.alice.layer.aclose()
    await asyncio.sleep(1)
    assert stage.bob.layer.connections == 0
    assert stage.bob.layer.counters["handshakes_failed"] == 0


async def test_a_peer_that_reads_nothing_is_cut_off_over_tls_too(authority: Authority) -> None:
    async with Stage(authority.tls("alice.example"), authority.tls("bob.example")) as stage:
        channel = await ask(stage.alice.layer, BOB_NAMED)
        await stage.alice.wait(lambda alice: len(alice.responses) == 1)
        stage.network.delay = (10.0, 10.0)
        for _ in range((MAX_UNSENT_BYTES - 10_000) // 50_000):
            channel.send(b"x" * 50_000)
        with pytest.raises(TransportError, match="does not read"):
            channel.send(b"x" * 50_000)
        assert not channel.is_open
        assert stage.alice.layer.counters["unread"] == 1


async def test_new_certificates_serve_new_connections_and_old_ones_stay(authority: Authority, tmp_path: Path) -> None:
    folder = Authority(tmp_path)
    certificate, key = (Path(path) for path in authority.issue("bob.example"))
    bob = Tls(TlsSettings(str(certificate), str(key), str(authority.file)))
    async with Stage(authority.tls("alice.example"), bob) as stage:
        channel = await ask(stage.alice.layer, BOB_NAMED)
        before = key.read_text()
        key.write_text(Path(folder.issue("bob.example")[1]).read_text())
        with pytest.raises(CertificateError, match="is not the key of"):
            bob.reload()
        assert await stage.alice.layer.channel_to(BOB_NAMED._replace(name="bob.example")) is channel
        key.write_text(before)
        other_certificate, other_key = authority.issue("other.example")
        certificate.write_text(Path(other_certificate).read_text())
        key.write_text(Path(other_key).read_text())
        bob.reload()
        other = await stage.alice.layer.channel_to(BOB_NAMED._replace(name="other.example"))
        assert channel.is_open
        assert other is not channel
        await ask(stage.alice.layer, BOB_NAMED, call_id="c2")
        await stage.alice.wait(lambda alice: len(alice.responses) == 2)


async def mutual(authority: Authority) -> Stage:
    return Stage(
        authority.tls("alice.example", ALICE, verify=VerifyClients.OPTIONAL),
        authority.tls("bob.example", BOB, verify=VerifyClients.OPTIONAL),
    )


async def test_an_alias_of_a_certified_peer_serves_requests_to_it(authority: Authority) -> None:
    """RFC 5923 §8: to the address that the connection came from, the port of its sent-by, and the domains of its certificate."""
    async with await mutual(authority) as stage:
        await ask(stage.alice.layer, BOB_NAMED)
        await stage.alice.wait(lambda alice: len(alice.responses) == 1)
        inbound = stage.bob.requests[0][1]
        for name in ("alice.example", ALICE):
            assert await stage.bob.layer.channel_to(Endpoint("TLS", ALICE, 5061, name)) is inbound
        with pytest.raises(TransportError, match="does not stand for"):
            await stage.bob.layer.channel_to(Endpoint("TLS", ALICE, 5061, "carol.example"))
        await ask(stage.bob.layer, Endpoint("TLS", ALICE, 5061, "alice.example"))
        await stage.alice.wait(lambda alice: len(alice.requests) == 1)


async def test_without_alias_or_certificate_a_peers_connection_serves_no_request(authority: Authority) -> None:
    async with await mutual(authority) as stage:
        channel = await stage.alice.layer.channel_to(BOB_NAMED)
        stage.alice.layer.send_request(options(f"SIP/2.0/TLS {ALICE}:5061;branch=z9hG4bK1"), channel)
        await stage.bob.wait(lambda bob: len(bob.requests) == 1)
        assert await stage.bob.layer.channel_to(Endpoint("TLS", ALICE, 5061, "alice.example")) is not stage.bob.requests[0][1]
    async with Stage(authority.tls(), authority.tls("bob.example", verify=VerifyClients.OPTIONAL)) as stage:
        await ask(stage.alice.layer, BOB_NAMED)
        await stage.alice.wait(lambda alice: len(alice.responses) == 1)
        inbound = stage.bob.requests[0][1]
        with pytest.raises(TransportError, match="Connection refused"):
            await stage.bob.layer.channel_to(inbound.remote._replace(name=ALICE))


async def test_a_response_whose_connection_is_gone_takes_a_new_one_over_tls(authority: Authority) -> None:
    async with await mutual(authority) as stage:
        stage.bob.answer = 0
        await ask(stage.alice.layer, BOB_NAMED)
        await stage.bob.wait(lambda bob: len(bob.requests) == 1)
        stage.network.reset_streams()
        await asyncio.sleep(0.1)
        request, gone = stage.bob.requests[0]
        stage.bob.layer.send_response(make_response(request, 200, to_tag="b"), gone)
        await stage.alice.wait(lambda alice: len(alice.responses) == 1)
        assert stage.alice.responses[0][1].local == Endpoint("TLS", ALICE, 5061)


async def test_a_listener_needs_a_certificate() -> None:
    layer = TransportLayer(MemoryNetwork().host(BOB), tls=Tls(TlsSettings()))
    with pytest.raises(TransportError, match=r"can't listen at .*: no certificate is set"):
        await layer.listen("tls:10.0.0.2:5061")
    await layer.aclose()


async def test_an_old_client_is_told_apart(stage: Stage) -> None:
    """A hello of TLS 1.1, as openssl writes it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = bytearray(outgoing.read())
    versions = hello.index(b"\x00\x2b")  # the extension of TLS 1.3 (RFC 8446 §4.2.1) becomes one that nobody knows
    hello[versions : versions + 2] = b"\xfa\xfa"
    hello[9:11] = b"\x03\x02"
    raw = await stage.raw()
    raw.stream.write(bytes(hello))
    await asyncio.sleep(3)
    assert stage.bob.layer._tls is not None
    assert stage.bob.layer._tls.failures["version"] == 1
    assert raw.received[:1] == b"\x15"  # an alert tells the client
