"""SIGHUP while a call is up over TLS: the call and its connection stay, new handshakes get the new certificate, a broken file none."""

import asyncio
import shutil
import signal
import ssl
from pathlib import Path

import pytest

from sipua.agent import UserAgent
from sipua.transport.identity import identities
from tests.support.certificates import Authority
from tests.support.pbx import refer_after
from tests.support.process import Daemon, application, daemon

pytestmark = pytest.mark.e2e

HOST = "127.0.0.1"
REFER = f"<Response><Pause length='4'/><Refer action='/done'><Sip>sip:target@{HOST}:9;transport=tls</Sip></Refer></Response>"

CONFIG = """
[sip]
listen = ["tls:127.0.0.1:0"]
[tls]
certificate = "{folder}/cert.pem"
private_key = "{folder}/key.pem"
ca_file = "{ca}"
verify_clients = "required"
[http]
listen = "127.0.0.1:0"
[voice]
url = "{url}/voice"
[media]
mode = "none"
[log]
format = "json"
[[peers]]
name = "pbx"
certificate = ["pbx.example"]
"""


def install(pair: tuple[str, str], folder: Path) -> None:
    """Put certificate and key where the daemon looks for them."""
    for source, name in zip(pair, ("cert.pem", "key.pem"), strict=True):
        shutil.copy(source, folder / name)


async def shown(process: Daemon, context: ssl.SSLContext) -> tuple[str, ...]:
    """Return the names in the certificate that the daemon shows to whoever connects now."""
    host, _, port = process.sip["tls"].rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=HOST)
    certificate = writer.get_extra_info("peercert")
    writer.transport.abort()
    return identities(certificate)


async def test_new_certificates_come_by_sighup_and_a_call_goes_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    install(authority.issue("old.example", HOST), tmp_path)
    client = ssl.create_default_context(cafile=str(authority.file))
    client.load_cert_chain(*authority.issue("scanner.example"))
    async with application({"/voice": REFER, "/done": "<Response/>"}) as app:
        config = tmp_path / "cxmld.toml"
        config.write_text(CONFIG.format(folder=tmp_path, ca=authority.file, url=app.url))
        pbx_agent = UserAgent(listen=[f"tls:{HOST}:0"], tls=authority.tls("pbx.example", HOST))
        async with daemon(config) as process, pbx_agent as pbx:
            call = await pbx.dial(f"sip:1000@{process.sip['tls']};transport=tls", timeout_s=20)
            call.on_transfer_request(refer_after((0.05, 200)))
            assert await shown(process, client) == ("old.example", HOST)

            (tmp_path / "cert.pem").write_text("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
            process.signal(signal.SIGHUP)
            told = await process.event("certificates_not_reloaded")
            assert (told["level"], told["setting"], told["in_use"]) == ("error", "[tls] certificate", "those loaded before")
            assert await shown(process, client) == ("old.example", HOST)

            install(authority.issue("new.example", HOST), tmp_path)
            process.signal(signal.SIGHUP)
            assert (await process.event("certificates_reloaded"))["names"] == ["new.example", HOST]
            assert await shown(process, client) == ("new.example", HOST)

            assert app.of("/done") == [], "the call was up all the time"
            await call.wait_ended()
            assert [form["CxmldReferOutcome"] for form in app.of("/done")] == ["transferred"]
            assert pbx.transports.counters["opened"] == 1, "its connection stayed"
            assert 'cxmld_sip_connections_total{event="handshakes_failed"} 0.0' in (await process.get("/metrics")).text
            process.signal()
            assert await process.exit_status() == 0
