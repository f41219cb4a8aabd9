"""Real scanners against a daemon on a public address: sipvicious finds no extension and no password, and makes no call.

Controls against a careless server and against a daemon without bans show that the tools would find what there is.
"""

import asyncio
import importlib.util
import sys
import sysconfig
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from pathlib import Path
from typing import cast

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from cxml.access.rules import Strangers
from cxml.daemon.config import Access, Peer
from sipua.agent import UserAgent
from sipua.auth import Credential
from sipua.errors import CallFailedError, ParseError
from sipua.message import Request, Response, make_response, parse_message
from sipua.usage.call.media import MediaMode
from tests.support.daemon import HOST, DaemonUnderTest, daemon_under_test
from tests.support.peers import free_port

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(importlib.util.find_spec("sipvicious") is None, reason="sipvicious is not installed"),
]

FRIEND = "127.0.0.9"
USER, PASSWORD = "1000", "37"  # a password that the scanners' range has
UNLIKE = "We got an unknown response"
"""What the cracker says when an answer differs from those to wrong passwords."""

LIMIT_S = 12.0
RIGHT = (Credential(USER, PASSWORD),)
BY_ADDRESS = (Peer(name="pbx", match=(FRIEND,)),)
BY_PASSWORD = (Peer(name="road", auth="digest", inbound_username=USER, inbound_password=SecretStr(PASSWORD)),)  # type: ignore[arg-type]

MODES = {
    "silent": (BY_ADDRESS, Access()),
    "refuse": (BY_ADDRESS, Access(strangers=Strangers.REFUSE)),
    # scanners bind to loopback, which is spared by default; they know no algorithm but MD5
    "digest": (BY_PASSWORD, Access(never_ban=(), algorithms=("MD5",))),
}
ANSWERS = {"silent": set(), "refuse": {403}, "digest": {401}}


async def scan(tool: str, folder: Path, *arguments: str) -> str:
    """Run a tool of sipvicious, with a home of its own, and return what it printed until its end, or until it was stopped.

    It gets a port of its own, too: all tools bind theirs on all addresses, and other tests need 5060 on some of them.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(sysconfig.get_path("scripts")) / f"sipvicious_{tool}"), *arguments, "-P", str(free_port()), HOST,
        stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"}, cwd=folder,
    )  # fmt: skip
    stopping = asyncio.get_running_loop().call_later(LIMIT_S, process.kill)  # the cracker waits for ever for another answer than 403
    try:
        printed, _ = await process.communicate()
    finally:
        stopping.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    return printed.decode(errors="replace")


def answers_of(daemon: DaemonUnderTest) -> set[int]:
    return {passed.message.status for passed in daemon.traffic if isinstance(passed.message, Response) and passed.direction == "out"}


async def a_friend_calls(daemon: DaemonUnderTest, credentials: tuple[Credential, ...] = ()) -> None:
    """A peer calls; its document rejects the call, which only a document can do with 603."""
    daemon.app.otherwise = "<Reject/>"
    asked = len(daemon.app.of("/voice"))
    async with UserAgent(listen=[f"udp:{FRIEND}:0"], credentials=credentials) as friend:
        with pytest.raises(CallFailedError) as failure:
            await friend.dial(f"sip:{USER}@{HOST}:{daemon.port}", timeout_s=10)
    assert failure.value.status == 603
    assert len(daemon.app.of("/voice")) == asked + 1


@pytest.mark.parametrize("mode", MODES)
async def test_scanners_find_nothing_and_a_peer_calls_right_after(mode: str, tmp_path: Path) -> None:
    peers, access = MODES[mode]
    with capture_logs() as logs:
        async with daemon_under_test(mode=MediaMode.NONE, peers=peers, access=access) as daemon:
            port = ("-p", str(daemon.port))
            found = await scan("svmap", tmp_path, *port)
            assert ("| SIP Device" in found) == (mode != "silent"), found
            for method in ("REGISTER", "INVITE", "OPTIONS"):
                extensions = await scan("svwar", tmp_path, *port, "-m", method, "-e", "990-1010", "--force", "--maximumtime", "3")
                assert "Extension" not in extensions, extensions
                assert "found nothing" in extensions, extensions
            for reuse in ((), ("-n",)):
                cracked = await scan("svcrack", tmp_path, *port, "-u", USER, "-r", "1-60", "--maximumtime", "3", *reuse)
                assert "Password" not in cracked, cracked
                assert UNLIKE not in cracked, cracked
            assert answers_of(daemon) == ANSWERS[mode]
            assert daemon.daemon.agent.transactions.server_count == 0
            assert daemon.app.hits == []
            assert daemon.daemon.gate.banned_count() == (1 if mode == "digest" else 0)
            await a_friend_calls(daemon, RIGHT if mode == "digest" else ())
    lines = [line for line in logs if line["event"] in ("request_refused", "request_challenged", "source_banned")]
    assert lines
    assert len(lines) < 20  # not one for each request
    assert [line["source"] for line in lines if line["event"] == "source_banned"] == ([HOST] if mode == "digest" else [])


@pytest.mark.parametrize(
    ("peers", "access", "factor"),
    [
        pytest.param(*MODES["refuse"], 1.0, id="refuse"),
        pytest.param(*MODES["digest"], 1.2, id="one algorithm"),
        pytest.param(BY_PASSWORD, Access(), 1.5, id="two algorithms"),
    ],
)
async def test_what_scanners_get_is_hardly_more_than_what_they_send(
    peers: tuple[Peer, ...], access: Access, factor: float, tmp_path: Path
) -> None:
    """Who forges a source has us send to it: a refusal is smaller than its question, a challenge not much larger (docs/adr/0013)."""
    async with daemon_under_test(mode=MediaMode.NONE, peers=peers, access=access) as daemon:
        await scan("svmap", tmp_path, "-p", str(daemon.port))
        await scan("svwar", tmp_path, "-p", str(daemon.port), "-e", "100-105", "--force", "--maximumtime", "3")
        sent = {
            direction: [len(passed.message.encode()) for passed in daemon.traffic if passed.direction == direction]
            for direction in ("in", "out")
        }
        assert sent["out"]
        assert sum(sent["out"]) <= factor * sum(sent["in"]), sent


async def test_control_the_cracker_finds_the_password_where_nobody_is_banned(tmp_path: Path) -> None:
    access = Access(algorithms=("MD5",), max_failures=1000, max_answers_per_s=1000)
    async with daemon_under_test(mode=MediaMode.NONE, peers=BY_PASSWORD, access=access) as daemon:
        cracked = await scan("svcrack", tmp_path, "-p", str(daemon.port), "-u", USER, "-r", "30-40", "--maximumtime", "3")
        assert UNLIKE in cracked, cracked  # a REGISTER that comes in gets 405
        assert 405 in answers_of(daemon)


class Careless(asyncio.DatagramProtocol):
    """A server that says of each extension whether it exists, as many PBXs do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            request = parse_message(data)
        except ParseError:
            return
        if isinstance(request, Request) and request.method != "ACK":
            response = make_response(request, 401 if request.to.uri.user == USER else 404, to_tag="c")
            if response.status == 401:
                response.headers.add("WWW-Authenticate", 'Digest realm="careless", nonce="n"')
            self.transport.sendto(response.encode(), addr)


async def test_control_the_war_dialler_finds_the_extension_of_a_careless_server(tmp_path: Path) -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Careless, (HOST, 0))
    try:
        port = str(transport.get_extra_info("sockname")[1])
        found = await scan("svwar", tmp_path, "-p", port, "-e", "998-1002", "--maximumtime", "3")
    finally:
        transport.close()
    assert "1000" in found
    assert "reqauth" in found
