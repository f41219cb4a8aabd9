"""https on real loopback sockets, with a certificate made for the test."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from cxml.interpreter.ports import WebhookError
from cxml.services import transport
from cxml.services.transport import PooledTransport
from cxml.services.webhook import WebhookClient
from tests.support.web import DOCUMENT, FACTS, WebServer, reply, serving

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make a certificate with")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made_of = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command = ["openssl", "req", "-x509", *made_of, "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=30)
    return certificate, key


async def fetch(certificate: tuple[Path, Path], host: str, *, trusted: bool) -> bytes:
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(*certificate)
    client_side = ssl.create_default_context(cafile=str(certificate[0]) if trusted else None)
    server = WebServer(lambda _: reply())
    client = WebhookClient(transport=PooledTransport(ssl_context=client_side))
    async with serving(server.handle, tls=server_side) as port, client:
        hooks = client.for_call(FACTS, lambda: "ringing")
        await hooks.fetch(f"https://{host}:{port}/v", "POST", {})
        document = await hooks.fetch(f"https://{host}:{port}/v", "POST", {})
    assert server.connections == 1
    return document.body


async def test_a_trusted_certificate_is_accepted_and_the_connection_kept(certificate: tuple[Path, Path]) -> None:
    assert await fetch(certificate, "localhost", trusted=True) == DOCUMENT


@pytest.mark.parametrize(("host", "trusted"), [("localhost", False), ("127.0.0.1", True)])
async def test_an_unknown_issuer_or_another_name_is_11220(certificate: tuple[Path, Path], host: str, trusted: bool) -> None:
    with pytest.raises(WebhookError) as caught:
        await fetch(certificate, host, trusted=trusted)
    assert caught.value.code == 11220
    assert caught.value.detail.startswith("the certificate is not trusted: ")


async def test_the_first_requests_share_one_reading_of_the_system_s_certificates(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []

    def read() -> ssl.SSLContext:
        reads.append(1)
        if len(reads) == 1:
            raise OSError("unreadable")
        return ssl.create_default_context(cafile=str(certificate[0]))

    monkeypatch.setattr(transport, "_context", read)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(*certificate)
    server = WebServer(lambda _: reply())
    before = asyncio.all_tasks()
    async with serving(server.handle, tls=server_side) as port, WebhookClient() as client:
        fetches = [client.for_call(FACTS, lambda: "ringing").fetch(f"https://localhost:{port}/v", "POST", {}) for _ in range(6)]
        failed = await asyncio.gather(*fetches[:3], return_exceptions=True)
        assert [error.code for error in failed if isinstance(error, WebhookError)] == [11200] * 3
        assert {document.body for document in await asyncio.gather(*fetches[3:])} == {DOCUMENT}
    assert len(reads) == 2
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}
