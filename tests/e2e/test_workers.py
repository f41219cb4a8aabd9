"""Several processes behind one address: spread, killed, drained, on real sockets and with real signals (docs/spec/workers.md)."""

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cxml.daemon.runtime import COLLECTOR, IS_PYPY
from sipua.agent import UserAgent
from sipua.errors import CallFailedError
from sipua.usage.call.call import Call
from tests.support.daemon import until
from tests.support.pbx import refer_after
from tests.support.process import Daemon, WebApplication, application, daemon, run

pytestmark = pytest.mark.e2e

REFER = "<Response><Refer action='/done'><Sip>sip:target@127.0.0.1:9</Sip></Refer></Response>"
CALLS = 12

CONFIG = """
[sip]
listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
drain_timeout_s = 20
[http]
listen = "127.0.0.1:0"
[voice]
url = "{url}/voice"
[media]
mode = "none"
[limits]
max_calls = {max_calls}
[workers]
count = 2
"""

Page = str | Callable[[dict[str, str]], str]


@asynccontextmanager
async def house(tmp_path: Path, max_calls: int = 200, **pages: Page) -> AsyncIterator[tuple[Daemon, WebApplication, UserAgent]]:
    """A daemon with two workers, its application and a PBX."""
    async with application({f"/{name}": page for name, page in pages.items()}) as app:
        config = tmp_path / "cxmld.toml"
        config.write_text(CONFIG.format(url=app.url, max_calls=max_calls))
        listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
        async with daemon(config) as process, UserAgent(listen=listen) as pbx:
            yield process, app, pbx


async def dial(process: Daemon, pbx: UserAgent, suffix: str = "", transport: str = "udp") -> Call:
    return await pbx.dial(f"sip:1000@{process.sip[transport]}{suffix}", timeout_s=20)


async def transfer(process: Daemon, pbx: UserAgent, *steps: tuple[float, int], suffix: str = "", transport: str = "udp") -> Call:
    """Make a call and do as the daemon's REFER says, with *steps* of seconds and status."""
    call = await dial(process, pbx, suffix, transport)
    call.on_transfer_request(refer_after(*steps))
    return call


def reports_are_over(pbx: UserAgent, started: int) -> bool:
    """Tell whether *pbx* has made *started* requests and no NOTIFY of them waits for its answer."""
    layer = pbx.transactions
    return layer.statistics.client_started >= started and not any(method == "NOTIFY" for _, method in layer._clients)


def owners(process: Daemon) -> dict[str, int]:
    """Return which worker took each call, by its Call-ID."""
    return {line["sip_call_id"]: line["worker"] for line in process.lines if line["event"] == "call_began"}


def pid_of(process: Daemon, worker: int) -> int:
    return int([line["pid"] for line in process.lines if line["event"] == "worker_started" and line["worker"] == worker][-1])


async def metrics_of(process: Daemon) -> dict[str, float]:
    lines = (await process.get("/metrics")).text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def problems(process: Daemon) -> list[str]:
    return [line["event"] for line in process.lines if line["level"] in ("warning", "error")]


async def test_transfers_of_one_source_are_spread_and_counted_together(tmp_path: Path) -> None:
    async with house(tmp_path, voice=REFER, done="<Response/>") as (process, app, pbx):
        calls = await asyncio.gather(*(transfer(process, pbx, (0.05, 200)) for _ in range(CALLS)))
        await asyncio.gather(*(call.wait_ended() for call in calls))
        await process.event("call_ended", count=CALLS)
        assert {told["CxmldReferOutcome"] for told in app.of("/done")} == {"transferred"}
        assert set(owners(process).values()) == {0, 1}  # by chance all are one's in one run of two thousand
        metrics = await metrics_of(process)
        assert metrics['cxmld_calls_total{reason="completed"}'] == CALLS
        assert sum(count for name, count in metrics.items() if 'outcome="transferred"' in name and "_total" in name) == CALLS
        assert metrics['cxmld_webhook_duration_seconds_bucket{le="+Inf"}'] == 2 * CALLS
        assert (metrics["cxmld_workers"], metrics["cxmld_workers_serving"], metrics["cxmld_worker_restarts_total"]) == (2, 2, 0)
        assert metrics['cxmld_worker_messages_total{event="sent"}'] == 0  # the kernel gave each datagram to its worker
        ready = await process.get("/health/ready")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "reasons": [], "shedding": []})
        process.signal()
        assert await process.exit_status() == 0
        assert problems(process) == []
        assert process.events().count("worker_stopped") == 2
        assert process.lines[-1]["event"] == "daemon_stopped"


async def test_a_killed_worker_costs_its_own_calls_only_and_comes_back(tmp_path: Path) -> None:
    async with house(tmp_path, voice=REFER, done="<Response/>") as (process, app, pbx):
        calls = await asyncio.gather(*(transfer(process, pbx, (6.0, 200)) for _ in range(CALLS)))
        await process.event("call_began", count=CALLS)
        before = await metrics_of(process)
        theirs = owners(process)
        lost = [call for call in calls if theirs[call.id] == 1]
        assert 0 < len(lost) < CALLS
        os.kill(pid_of(process, 1), signal.SIGKILL)
        died = await process.event("worker_died")
        assert (died["worker"], died["status"], died["calls_lost"]) == (1, -signal.SIGKILL, len(lost))
        while_down = [await transfer(process, pbx, (0.05, 200)) for _ in range(4)]
        await process.event("worker_ready", count=3)
        after = [await transfer(process, pbx, (0.05, 200)) for _ in range(CALLS)]
        mine = [call for call in calls if call not in lost]
        await asyncio.gather(*(call.wait_ended() for call in [*while_down, *after, *mine]))
        await until(lambda: len(app.of("/done")) == len(mine) + 4 + CALLS, "all that was left is told")
        assert {told["CxmldReferOutcome"] for told in app.of("/done")} == {"transferred"}
        assert {owners(process)[call.id] for call in after} == {0, 1}
        metrics = await metrics_of(process)
        assert metrics["cxmld_worker_restarts_total"] == 1
        assert metrics["cxmld_workers_serving"] == 2
        assert metrics["cxmld_calls_active"] == 0
        assert all(metrics[name] >= value for name, value in before.items() if name.endswith("_total"))
        await asyncio.gather(*(call.hangup() for call in lost))  # 481: nobody knows them any more
        async with asyncio.timeout(5):
            await asyncio.gather(*(call.wait_ended() for call in lost))
        process.signal()
        assert await process.exit_status() == 0


@pytest.mark.skipif(not IS_PYPY, reason="needs PyPy")
async def test_on_pypy_all_have_the_settings_of_the_collector(tmp_path: Path) -> None:
    """The parent begins anew to have them, as the same process."""
    async with house(tmp_path, voice="<Response><Reject/></Response>") as (process, _, _pbx):
        for pid in (process.process.pid, pid_of(process, 0), pid_of(process, 1)):
            names = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            assert {f"{name}={value}".encode() for name, value in COLLECTOR.items()} <= set(names)


async def test_health_says_that_a_worker_is_missing_while_calls_are_taken(tmp_path: Path) -> None:
    async with house(tmp_path, voice="<Response><Reject/></Response>") as (process, _, pbx):
        os.kill(pid_of(process, 0), signal.SIGKILL)
        await process.event("worker_died")
        ready = await process.get("/health/ready")
        assert (ready.status_code, ready.json()["status"], ready.json()["missing"]) == (200, "degraded", ["worker 0"])
        with pytest.raises(CallFailedError) as refused:
            await dial(process, pbx)
        assert refused.value.status == 603
        await process.event("worker_ready", count=3)
        assert (await process.get("/health/ready")).json()["status"] == "ready"


async def test_calls_of_one_tcp_connection_are_spread_and_go_on_when_its_worker_dies(tmp_path: Path) -> None:
    async with house(tmp_path, voice=REFER, done="<Response/>") as (process, app, pbx):
        calls = [await transfer(process, pbx, (8.0, 200), suffix=";transport=tcp", transport="tcp") for _ in range(CALLS)]
        theirs = owners(process)
        assert set(theirs.values()) == {0, 1}
        assert pbx.transports.counters["opened"] == 1
        metrics = await metrics_of(process)
        assert metrics['cxmld_worker_messages_total{event="sent"}'] > 0
        # what is on its way over the connection of the worker that dies is lost, and a report over TCP is sent once
        await until(lambda: reports_are_over(pbx, 2 * CALLS), "each call has its INVITE and its first report")
        dead = next(iter(set(theirs.values())))
        os.kill(pid_of(process, dead), signal.SIGKILL)
        await process.event("worker_died")
        left = [call for call in calls if theirs[call.id] != dead]
        await asyncio.gather(*(call.wait_ended() for call in left))
        await until(lambda: len(app.of("/done")) == len(left), "all that was left is told")
        assert {told["CxmldReferOutcome"] for told in app.of("/done")} == {"transferred"}


def packet(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def raw(method: str, call_id: str, port: int, cseq_method: str = "") -> bytes:
    body = "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n" if method == "INVITE" else ""
    return packet(
        f"{method} sip:1000@127.0.0.1 SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{call_id}\nMax-Forwards: 70\n"
        f"From: <sip:1@127.0.0.1>;tag=a\nTo: <sip:1000@127.0.0.1>\n{'i' if int(call_id[-1]) % 2 else 'Call-ID'}: {call_id}\n"
        f"CSeq: 1 {method}\nContact: <sip:1@127.0.0.1:{port}>\n"
        + (f"Content-Type: application/sdp\nContent-Length: {len(packet(body))}\n\n{body}" if body else "Content-Length: 0\n\n")
    )


async def test_repeated_invites_and_their_cancel_find_the_worker_of_the_first(tmp_path: Path) -> None:
    async with house(tmp_path, voice="<Response><Pause length='20'/></Response>") as (process, _, _):
        host, _, port = process.sip["udp"].rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.bind((host, 0))
            phone.setblocking(False)
            phone.connect((host, int(port)))
            ours = phone.getsockname()[1]
            loop = asyncio.get_running_loop()
            for number in range(10):  # those with an odd number have a Call-ID that the kernel's program can't read
                for _ in range(3):
                    await loop.sock_sendall(phone, raw("INVITE", f"raw-{number}", ours))
            await process.event("call_began", count=10)
            for number in range(10):
                await loop.sock_sendall(phone, raw("CANCEL", f"raw-{number}", ours))
            answers: Counter[str] = Counter()
            async with asyncio.timeout(10):
                while answers["487 INVITE"] < 10 or answers["200 CANCEL"] < 10:
                    text = (await loop.sock_recv(phone, 65535)).decode()
                    cseq = next(line for line in text.splitlines() if line.startswith("CSeq"))
                    answers[f"{text[8:11]} {cseq.split()[-1]}"] += 1
        await process.event("call_ended", count=10)
        assert process.events().count("call_began") == 10
        assert set(owners(process).values()) == {0, 1}
        metrics = await metrics_of(process)
        assert metrics['cxmld_sip_transactions_total{event="cancels_unmatched"}'] == 0
        assert metrics['cxmld_worker_messages_total{event="sent"}'] > 0
        assert metrics['cxmld_worker_messages_total{event="sent"}'] == metrics['cxmld_worker_messages_total{event="received"}']


async def test_the_limit_of_calls_holds_for_all_workers_together(tmp_path: Path) -> None:
    async with house(tmp_path, max_calls=CALLS, voice=REFER, done="<Response/>") as (process, _, pbx):
        taken: list[Call] = []
        statuses: list[int] = []
        for _ in range(CALLS + 6):
            try:
                taken.append(await transfer(process, pbx, (30.0, 200)))
            except CallFailedError as refused:
                statuses.append(refused.status)
        assert (len(taken), set(statuses)) == (CALLS, {503})
        assert set(owners(process).values()) == {0, 1}
        await asyncio.gather(*(call.hangup() for call in taken))
        await process.event("call_ended", count=CALLS)
        call = await transfer(process, pbx, (0.05, 200))
        await call.wait_ended()


async def test_a_drain_waits_for_the_calls_of_all_workers(tmp_path: Path) -> None:
    async with house(tmp_path, voice=REFER, done="<Response/>") as (process, app, pbx):
        calls = await asyncio.gather(*(transfer(process, pbx, (4.0, 200)) for _ in range(CALLS)))
        assert set(owners(process).values()) == {0, 1}
        process.signal()
        await process.event("draining", count=2)
        for _ in range(4):
            with pytest.raises(CallFailedError) as refused:
                await dial(process, pbx)
            assert refused.value.status == 503
        ready = await process.get("/health/ready")
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["draining"])
        await asyncio.gather(*(call.wait_ended() for call in calls))
        assert await process.exit_status() == 0
        assert [told["CxmldReferOutcome"] for told in app.of("/done")] == ["transferred"] * CALLS
        assert set(problems(process)) == {"request_refused"}


async def test_a_second_signal_hangs_up_in_all_workers_and_still_reports(tmp_path: Path) -> None:
    async with house(tmp_path, voice=REFER, done="<Response/>") as (process, app, pbx):
        calls = await asyncio.gather(*(transfer(process, pbx, (0.05, 180)) for _ in range(6)))
        await asyncio.sleep(0.5)
        process.signal()
        await process.event("draining", count=2)
        process.signal(signal.SIGINT)
        await asyncio.gather(*(call.wait_ended() for call in calls))
        assert await process.exit_status(20) == 0
        assert {told["CxmldReferOutcome"] for told in app.of("/done")} == {"local_hangup"}


async def test_workers_end_with_their_parent_so_that_the_daemon_can_be_started_again(tmp_path: Path) -> None:
    async with house(tmp_path, voice=REFER, done="<Response/>") as (process, app, pbx):
        calls = await asyncio.gather(*(transfer(process, pbx, (0.05, 180)) for _ in range(6)))
        await asyncio.sleep(0.5)
        pids = [pid_of(process, worker) for worker in (0, 1)]
        process.signal(signal.SIGKILL)
        await process.event("parent_gone", count=2)
        await asyncio.gather(*(call.wait_ended() for call in calls))
        await process.event("worker_stopped", count=2)
        assert {told["CxmldReferOutcome"] for told in app.of("/done")} == {"local_hangup"}
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the processes are gone")


async def test_signals_for_the_whole_group_of_processes_are_obeyed_once(tmp_path: Path) -> None:
    async with house(tmp_path, voice=REFER, done="<Response/>") as (process, app, pbx):
        calls = await asyncio.gather(*(transfer(process, pbx, (1.0, 200)) for _ in range(6)))
        for pid in (pid_of(process, 0), pid_of(process, 1)):
            os.kill(pid, signal.SIGTERM)  # as systemd does
        process.signal()
        await asyncio.gather(*(call.wait_ended() for call in calls))
        assert await process.exit_status() == 0
        assert {told["CxmldReferOutcome"] for told in app.of("/done")} == {"transferred"}


async def test_certificates_are_read_again_by_all(tmp_path: Path) -> None:
    async with house(tmp_path, voice=REFER) as (process, _, _):
        process.signal(signal.SIGHUP)
        await process.event("nothing_to_reload", count=2)
        assert {line["worker"] for line in process.lines if line["event"] == "nothing_to_reload"} == {0, 1}


async def test_a_port_in_use_is_one_clear_line_also_that_of_another_daemon_with_workers(tmp_path: Path) -> None:
    async with house(tmp_path, voice=REFER) as (process, _, _):
        for transport in ("udp", "tcp"):
            arguments = ["--workers", "2", "--sip", f"{transport}:{process.sip[transport]}", "--http", ""]
            status, out, err = await run("serve", *arguments, "--voice-url", "http://127.0.0.1:1/voice", cwd=tmp_path / "..")
            assert (status, out) == (1, "")
            last = err.strip().splitlines()[-1]
            assert last == f"cxmld: [sip] listen: can't listen at {transport}:{process.sip[transport]}: Address already in use"
