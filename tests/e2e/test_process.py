"""The daemon as a process: real sockets, signals, exit statuses, its log and its HTTP side."""

import asyncio
import random
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sipua.agent import UserAgent
from sipua.errors import CallFailedError
from sipua.usage.call.call import Call
from tests.support.pbx import refer_after
from tests.support.peers import many_rtp_ports
from tests.support.process import Daemon, WebApplication, application, daemon, run

pytestmark = pytest.mark.e2e

REFER = "<Response><Refer action='/done'><Sip>sip:target@127.0.0.1:9</Sip></Refer></Response>"
SECRETS = ("t0ken-of-account", "s1gning-key", "p4ssword-of-peer", "url-passw0rd")

CONFIG = """
[sip]
listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
drain_timeout_s = {drain_s}
[http]
listen = "127.0.0.1:0"
[voice]
url = "{url}/voice"
[account]
sid = "AC77"
auth_token = "t0ken-of-account"
signing_key = "s1gning-key"
[media]
mode = "none"
[log]
level = "debug"
sip_trace = true
[[peers]]
name = "here"
match = ["127.0.0.1"]
username = "someone"
password = "p4ssword-of-peer"
"""


@asynccontextmanager
async def house(tmp_path: Path, drain_s: float = 20, **pages: str) -> AsyncIterator[tuple[Daemon, WebApplication, UserAgent]]:
    """A daemon process, its application and a PBX."""
    async with application({f"/{name}": page for name, page in pages.items()}) as app:
        config = tmp_path / "cxmld.toml"
        url = app.url.replace("http://", "http://user:url-passw0rd@")
        config.write_text(CONFIG.format(url=url, drain_s=drain_s))
        listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
        async with daemon(config) as process, UserAgent(listen=listen) as pbx:
            yield process, app, pbx


async def dial(process: Daemon, pbx: UserAgent, transport: str = "udp") -> Call:
    suffix = ";transport=tcp" if transport == "tcp" else ""
    return await pbx.dial(f"sip:1000@{process.sip[transport]}{suffix}", timeout_s=20)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_transfer_over_real_sockets_with_health_metrics_log_and_a_clean_end(tmp_path: Path, transport: str) -> None:
    async with house(tmp_path, voice=REFER, done="<Response/>") as (process, app, pbx):
        assert (await process.get("/health/live")).json() == {"status": "live"}
        assert (await process.get("/health/ready")).status_code == 200
        call = await dial(process, pbx, transport)
        call.on_transfer_request(refer_after((0.05, 486)))
        await call.wait_ended()
        (told,) = app.of("/done")
        assert (told["CxmldReferOutcome"], told["AccountSid"]) == ("busy", "AC77")
        ended = await process.event("call_ended")
        assert ended["call_sid"] == told["CallSid"]
        metrics = (await process.get("/metrics")).text
        for line in (
            'cxmld_calls_total{reason="completed"} 1.0',
            'cxmld_transfers_total{confidence="high",outcome="busy"} 1.0',
            'cxmld_webhook_requests_total{result="2xx"} 2.0',
            "cxmld_calls_active 0.0",
        ):
            assert line in metrics
        process.signal()
        assert await process.exit_status() == 0
        own = [line["event"] for line in process.lines if line["logger"].startswith("cxml") and line["level"] != "debug"]
        assert own == ["daemon_ready", "call_began", "transfer_ended", "call_ended", "draining", "drained", "daemon_stopped"]
        assert {"call_began", "transfer_ended", "call_ended"} <= set(process.events(told["CallSid"]))
        text = "\n".join(process.raw)
        assert [secret for secret in SECRETS if secret in text] == []
        assert any("REFER" in line["event"] for line in process.lines)  # sip_trace is on


async def test_a_transfer_over_ipv6_with_media_and_no_peers_configured(tmp_path: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("skipped: no IPv6")
    async with application({"/voice": REFER, "/done": "<Response/>"}) as app:
        config = tmp_path / "cxmld.toml"
        sections = ['[sip]\nlisten = ["udp:[::1]:0"]', '[http]\nlisten = "[::1]:0"', f'[voice]\nurl = "{app.url}/voice"']
        sections += ['[media]\nmode = "silence"', f'rtp_ports = "{many_rtp_ports()}"', "[limits]\nmax_calls = 100"]
        config.write_text("\n".join(sections))
        async with daemon(config) as process, UserAgent(listen=["udp:[::1]:0"]) as pbx:
            call = await dial(process, pbx)
            call.on_transfer_request(refer_after((0.05, 200)))
            await call.wait_ended()
            (told,) = app.of("/done")
            assert (told["CxmldReferOutcome"], told["SipSourceIp"], told["SipDomain"]) == ("transferred", "::1", "::1")
            process.signal()
            assert await process.exit_status() == 0
            assert [line for line in process.lines if line["level"] in ("warning", "error")] == []


async def test_sigterm_lets_a_transfer_finish_and_takes_no_new_call(tmp_path: Path) -> None:
    async with house(tmp_path, voice=REFER, done="<Response/>") as (process, app, pbx):
        call = await dial(process, pbx)
        call.on_transfer_request(refer_after((2.0, 200)))
        await asyncio.sleep(0.5)
        process.signal()
        await process.event("draining")
        with pytest.raises(CallFailedError) as refused:
            await dial(process, pbx)
        assert refused.value.status == 503
        ready = await process.get("/health/ready")
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["draining"])
        assert (await process.get("/health/live")).status_code == 200
        await call.wait_ended()
        assert await process.exit_status() == 0
        assert app.of("/done")[0]["CxmldReferOutcome"] == "transferred"
        assert (await process.event("drained"))["calls_ended"] == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_hangs_up_and_still_reports(tmp_path: Path, second: signal.Signals) -> None:
    async with house(tmp_path, drain_s=60, voice=REFER, done="<Response/>") as (process, app, pbx):
        call = await dial(process, pbx)
        call.on_transfer_request(refer_after((0.05, 180)))
        await asyncio.sleep(0.5)
        process.signal()
        await process.event("draining")
        process.signal(second)
        await call.wait_ended()
        assert await process.exit_status(15) == 0
        assert app.of("/done")[0]["CxmldReferOutcome"] == "local_hangup"
        assert (await process.event("drained"))["calls_ended"] == 1


async def test_a_drain_without_calls_is_over_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, drain_s=60) as (process, _, _):
        process.signal(signal.SIGINT)
        assert await process.exit_status(5) == 0


async def test_junk_on_real_sockets_does_not_end_the_daemon(tmp_path: Path) -> None:
    rng = random.Random(4)
    async with house(tmp_path, voice="<Response><Reject/></Response>") as (process, _, pbx):
        host, _, port = process.sip["udp"].rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for size in [0, 1, 4, 100, 1500, 60000] * 20:
                udp.sendto(rng.randbytes(size), (host, int(port)))
            udp.sendto(b"INVITE sip:a@b SIP/2.0\r\n\r\n", (host, int(port)))
        host, _, port = process.sip["tcp"].rpartition(":")
        for data in (rng.randbytes(5000), b"INVITE sip:a@b SIP/2.0\r\nContent-Length: 999999999\r\n\r\n", b"\r\n" * 1000, b"A" * 200_000):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(data)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            except OSError:
                pass  # closed by the daemon: its right
            del reader
        for transport in ("udp", "tcp"):
            with pytest.raises(CallFailedError) as refused:
                await dial(process, pbx, transport)
            assert refused.value.status == 603
        process.signal()
        assert await process.exit_status() == 0
        assert [line for line in process.lines if line["level"] == "error"] == []


# -- what keeps it from starting -----------------------------------------------------------------------------------------------------------


async def test_a_bad_configuration_names_every_problem_and_its_place(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text('[sip]\nlisten = ["smoke:1.2.3.4:5060"]\n[voice]\nurl = "ftp://x"\n[refer]\nnotify_timeout_s = -1\n')
    for command in (("serve",), ("config", "check")):
        status, out, err = await run(*command, "--config", str(config))
        assert status == 1
        text = out + err
        assert f"{config}:2" in text
        assert f"{config}:4" in text
        assert f"{config}:6" in text
        assert "Traceback" not in text


async def test_a_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    status, out, err = await run("serve", "--config", str(tmp_path / "none.toml"))
    assert status == 1
    assert "none.toml" in out + err
    assert len((out + err).strip().splitlines()) == 1


@pytest.mark.parametrize("kind", ["sip", "http"])
async def test_a_port_in_use_is_one_clear_line(tmp_path: Path, kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        sip = f"tcp:{address}" if kind == "sip" else "udp:127.0.0.1:0"
        http = address if kind == "http" else ""
        arguments = ["--sip", sip, "--http", http, "--voice-url", "http://127.0.0.1:1/voice"]
        status, out, err = await run("serve", *arguments, cwd=tmp_path)
    assert status == 1
    last = (out + err).strip().splitlines()[-1]
    assert last.startswith(f"cxmld: [{kind}] listen: ")
    assert "Traceback" not in out + err


# -- the other commands --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "word"), [("answers", "transferred"), ("busy", "busy"), ("declines", "declined"), ("unavailable", "failed")]
)
async def test_the_demo_prints_a_ladder_and_nothing_else(outcome: str, word: str, tmp_path: Path) -> None:
    status, out, err = await run("demo", "--outcome", outcome, cwd=tmp_path)
    assert (status, err) == (0, "")
    lines = out.rstrip("\n").splitlines()
    assert lines[0].split() == ["app", "cxmld", "PBX", "target"]
    assert f"CxmldReferOutcome={word}" in lines[-1]
    assert all(line[:6].strip().replace(".", "").isdigit() for line in lines[1:-2])
    assert "REFER sip:support@target" in out


async def test_a_configuration_is_checked_without_showing_secrets(tmp_path: Path) -> None:
    config = tmp_path / "cxmld.toml"
    config.write_text(CONFIG.format(url="http://user:url-passw0rd@127.0.0.1:1", drain_s=1))
    status, out, err = await run("config", "check", "--config", str(config))
    assert status == 0
    assert "peer here" in out
    assert [secret for secret in SECRETS if secret in out + err] == []


async def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    config = tmp_path / "cxmld.toml"
    config.write_text(CONFIG.format(url="http://127.0.0.1:1", drain_s=1))
    status, out, _ = await run("config", "check", "--config", str(config), CXMLD_VOICE__URL="http://env.test/voice")
    assert status == 0
    assert "http://env.test/voice" in out


async def test_lint_tells_place_code_and_status(tmp_path: Path) -> None:
    page = tmp_path / "page.xml"
    page.write_text("<Response>\n  <Refer/>\n  <reject/>\n</Response>\n")
    status, out, _ = await run("lint", str(page))
    assert status == 1
    assert f"{page}:3:" in out
    status, out, _ = await run("lint", "-", stdin=b"<Response><Reject/></Response>")
    assert (status, out) == (0, "")
    status, _, err = await run("lint", str(tmp_path / "none.xml"))
    assert status == 2
    assert "can't be read" in err
