"""ICMP of the real kernel, on both kinds of loops: a dead UDP port fails the request at once and costs nobody else anything."""

import asyncio
import json
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path

import pytest

from sipua.agent import UserAgent
from tests.support.loops import LOOPS
from tests.support.peers import free_port, require_ipv6

pytestmark = pytest.mark.interop


def run(loop: str, test: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(test, 30))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_dead_port_fails_its_request_at_once_and_the_socket_goes_on(loop: str, host: str) -> None:
    if ":" in host:
        require_ipv6()
    where = f"[{host}]" if ":" in host else host

    async def scene() -> None:
        async with UserAgent(listen=[f"udp:{where}:0"]) as other, UserAgent(listen=[f"udp:{where}:0"]) as agent:
            dead, living = f"sip:{where}:{free_port()}", f"sip:{where}:{other.endpoints[0].port}"
            start = asyncio.get_running_loop().time()
            for _ in range(3):
                refused, served = await asyncio.gather(agent.options(dead), agent.options(living))
                assert refused.status == 503
                assert served.status != 503
                assert served.headers.get("Via") is not None
            assert asyncio.get_running_loop().time() - start < 5

    run(loop, scene())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_hundred_dead_ports_disturb_no_request_to_a_living_one(loop: str) -> None:
    async def scene() -> None:
        async with UserAgent(listen=["udp:127.0.0.1:0"]) as other, UserAgent(listen=["udp:127.0.0.1:0"]) as agent:
            living = f"sip:127.0.0.1:{other.endpoints[0].port}"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
                held.bind(("127.0.0.1", 0))
                dead = f"sip:127.0.0.1:{held.getsockname()[1]}"
            answers = await asyncio.gather(*(agent.options(dead if n % 2 else living) for n in range(200)))
            assert {answer.status for n, answer in enumerate(answers) if n % 2} == {503}
            assert 503 not in {answer.status for n, answer in enumerate(answers) if not n % 2}
            assert agent.transactions.statistics.client_transport_failures == 100

    run(loop, scene())


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_the_doctor_says_that_the_pbx_is_down(host: str, tmp_path: Path) -> None:
    if host != "127.0.0.1":
        require_ipv6()
    dead, config = free_port(), tmp_path / "cxmld.toml"
    config.write_text(
        f'[sip]\nlisten = ["udp:{host}:5060"]\n[voice]\nurl = "http://127.0.0.1:1/"\n[[peers]]\nname = "pbx"\nuri = "sip:{host}:{dead}"\n',
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "cxml", "doctor", "--config", str(config), "--peer", "pbx", "--json"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    (finding,) = json.loads(out)["findings"]
    assert finding["code"] == "no_way", (out, err)
    assert finding["evidence"] == [f"nobody takes requests at udp:{host}:{dead}: port, host or network is unreachable, as ICMP says"]
    assert process.returncode == 1
