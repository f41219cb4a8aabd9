"""Mutated messages against the daemon as a process: it answers OPTIONS all the time, says nothing that is not expected, and does not grow.

``MUTANTS`` in the environment multiplies their number.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.mutants import mutant, seeds
from tests.support.process import Daemon, application, daemon
from tests.support.torture import DatagramPeer, StreamPeer, lines_of, status_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

TIMES = int(os.environ.get("MUTANTS", "1"))
DATAGRAMS, STREAMS = 10_000 * TIMES, 1000 * TIMES
EVERY = 100  # mutants between two OPTIONS
PACE = 10  # datagrams between two breaths: a receive buffer of the kernel's default size must hold what comes meanwhile
BREATH_S = 0.002
OPEN_STREAMS = 10
GROWTH = 1.10
EXPECTED = frozenset(
    {100, 180, 200, 400, 403, 404, 405, 406, 413, 414, 415, 416, 420, 421, 422, 480, 481, 482, 487, 488, 489, 491, 501, 503, 505, 513, 603}
)
"""What a mutant may be answered. 500 is not among them: no mutant reaches a dialog, so it would be a fault of ours."""

CONFIG = """
[sip]
listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
drain_timeout_s = 0
[http]
listen = "127.0.0.1:0"
[voice]
url = "{url}/voice"
[media]
mode = "none"
[[peers]]
name = "sender"
match = [{peers}]
"""


def address(last: int) -> str:
    """Return an address of loopback of this process: port 5060 is free there."""
    return f"127.{80 + os.getpid() % 40}.{os.getpid() // 40 % 250}.{last}"


def resident_kib(process: Daemon) -> int:
    """Return what the process has in memory."""
    for line in Path(f"/proc/{process.process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise LookupError("no VmRSS")


def target(process: Daemon, transport: str) -> tuple[str, int]:
    host, _, port = process.sip[transport].rpartition(":")
    return host, int(port)


@dataclass
class Flood:
    """Sends mutants from *sender*, and asks from *asker* whether the daemon still answers."""

    process: Daemon
    rng: random.Random
    sender: DatagramPeer
    asker: DatagramPeer
    originals: list[bytes]
    answers: dict[int, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    asked: int = 0
    _call_ids: set[bytes] = field(default_factory=set)
    _sent: list[bytes] = field(default_factory=list)

    def sending(self, data: bytes) -> bytes:
        """Note what is sent."""
        self._call_ids |= {value for name, value in lines_of(data) if name == b"call-id"}
        self._sent.append(data)
        return data

    def _is_of_ours(self, call_id: bytes) -> bool:
        """Tell whether *call_id* was sent: as a header's value, or anywhere where faults leave open what is a header."""
        return call_id in self._call_ids or any(call_id in b" ".join(data.split()) for data in self._sent)

    def judge(self, data: bytes) -> None:
        """Check one message that came."""
        status = status_of(data)
        self.answers[status] = self.answers.get(status, 0) + 1
        if status not in EXPECTED:
            self.wrong.append(f"not expected: {data[:80]!r}")
        lines = list(lines_of(data))
        body = data.partition(b"\r\n\r\n")[2]
        if [int(value) for name, value in lines if name == b"content-length"] != [len(body)]:
            self.wrong.append(f"a length that is wrong: {data[:80]!r}")
        call_id = next((value for name, value in lines if name == b"call-id"), None)
        if call_id is not None and not self._is_of_ours(call_id):
            self.wrong.append(f"answers nothing that was sent: {call_id!r} {data!r}")

    async def ask(self) -> None:
        """Check that OPTIONS is answered over UDP and TCP within a second."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        if not await self.asker.is_answered():
            self.wrong.append(f"OPTIONS {self.asked} over UDP was not answered within 1 s")
        self.slowest_s = max(self.slowest_s, loop.time() - started)
        started = loop.time()
        stream = await StreamPeer.connected(self.asker.host, target(self.process, "tcp"))
        if not await stream.is_answered():
            self.wrong.append(f"OPTIONS {self.asked} over TCP was not answered within 1 s")
        self.slowest_s = max(self.slowest_s, loop.time() - started)
        await stream.close()
        self.asked += 2

    async def datagrams(self, count: int) -> None:
        """Send *count* mutants over UDP."""
        for number in range(1, count + 1):
            self.sender.send(self.sending(mutant(self.rng, self.originals)))
            if number % PACE == 0:
                await asyncio.sleep(BREATH_S)
            if number % EVERY == 0:
                await self.ask()
        for data in self.sender.received:
            self.judge(data)
        self.sender.received.clear()

    async def streams(self, count: int) -> None:
        """Send *count* mutants over TCP, each on a connection of its own, some at a time."""
        for start in range(0, count, EVERY):
            room = asyncio.Semaphore(OPEN_STREAMS)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(EVERY, count - start)):
                    group.create_task(self._stream(room))
            await self.ask()

    async def _stream(self, room: asyncio.Semaphore) -> None:
        async with room:
            data = self.sending(b"".join(mutant(self.rng, self.originals) for _ in range(self.rng.choice((1, 1, 1, 2, 3)))))
            cut = self.rng.randrange(len(data) + 1)
            stream = await StreamPeer.connected(self.sender.host, target(self.process, "tcp"))
            try:
                stream.send(data[:cut])
                await asyncio.sleep(self.rng.choice((0, 0, 0.01)))
                stream.send(data[cut:])
                if self.rng.random() < 0.8:  # the others hang up at once
                    await stream.read_until(lambda: stream.is_closed, 0.03)
            finally:
                with contextlib.suppress(OSError):
                    await stream.close()
            for message in stream.messages:
                self.judge(message)


@asynccontextmanager
async def flood(tmp_path: Path, seed: int, *, as_stranger: bool = False) -> AsyncIterator[Flood]:
    """Run a daemon whose only peer is the asker's address, and the sender's too unless it is a stranger."""
    asker = DatagramPeer(address(1), ("", 0))
    sender = DatagramPeer(address(2), ("", 0))
    async with application({"/voice": "<Response><Reject/></Response>"}) as app:
        config = tmp_path / "cxmld.toml"
        config.write_text(CONFIG.format(url=app.url, peers=f'"{asker.host}"' if as_stranger else f'"{asker.host}", "{sender.host}"'))
        async with daemon(config) as process:
            for peer in (asker, sender):
                peer.target = target(process, "udp")
                await peer.open({5062, 5070, 6050, 19823})
            try:
                yield Flood(process, random.Random(seed), sender, asker, seeds(sender.host))
            finally:
                asker.close()
                sender.close()


async def check_log(process: Daemon, elapsed_s: float) -> None:
    """Check that nothing went wrong inside and that the log tells of floods once in a while, not once a packet."""
    text = "\n".join(process.raw)
    assert "Traceback" not in text
    assert [line for line in process.lines if line["level"] in ("error", "critical")] == []
    warnings = [line for line in process.lines if line["level"] == "warning"]
    assert len(warnings) < 100 + 20 * elapsed_s
    assert max(map(len, process.raw)) < 4000
    metrics = (await process.get("/metrics")).text
    assert "cxmld_build_info" in metrics or "cxmld_" in metrics


@pytest.mark.parametrize("seed", [1])
async def test_mutants_from_a_peer_are_answered_as_expected_and_leave_no_trace(tmp_path: Path, seed: int) -> None:
    async with flood(tmp_path, seed) as run:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await run.datagrams(DATAGRAMS // 2)  # warm: buffers, caches and as many transactions as the rest will hold
        await run.streams(STREAMS // 2)
        before = resident_kib(run.process)
        await run.datagrams(DATAGRAMS)
        await run.streams(STREAMS)
        after = resident_kib(run.process)
        elapsed_s = loop.time() - started
        print(
            f"\n{DATAGRAMS} datagrams and {STREAMS} streams after a warm-up of half of them, {elapsed_s:.1f} s: "
            f"{run.asked} OPTIONS, slowest answer {run.slowest_s * 1000:.0f} ms; RSS {before} KiB before, {after} KiB after "
            f"({after / before - 1:+.1%}); answers {dict(sorted(run.answers.items()))}; {len(run.process.raw)} lines of log"
        )
        assert run.wrong == []
        assert {400, 405, 503, 603} & set(run.answers)
        assert after <= before * GROWTH
        await check_log(run.process, elapsed_s)


async def test_mutants_from_a_stranger_do_not_keep_a_peer_from_being_answered(tmp_path: Path) -> None:
    async with flood(tmp_path, 2, as_stranger=True) as run:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await run.datagrams(DATAGRAMS // 4)
        await run.streams(STREAMS // 4)
        assert run.wrong == []
        assert "call_began" not in run.process.events()  # no document ran for it
        assert len(run.process.events()) < 200
        await check_log(run.process, loop.time() - started)
