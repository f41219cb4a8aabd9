"""Several processes behind one address, and who the peer is: certificates on lent connections, passwords, and one registration for all."""

import asyncio
import signal
import socket
from pathlib import Path

import pytest

from sipua.agent import UserAgent
from sipua.auth import Credential
from sipua.message import Request, make_response, parse_message
from tests.support.certificates import Authority
from tests.support.pbx import refer_after
from tests.support.process import Daemon, application, daemon

pytestmark = pytest.mark.e2e

HOST = "127.0.0.1"
CALLS = 12
REFER = f"<Response><Refer action='/done'><Sip>sip:target@{HOST}:9</Sip></Refer></Response>"

CONFIG = """
[sip]
listen = ["udp:127.0.0.1:0", "tls:127.0.0.1:0"]
[tls]
certificate = "{certificate}"
private_key = "{key}"
ca_file = "{ca}"
verify_clients = "optional"
[http]
listen = "127.0.0.1:0"
[voice]
url = "{url}/voice"
[media]
mode = "none"
[workers]
count = 2
"""


def config_of(folder: Path, authority: Authority, url: str, peer: str) -> Path:
    """Write a configuration with *peer*, the lines of a peer's table."""
    certificate, key = authority.issue(HOST)
    path = folder / "cxmld.toml"
    path.write_text(f'{CONFIG.format(certificate=certificate, key=key, ca=authority.file, url=url)}[[peers]]\nname = "pbx"\n{peer}\n')
    return path


def owners(process: Daemon) -> set[int]:
    return {line["worker"] for line in process.lines if line["event"] == "call_began"}


async def transfers(process: Daemon, pbx: UserAgent, transport: str) -> None:
    """Make calls at the same time, and do as the daemon says in each."""

    async def one() -> None:
        call = await pbx.dial(f"sip:1000@{process.sip[transport]};transport={transport}", timeout_s=20)
        call.on_transfer_request(refer_after((0.05, 200)))
        await call.wait_ended()

    await asyncio.gather(*(one() for _ in range(CALLS)))
    await process.event("call_ended", count=CALLS)


async def test_a_peer_is_known_by_its_certificate_in_each_worker_that_is_lent_its_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with application({"/voice": REFER, "/done": "<Response/>"}) as app:
        config = config_of(tmp_path, authority, app.url, 'certificate = ["pbx.example"]')
        agent = UserAgent(listen=[f"tls:{HOST}:0"], tls=authority.tls("pbx.example", HOST))
        async with daemon(config) as process, agent as pbx:
            await transfers(process, pbx, "tls")
            assert [told["CxmldReferOutcome"] for told in app.of("/done")] == ["transferred"] * CALLS
            assert owners(process) == {0, 1}
            assert pbx.transports.counters["opened"] == 1
            process.signal(signal.SIGHUP)
            await process.event("certificates_reloaded", count=2)
            process.signal()
            assert await process.exit_status() == 0


async def test_a_peer_that_shows_a_password_meets_the_worker_that_asked_for_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    peer = 'auth = "digest"\ninbound_username = "someone"\ninbound_password = "a-secret-word"'
    async with application({"/voice": REFER, "/done": "<Response/>"}) as app:
        config = config_of(tmp_path, authority, app.url, peer)
        agent = UserAgent(listen=[f"udp:{HOST}:0"], credentials=[Credential("someone", "a-secret-word")])
        async with daemon(config) as process, agent as pbx:
            await transfers(process, pbx, "udp")
            assert [told["CxmldReferOutcome"] for told in app.of("/done")] == ["transferred"] * CALLS
            assert owners(process) == {0, 1}
            metrics = (await process.get("/metrics")).text
            assert f'cxmld_requests_refused_total{{reason="challenged"}} {CALLS}.0' in metrics  # each asked once, none stale
            assert "a-secret-word" not in "\n".join(process.raw)


async def test_one_worker_registers_and_the_contact_is_nobodys_own(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    seen: list[Request] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as registrar:
        registrar.bind((HOST, 0))
        registrar.setblocking(False)

        async def answer() -> None:
            while True:
                data, source = await loop.sock_recvfrom(registrar, 65535)
                request = parse_message(data)
                assert isinstance(request, Request)
                seen.append(request)
                response = make_response(request, 200, to_tag="r")
                if request.headers.get("Expires") != "0":
                    response.headers.add("Contact", request.headers.get("Contact") or "")
                await loop.sock_sendto(registrar, response.encode(), source)

        answering = asyncio.create_task(answer())
        uri = f"sip:{HOST}:{registrar.getsockname()[1]}"
        peer = f'uri = "{uri}"\nusername = "u"\npassword = "a-secret-word"\nregister = true'
        config = config_of(tmp_path, Authority(tmp_path), "http://127.0.0.1:1", peer)
        async with daemon(config) as process, asyncio.timeout(20):
            while (await process.get("/health/ready")).status_code != 200:
                await asyncio.sleep(0.05)
            assert 'cxmld_registered{peer="pbx"} 1.0' in (await process.get("/metrics")).text
            process.signal()
            assert await process.exit_status() == 0
        answering.cancel()
    assert len({request.call_id for request in seen}) == 1
    assert [request.headers.get("Expires") for request in seen][-1] == "0"
    assert "worker" not in (seen[0].headers.get("Contact") or "")
    assert (seen[0].from_.tag or "").startswith("w0-")
