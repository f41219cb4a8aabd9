"""TLS on real sockets, against OpenSSL's own idea of a client and of a server, on both loops: small, and in real time."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sipua.errors import TransportError
from sipua.transport import Endpoint, TransportLayer
from sipua.transport.certificates import TlsSettings, VerifyClients
from sipua.transport.tls import Tls
from tests.support.certificates import Authority, self_signed
from tests.support.loops import LOOPS
from tests.support.transport import Recorder, ask, gone_when_closed, options

HOST = "127.0.0.1"
PLAIN = b"OPTIONS sip:bob@bob.example SIP/2.0\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@dataclass
class Bob:
    """A layer that listens for TLS on a real socket and answers 200."""

    recorder: Recorder
    endpoint: Endpoint
    tls: Tls

    async def failed(self, reason: str) -> None:
        """Return once a handshake has failed for *reason*."""
        async with asyncio.timeout(5):
            while not self.tls.failures[reason]:
                await asyncio.sleep(0.01)
        assert sum(self.tls.failures.values()) == 1, self.tls.failures


async def start(tls: Tls) -> Bob:
    recorder = Recorder(TransportLayer(tls=tls), answer=200)
    return Bob(recorder, await recorder.layer.listen(f"tls:{HOST}:0"), tls)


@pytest.fixture
async def bob(authority: Authority) -> AsyncIterator[Bob]:
    made = await start(authority.tls("bob.example", HOST))
    yield made
    await made.recorder.layer.aclose()
    await asyncio.sleep(0)


def client_context(authority: Authority | None, pair: tuple[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if authority is None else str(authority.file))
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


async def converse(endpoint: Endpoint, context: ssl.SSLContext | None, octets: bytes) -> bytes:
    """Send *octets* as a client of asyncio's own and return what comes back until the peer closes."""
    name = None if context is None else "bob.example"
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=context, server_hostname=name)
    try:
        writer.write(octets)
        async with asyncio.timeout(5):
            return await reader.read(65536)
    finally:
        writer.transport.abort()


async def test_openssls_client_talks_to_us(bob: Bob, authority: Authority) -> None:
    request = options(f"SIP/2.0/TLS {HOST};branch=z9hG4bK1").encode()
    assert (await converse(bob.endpoint, client_context(authority), request)).startswith(b"SIP/2.0 200 OK\r\n")


async def test_a_client_that_does_not_trust_us_is_told_apart(bob: Bob) -> None:
    def connect() -> None:
        with socket.create_connection((bob.endpoint.host, bob.endpoint.port)) as raw:
            client_context(None).wrap_socket(raw, server_hostname="bob.example")

    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.to_thread(connect)
    await bob.failed("refused")


async def test_plain_text_to_the_port_for_tls_ends_at_once(bob: Bob) -> None:
    assert not (await converse(bob.endpoint, None, PLAIN)).startswith(b"SIP/2.0")
    await bob.failed("plain_text")


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
async def test_an_old_client_is_refused(bob: Bob, authority: Authority, version: str) -> None:
    context = client_context(authority)
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        await converse(bob.endpoint, context, b"")
    await bob.failed("version")


@pytest.mark.parametrize("octets", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_a_truncated_handshake_is_told(bob: Bob, octets: bytes) -> None:
    with socket.create_connection((bob.endpoint.host, bob.endpoint.port)) as peer:
        peer.send(octets)
    await bob.failed("closed")


async def test_a_reset_in_the_handshake_is_told(bob: Bob) -> None:
    peer = socket.create_connection((bob.endpoint.host, bob.endpoint.port))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()
    await bob.failed("closed")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda ca, other: None, "no_certificate"),
        (lambda ca, other: other.issue("alice.example"), "unknown_ca"),
        (lambda ca, other: ca.expired("alice.example"), "expired"),
        (lambda ca, other: self_signed(ca.folder, "/CN=alice.example"), "unknown_ca"),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_clients_whose_certificate_does_not_pass_stay_out(
    authority: Authority, tmp_path: Path, make: Any, reason: str, version: ssl.TLSVersion
) -> None:
    bob = await start(authority.tls("bob.example", verify=VerifyClients.REQUIRED))
    context = client_context(authority, make(authority, Authority(tmp_path)))
    context.maximum_version = version
    try:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await converse(bob.endpoint, context, PLAIN)
        await bob.failed(reason)
        assert bob.recorder.requests == []
    finally:
        await bob.recorder.layer.aclose()


async def test_a_client_may_not_renegotiate(bob: Bob, authority: Authority, tmp_path: Path) -> None:
    """OpenSSL's s_client asks for it by the line R; TLS 1.3 has none."""
    command = ["openssl", "s_client", "-connect", f"{bob.endpoint.host}:{bob.endpoint.port}", "-tls1_2", "-CAfile", str(authority.file)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            while b"Verify return code: 0" not in await process.stdout.readline():
                continue
            process.stdin.write(b"R\n")
            _, errors = await process.communicate()
        assert b"no renegotiation" in errors
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("is_polite", [False, True])
async def test_a_client_may_end_with_close_notify_or_without(bob: Bob, authority: Authority, is_polite: bool) -> None:
    def connect() -> None:
        with (
            socket.create_connection((bob.endpoint.host, bob.endpoint.port)) as raw,
            client_context(authority).wrap_socket(raw, server_hostname="bob.example") as tls,
        ):
            if is_polite:
                tls.unwrap()  # returns once our close_notify has come

    await asyncio.to_thread(connect)
    async with asyncio.timeout(5):
        while not bob.recorder.layer.counters["accepted"] or bob.recorder.layer.connections:
            await asyncio.sleep(0.01)
    assert sum(bob.tls.failures.values()) == 0


async def test_a_server_of_openssl_is_checked(authority: Authority, tmp_path: Path) -> None:
    alice = Recorder(TransportLayer(tls=authority.tls()))
    other = Authority(tmp_path)

    async def talk(pair: tuple[str, str], name: str) -> str:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*pair)
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), HOST, 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        try:
            await alice.layer.channel_to(Endpoint("TLS", HOST, port, name))
        except TransportError as error:
            return str(error)
        finally:
            server.close()
        return ""

    good = authority.issue("bob.example", HOST)
    assert await talk(good, "bob.example") == await talk(good, HOST) == ""
    assert "does not stand for 127.0.0.2" in await talk(good, "127.0.0.2")
    assert "authority that we don't know" in await talk(other.issue("bob.example"), "bob.example")
    assert "is self-signed" in await talk(self_signed(tmp_path, "/CN=bob.example"), "bob.example")
    assert "has expired" in await talk(authority.expired("bob.example"), "bob.example")
    await alice.layer.aclose()
    await asyncio.sleep(0)


def both_loops(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    for factory in LOOPS.values():
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(scenario())


def test_large_messages_cross_tls_on_both_loops(authority: Authority) -> None:
    async def scenario() -> None:
        bob = await start(Tls(TlsSettings(*authority.issue("bob.example"), str(authority.file))))
        alice = Recorder(TransportLayer(tls=authority.tls("alice.example")))
        try:
            target = Endpoint("TLS", HOST, bob.endpoint.port, "bob.example")
            for index in range(30):
                await ask(alice.layer, target, body=b"x" * 60_000, call_id=f"c{index}")
            await alice.wait(lambda alice: len(alice.responses) == 30)
            assert all(len(request.body) == 60_000 for request, _ in bob.recorder.requests)
        finally:
            await alice.layer.aclose()
            await bob.recorder.layer.aclose()

    both_loops(scenario)


@pytest.mark.cpython
def test_a_closed_connection_over_tls_is_gone_without_the_collector(authority: Authority) -> None:
    async def scenario() -> None:
        bob = await start(authority.tls("bob.example"))
        alice = Recorder(TransportLayer(tls=authority.tls("alice.example")))
        try:
            await ask(alice.layer, Endpoint("TLS", HOST, bob.endpoint.port, "bob.example"))
            await alice.wait(lambda alice: len(alice.responses) == 1)
            await gone_when_closed(alice.responses, bob.recorder.requests)
        finally:
            await alice.layer.aclose()
            await bob.recorder.layer.aclose()

    both_loops(scenario)
