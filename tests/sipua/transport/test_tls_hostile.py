"""Peers that misuse a port for TLS, on real sockets: small, and in real time."""

import asyncio
import contextlib
import gc
import random
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest

from sipua.transport import Endpoint, TransportLayer
from sipua.transport.certificates import VerifyClients
from sipua.transport.crowd import HANDSHAKE_BURST
from sipua.transport.tcp import MAX_UNSENT_BYTES, PING, PONG
from sipua.transport.tls import MAX_HANDSHAKE_BYTES, Tls
from sipua.transport.triage import Intake
from tests.support.certificates import Authority
from tests.support.transport import Recorder, options

HOST = "127.0.0.1"
REQUEST = options(f"SIP/2.0/TLS {HOST};branch=z9hG4bK1").encode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Bob:
    """A layer that answers 200, with one port for TLS and one for TCP."""

    def __init__(self, tls: Tls, **settings: Any) -> None:
        self.tls = tls
        self.recorder = Recorder(TransportLayer(tls=tls, **settings), answer=200)
        self.layer = self.recorder.layer
        self.secure = self.plain = Endpoint("TLS", HOST, 0)

    async def __aenter__(self) -> Self:
        self.secure = await self.layer.listen(f"tls:{HOST}:0")
        self.plain = await self.layer.listen(f"tcp:{HOST}:0")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.layer.aclose()
        await asyncio.sleep(0)

    async def empty(self) -> None:
        """Return once no connection and no handshake is left, and nothing counts any more."""
        async with asyncio.timeout(10):
            while len(self.layer._pool) or self.layer._pool._handshakes or len(self.layer._pool._crowd):
                await asyncio.sleep(0.01)


@pytest.fixture
async def bob(authority: Authority) -> AsyncIterator[Bob]:
    async with Bob(authority.tls("bob.example", handshake_seconds=0.3)) as made:
        yield made


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.file))


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(endpoint: Endpoint, context: ssl.SSLContext | None = None) -> Pair:
    name = None if context is None else "bob.example"
    return await asyncio.open_connection(endpoint.host, endpoint.port, ssl=context, server_hostname=name)


async def answered(pair: Pair) -> bool:
    """Send a request and tell whether it is answered."""
    reader, writer = pair
    writer.write(REQUEST)
    async with asyncio.timeout(5):
        return (await reader.readline()).startswith(b"SIP/2.0 200")


@pytest.mark.parametrize("octets", [b"", b"\x16", b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"])
async def test_a_stalled_handshake_is_ended_in_time(bob: Bob, octets: bytes) -> None:
    reader, writer = await connect(bob.secure)
    writer.write(octets)
    async with asyncio.timeout(5):
        await reader.read()
    assert bob.tls.failures["timeout"] == 1
    await bob.empty()
    writer.close()


async def test_one_octet_at_a_time_wins_no_time(bob: Bob) -> None:
    _, writer = await connect(bob.secure)
    for octet in b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + bytes(100):
        writer.write(bytes([octet]))
        await asyncio.sleep(0.01)
    assert bob.tls.failures["timeout"] == 1
    await bob.empty()
    writer.close()


async def test_tls_to_the_port_for_tcp_ends_at_once(bob: Bob, authority: Authority) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await connect(bob.plain, trusting(authority))
    assert bob.layer.counters["tls_on_tcp"] == 1
    await bob.empty()


async def test_connections_of_one_address_are_limited_handshakes_included(authority: Authority) -> None:
    async with Bob(authority.tls("bob.example"), max_per_address=3) as bob:
        silent = [await connect(bob.secure) for _ in range(2)]
        good = await connect(bob.secure, trusting(authority))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(bob.secure, trusting(authority))
        assert bob.layer.counters["refused"] == 1
        assert await answered(good)
        for _, writer in silent:
            writer.transport.abort()
        async with asyncio.timeout(5):
            while bob.layer._pool._handshakes:
                await asyncio.sleep(0.01)
        again = await connect(bob.secure, trusting(authority))
        assert await answered(again)
        for _, writer in (good, again):
            writer.transport.abort()
        await bob.empty()


@pytest.mark.parametrize("is_known", [False, True])
async def test_handshakes_of_a_stranger_are_paced(authority: Authority, is_known: bool, caplog: pytest.LogCaptureFixture) -> None:
    intake = Intake(is_known=lambda _host: is_known)
    async with Bob(authority.tls("bob.example"), intake=intake) as bob:
        for _ in range(int(HANDSHAKE_BURST) + 60):
            try:
                _, writer = await connect(bob.secure)
            except ConnectionError:
                continue
            writer.transport.abort()
        async with asyncio.timeout(5):
            while sum(bob.tls.failures.values()) + bob.layer.counters["refused"] < HANDSHAKE_BURST + 60:
                await asyncio.sleep(0.01)
        assert (bob.layer.counters["refused"] == 0) == is_known
        assert ("refused: more than 50 TLS handshakes a second" in caplog.text) != is_known
        await bob.empty()


async def test_pings_over_tls_are_answered(bob: Bob, authority: Authority) -> None:
    """RFC 5626 §4.4.1."""
    reader, writer = await connect(bob.secure, trusting(authority))
    assert await answered((reader, writer))
    async with asyncio.timeout(5):
        await reader.readuntil(b"\r\n\r\n")
        for part in (PING, PING[:1], PING[1:]):
            writer.write(part)
        assert await reader.readexactly(2 * len(PONG)) == PONG * 2
    assert bob.layer.counters["keepalives"] == 2
    writer.transport.abort()


async def test_a_peer_that_asks_and_never_reads_is_cut_off(bob: Bob, authority: Authority) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await loop.sock_connect(raw, (bob.secure.host, bob.secure.port))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trusting(authority).wrap_bio(incoming, outgoing, server_hostname="bob.example")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await loop.sock_sendall(raw, outgoing.read())
                incoming.write(await loop.sock_recv(raw, 65536))
        most = 0

        async def ask_on() -> None:
            nonlocal most
            while True:
                tls.write(REQUEST * 50)
                await loop.sock_sendall(raw, outgoing.read())
                most = max([most, *(connection._stream.unsent for connection in bob.layer._pool._all)])

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(ask_on(), 30)
        assert bob.layer.counters["unread"] == 1, bob.layer.counters
        assert most <= MAX_UNSENT_BYTES + len(REQUEST)
        await bob.empty()


async def test_more_than_a_handshake_has_ends_it(bob: Bob) -> None:
    _, writer = await connect(bob.secure)
    fragment = b"\x16\x03\x03\x40\x00" + b"\x0b\xff\xff\xff" + bytes(0x4000 - 4)
    hello = b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"
    writer.write(hello + fragment * (MAX_HANDSHAKE_BYTES // len(fragment) + 2))
    await bob.empty()
    assert sum(bob.tls.failures.values()) == 1
    writer.close()


async def test_much_may_come_right_behind_the_handshake(bob: Bob, authority: Authority) -> None:
    large = options(f"SIP/2.0/TLS {HOST};branch=z9hG4bK2", body=b"x" * 50_000).encode()
    _, writer = await connect(bob.secure, trusting(authority))
    writer.write(large * 6)
    await bob.recorder.wait(lambda recorder: len(recorder.requests) == 6)
    assert sum(bob.tls.failures.values()) == 0
    writer.transport.abort()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("end", ["at once", "after an answer", "octet by octet", "without a word", "by us"])
async def test_no_session_is_kept_however_a_connection_ends(bob: Bob, authority: Authority, version: ssl.TLSVersion, end: str) -> None:
    """OpenSSL would keep 20,480 of them, 11 KB each, when a client of TLS 1.2 ends in good order."""
    loop = asyncio.get_running_loop()
    context = trusting(authority)
    context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="bob.example")
    with socket.socket() as raw:
        raw.setblocking(False)
        await loop.sock_connect(raw, (bob.secure.host, bob.secure.port))
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        for _ in range(10):
            await loop.sock_sendall(raw, outgoing.read())
            incoming.write(await loop.sock_recv(raw, 65536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        if end != "at once":
            tls.write(REQUEST)
            await loop.sock_sendall(raw, outgoing.read())
            assert await loop.sock_recv(raw, 65536)
        if end == "by us":
            next(iter(bob.layer._pool._all)).close()
        elif end != "without a word":
            with contextlib.suppress(ssl.SSLError):
                tls.unwrap()
        rest = outgoing.read()
        for part in [rest[i : i + 1] for i in range(len(rest))] if end == "octet by octet" else [rest]:
            with contextlib.suppress(ConnectionError):  # the first octet of the alert says it all
                await loop.sock_sendall(raw, part)
            await asyncio.sleep(0)
        if end not in ("without a word", "by us"):
            await bob.empty()
    await bob.empty()
    bob.recorder.requests.clear()  # they hold the connection
    gc.collect()
    assert bob.tls.contexts.server is not None
    assert bob.tls.contexts.server.session_stats()["number"] == 0
    assert sum(bob.tls.failures.values()) == 0


@pytest.mark.parametrize("seed", range(3))
async def test_mangled_handshakes_and_records_harm_nobody(authority: Authority, tmp_path: Path, seed: int) -> None:
    """Flipped octets in a client's handshake and in what follows; a good client is served between them."""
    rng = random.Random(seed)
    other = Authority(tmp_path)
    async with Bob(authority.tls("bob.example", verify=VerifyClients.OPTIONAL, handshake_seconds=0.3)) as bob:
        good = await connect(bob.secure, trusting(authority))
        for round_number in range(60):
            context = trusting(authority)
            if rng.random() < 0.5:
                context.load_cert_chain(*rng.choice([authority, other]).issue("mallory.example"))
            await mangled(bob.secure, context, rng)
            if round_number % 10 == 0:
                assert await answered(good)
                async with asyncio.timeout(5):
                    await good[0].readuntil(b"\r\n\r\n")
        good[1].transport.abort()
        await bob.empty()


async def mangled(endpoint: Endpoint, context: ssl.SSLContext, rng: random.Random) -> None:
    """Speak TLS and send a request, with an octet changed, cut out or doubled in some flights, until the peer closes."""
    reader, writer = await connect(endpoint)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="bob.example")
    is_up = False
    try:
        for _ in range(6):
            try:
                if not is_up:
                    tls.do_handshake()
                    is_up = True
                tls.write(REQUEST)
                tls.read(1)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                break
            flight = bytearray(outgoing.read())
            if flight and rng.random() < 0.5:
                place = rng.randrange(len(flight))
                flight[place : place + rng.randrange(2)] = rng.randbytes(rng.randrange(3))
            writer.write(flight)
            async with asyncio.timeout(0.05):
                incoming.write(await reader.read(65536))
    except (TimeoutError, ConnectionError):
        return
    finally:
        writer.transport.abort()
