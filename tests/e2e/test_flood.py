"""Requests pour in, of strangers or of another peer: the calls of a peer go on as if nothing was, and neither memory nor log grow."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sipua.agent import UserAgent
from sipua.usage.call.call import Call
from tests.support import flooding
from tests.support.flooding import Flooded
from tests.support.pbx import refer_after
from tests.support.peers import many_rtp_ports
from tests.support.process import Daemon, WebApplication, application, daemon

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

WARM_S = 5.0
FLOOD_S = 12.0
RATE = 4000
"""Datagrams a second: eight times what all strangers together may send."""

MAD_RATE = 6000
"""More than one core answers."""

CALLS_PER_S = 3
ANSWER_S = 1.0
MAD_ANSWER_S = 4.0
"""A peer's flood fills the queue of the socket that all share, the more the slower the machine. A request may be lost there three times:
that costs it 3.5 s (RFC 3261 §17.1.2.2: T1 and twice its double).
"""
MAD_LATE = 0.1
"""Share of the requests that may be lost more than once."""
RINGS_S = 8.0
"""How long the target of a transfer rings: longer than slow answers take, so that the call is up for each request in it."""
GROWTH = 1.10
REFER = "<Response><Refer action='/done'><Sip>sip:target@127.0.0.1:9</Sip></Refer></Response>"
CONFIG = """
[sip]
listen = ["udp:127.0.0.1:0"]
drain_timeout_s = 5
[http]
listen = "127.0.0.1:0"
[voice]
url = "{url}/voice"
[media]
rtp_ports = "{rtp_ports}"
[limits]
max_calls = 200
[[peers]]
name = "pbx"
match = ["{peer}"]
"""


def resident_kib(process: Daemon) -> int:
    """Return what the process has in memory."""
    for line in Path(f"/proc/{process.process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise LookupError("no VmRSS")


MAD = f"""
[[peers]]
name = "mad"
match = ["{flooding.NETWORK}"]
max_calls = 50
max_calls_per_s = 5
"""


@dataclass
class Caller:
    """The peer: opens calls steadily, asks in each of them, and reports its transfer."""

    process: Daemon
    agent: UserAgent
    answer_s: float = ANSWER_S
    """What an answer may take."""
    slowest_s: float = 0.0
    late: int = 0
    asked: int = 0
    calls: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.calls} calls, {self.asked} OPTIONS in them, slowest {self.slowest_s * 1000:.0f} ms"

    async def keep_calling(self, seconds: float) -> None:
        """Begin calls for *seconds*, and wait for the last one."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            while loop.time() < until:
                group.create_task(self._call())
                await asyncio.sleep(1 / CALLS_PER_S)

    async def _call(self) -> None:
        self.calls += 1
        call = await self.agent.dial(f"sip:1000@{self.process.sip['udp']}", timeout_s=10)
        call.on_transfer_request(refer_after((RINGS_S, 200)))
        for _ in range(4):
            await self._ask(call)
            await asyncio.sleep(0.3)
        await call.wait_ended()

    async def _ask(self, call: Call) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await call.request("OPTIONS")
        took_s = loop.time() - began
        self.asked += 1
        self.slowest_s = max(self.slowest_s, took_s)
        self.late += took_s > ANSWER_S
        if response.status != 200 or took_s > self.answer_s:
            self.wrong.append(f"{response.status} after {took_s:.2f} s")


@asynccontextmanager
async def scene(folder: Path, mad: str = "") -> AsyncIterator[tuple[Caller, WebApplication]]:
    """A daemon with a peer that calls it; *mad* is a second peer."""
    peer = f"127.{60 + os.getpid() % 10}.{os.getpid() // 10 % 250}.1"
    async with application({"/voice": REFER, "/done": "<Response/>"}) as app:
        config = folder / "cxmld.toml"
        config.write_text(CONFIG.format(url=app.url, peer=peer, rtp_ports=many_rtp_ports()) + mad)
        async with daemon(config) as process, UserAgent(listen=[f"udp:{peer}:0"]) as agent:
            yield Caller(process, agent), app


async def flood_beside(caller: Caller, seconds: float, rate: int, method: str = "INVITE", addresses: int = flooding.MANY) -> Flooded:
    """Flood while the peer calls."""
    host, _, port = caller.process.sip["udp"].rpartition(":")
    flooded, _ = await asyncio.gather(flooding.run(host, int(port), seconds, rate, method, addresses), caller.keep_calling(seconds))
    return flooded


def calls_of_the_peer(app: WebApplication, path: str) -> list[dict[str, str]]:
    """Return what *path* was asked about calls that are not the flood's: a few of those get in, and are lost when its sockets close."""
    return [params for params in app.of(path) if "flood" not in params["From"]]


async def check(caller: Caller, app: WebApplication) -> list[str]:
    """Check that the peer noticed nothing; return the lines of the metrics about what was kept out."""
    assert caller.wrong == []
    assert caller.late <= caller.asked * MAD_LATE
    assert [params["CxmldReferOutcome"] for params in calls_of_the_peer(app, "/done")] == ["transferred"] * caller.calls
    assert len(calls_of_the_peer(app, "/voice")) == caller.calls
    lines = caller.process.lines
    assert len([line for line in lines if line["event"] not in CALL_EVENTS]) < 20 + WARM_S + FLOOD_S
    assert [line for line in lines if line["level"] in ("error", "critical")] == []
    text = (await caller.process.get("/metrics")).text
    return [line for line in text.splitlines() if line.startswith(("cxmld_shed_total", "cxmld_calls_refused_total"))]


async def test_a_flood_of_strangers_leaves_the_calls_of_a_peer_alone(tmp_path: Path) -> None:
    async with scene(tmp_path) as (caller, app):
        await flood_beside(caller, WARM_S, RATE)
        before = resident_kib(caller.process)
        flooded = await flood_beside(caller, FLOOD_S, RATE)
        after = resident_kib(caller.process)
        kept_out = await check(caller, app)
        print(f"\n{flooded}; {caller}; RSS {before} KiB, then {after} KiB ({after / before - 1:+.1%}); {kept_out}")
        assert flooded.sent > 0.5 * RATE * FLOOD_S
        assert flooded.answers < 0.5 * flooded.sent
        assert any('reason="source_rate"' in line or 'reason="stranger_rate"' in line for line in kept_out)
        assert any('cxmld_calls_refused_total{reason="stranger"}' in line for line in kept_out)
        assert len(app.of("/voice")) == caller.calls
        assert after <= before * GROWTH


@pytest.mark.parametrize(("method", "addresses"), [("BYE", 1), ("INVITE", 1), ("INVITE", flooding.MANY)])
async def test_a_peer_that_has_gone_mad_leaves_the_calls_of_another_alone(tmp_path: Path, method: str, addresses: int) -> None:
    async with scene(tmp_path, MAD) as (caller, app):
        caller.answer_s = MAD_ANSWER_S
        flooded = await flood_beside(caller, WARM_S, MAD_RATE, method, addresses)
        kept_out = await check(caller, app)
        print(f"\n{flooded}; {caller}; {kept_out}")
        if method == "INVITE":
            assert any('peer="mad",reason="peer_max_calls_per_s"' in line for line in kept_out)


CALL_EVENTS = {"call_began", "call_ended", "transfer_ended"}
"""What the peer's own calls put into the log."""
