"""A bounded flood of requests from addresses of loopback, as a process of its own.

``python -m tests.support.flooding HOST PORT SECONDS RATE METHOD SOURCES``
"""

import asyncio
import json
import select
import socket
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

NETWORK = "127.211.0.0/16"
"""Where floods come from."""

MANY = 40
LONGEST_S = 30.0
HIGHEST_RATE = 10_000
_STEP_S = 0.01
_LINES = (
    "{method} sip:{number}@{host} SIP/2.0",
    "Via: SIP/2.0/UDP {source}:5060;branch=z9hG4bKflood{number};rport",
    "Max-Forwards: 70",
    "From: <sip:flood@{source}>;tag=f{number}",
    "To: <sip:{number}@{host}>{tag}",
    "Call-ID: flood-{number}",
    "CSeq: 1 {method}",
    "Contact: <sip:flood@{source}:5060>",
    "Content-Length: 0",
)


@dataclass(frozen=True, slots=True)
class Flooded:
    """How many requests were sent, in how many seconds, and how many answers came."""

    sent: int
    answers: int
    seconds: float


def flood(host: str, port: int, seconds: float, rate: int, method: str, addresses: int) -> Flooded:
    """Send *rate* requests a second to loopback for *seconds*, all but INVITE as if they belonged to a call."""
    if not host.startswith("127.") or seconds > LONGEST_S or rate > HIGHEST_RATE:
        raise ValueError("only loopback, and not for long")
    with ExitStack() as stack:
        sources = [f"127.211.{n}.7" for n in range(addresses)]
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in sources]
        for source, one in zip(sources, sockets, strict=True):
            one.bind((source, 0))
            one.setblocking(False)
        tag = "" if method == "INVITE" else ";tag=x"
        began, sent, answers = time.monotonic(), 0, 0
        while (now := time.monotonic() - began) < seconds:
            while sent < rate * now:
                text = "\r\n".join(_LINES).format(method=method, tag=tag, number=sent, host=host, source=sources[sent % addresses])
                sockets[sent % addresses].sendto(f"{text}\r\n\r\n".encode(), (host, port))
                sent += 1
            answers += _drain(sockets, _STEP_S)
        return Flooded(sent, answers, time.monotonic() - began)


def _drain(sockets: list[socket.socket], for_s: float) -> int:
    """Read what came and comes within *for_s* seconds; return how many datagrams that were."""
    count, until = 0, time.monotonic() + for_s
    while (rest_s := until - time.monotonic()) > 0:
        for one in select.select(sockets, [], [], rest_s)[0]:
            one.recv(65536)
            count += 1
    return count


async def run(host: str, port: int, seconds: float, rate: int, method: str = "INVITE", addresses: int = MANY) -> Flooded:
    """Run :func:`flood` in another process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.flooding", host, str(port), str(seconds), str(rate), method, str(addresses),
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Flooded(**json.loads(out))


if __name__ == "__main__":
    told = flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5], int(sys.argv[6]))
    print(json.dumps({"sent": told.sent, "answers": told.answers, "seconds": told.seconds}))
