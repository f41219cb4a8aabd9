"""A daemon process whose log nobody reads: it goes on answering, drops lines beyond its buffer, and says so afterwards."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cxml.daemon.log_output import MAX_WAITING_BYTES
from tests.support.daemon import HOST
from tests.support.peers import free_port

pytestmark = pytest.mark.e2e

PADDING = "x" * 7000
"""Makes a line of the trace long, so that few are needed."""

ANSWER_S = 10.0


@contextmanager
def daemon(folder: Path, sip: int, http: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon with the trace on; its standard error is a pipe that only the test reads."""
    path = folder / "cxmld.toml"
    path.write_text(f"""
[sip]
listen = ["udp:{HOST}:{sip}"]
[http]
listen = "{HOST}:{http}"
[voice]
url = "http://{HOST}:9/"
[media]
mode = "none"
[log]
format = "json"
sip_trace = true
""")
    words = [sys.executable, "-m", "cxml", "serve", "--config", str(path)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CXMLD_")}
    nothing = subprocess.DEVNULL
    with subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def options(number: int, port: int) -> bytes:
    lines = (
        f"OPTIONS sip:x@{HOST} SIP/2.0",
        f"Via: SIP/2.0/UDP {HOST}:{port};branch=z9hG4bKunread{number}",
        "Max-Forwards: 70",
        f"From: <sip:a@{HOST}>;tag=f",
        f"To: <sip:x@{HOST}>",
        f"Call-ID: unread{number}",
        "CSeq: 1 OPTIONS",
        f"X-Padding: {PADDING}",
        "Content-Length: 0",
    )
    return "\r\n".join((*lines, "", "")).encode()


def read_until(process: subprocess.Popen[bytes], word: bytes) -> bytes:
    assert process.stderr is not None
    found = b""
    while word not in found:
        assert select.select([process.stderr], (), (), ANSWER_S)[0], f"no {word!r} in the log"
        found += os.read(process.stderr.fileno(), 65536)
    return found


def metric(http: int, name: str) -> float:
    with urllib.request.urlopen(f"http://{HOST}:{http}/metrics", timeout=ANSWER_S) as answer:
        text = answer.read().decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def test_a_reader_that_stops_reading_stops_no_call(tmp_path: Path) -> None:
    sip, http = free_port(2), free_port()
    with daemon(tmp_path, sip, http) as process, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        read_until(process, b"daemon_ready")
        sender.bind((HOST, 0))
        sender.settimeout(ANSWER_S)
        number = 0
        enough = (MAX_WAITING_BYTES + 1_000_000) // len(PADDING)
        while number < enough:
            sender.sendto(options(number, sender.getsockname()[1]), (HOST, sip))
            assert sender.recv(65535).startswith(b"SIP/2.0 200"), f"no answer after {number} requests"
            number += 1
        dropped = metric(http, "cxmld_log_dropped_total")
        assert dropped > 0
        told = next(line for line in read_until(process, b'"log_dropped"').splitlines() if b'"log_dropped"' in line)
        assert json.loads(told)["count"] == dropped
        sender.sendto(options(number, sender.getsockname()[1]), (HOST, sip))
        assert json.loads(next(line for line in read_until(process, b"200 OK").splitlines() if b"200 OK" in line))["level"] == "debug"
        process.send_signal(signal.SIGTERM)
        read_until(process, b"daemon_stopped")
        assert process.wait(ANSWER_S) == 0
