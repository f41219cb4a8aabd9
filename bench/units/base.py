"""What the bench needs of a unit under test."""

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from bench.caller import BenchError, Target

READY_S = 40.0
STOP_S = 10.0
_POLL_S = 0.02


class Unit(ABC):
    """A user agent that answers a call, sends REFER to ``sip:target@127.0.0.1:9`` and hangs up after the final NOTIFY.

    *folder* takes its files, *core* is where it runs, *port* is the first of ten that are free, *webhook* the port of the web application;
    what it needs besides runs on *caller_core*.
    """

    name = ""
    job = "SIP"
    """What it does for a transfer: ``SIP``, or ``full`` with two requests to the web application."""
    transport = "udp"
    figures: Sequence[str] = ("cpu", "latency", "sustained", "memory")
    """Which figures say something about it."""
    opening_rate = 100
    """Dialogs a second that it opens without trouble."""
    max_dialogs = 5000
    """More are not tried."""
    workers = 1
    share = 1.0
    """What each worker has of the core."""
    precision = 1.1
    """The sustained rate is known when one that is higher by this factor fails."""
    warm_up: Sequence[tuple[int, int]] = ((50, 4),)
    """Rates, and for how many seconds each, before anything is measured."""

    def __init__(self, folder: Path, core: int, port: int, webhook: int, caller_core: int | None = None) -> None:
        self.folder = folder
        self.core = core
        self.caller_core = core if caller_core is None else caller_core
        self.port = port
        self.webhook = webhook
        self.started_in_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def missing(cls) -> str:
        """Return why this unit can't be run here, ``""`` when it can."""
        return ""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Write the files that are needed, and return the command that runs the unit in the foreground."""

    @property
    def target(self) -> Target:
        """Where it is called."""
        return Target("127.0.0.1", self.port, self.transport)

    @property
    def pid(self) -> int:
        """The process whose family is measured."""
        if self._process is None:
            raise BenchError(f"{self.name} does not run")
        return self._process.pid

    def start(self) -> None:
        """Run it and wait until it takes calls. Raises :class:`BenchError`."""
        begun = time.monotonic()
        words = ["taskset", "-c", str(self.core), *self.command()]
        with self.open_output() as output:
            self._process = subprocess.Popen(
                words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() - begun > READY_S:
                self.stop()
                raise BenchError(f"{self.name} did not start: {self.last_words()}")
            time.sleep(_POLL_S)  # noqa: TID251  # nothing else runs here
        self.started_in_s = time.monotonic() - begun

    def open_output(self) -> BinaryIO:
        """Return where standard output and standard error go."""
        return (self.folder / "output.txt").open("wb")

    def last_words(self) -> str:
        """Return the end of its output, for an error message."""
        return (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")[-500:].strip() or "it said nothing"

    def is_ready(self) -> bool:
        """Tell whether it answers an OPTIONS, whatever it says."""
        return answers(self.target)

    def stop(self) -> None:
        """End it and its children."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(STOP_S)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
            break
        self._process = None


def listens(port: int) -> bool:
    """Tell whether somebody takes TCP connections at *port*."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def answers(target: Target) -> bool:
    """Tell whether somebody answers an OPTIONS at *target* within a moment."""
    kind = socket.SOCK_STREAM if target.transport == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as asking:
        asking.settimeout(0.2)
        try:
            asking.connect((target.host, target.port))
            host, port = asking.getsockname()
            asking.sendall(_options(target, f"{host}:{port}"))
            return asking.recv(65535).startswith(b"SIP/2.0")
        except OSError:
            return False


def _options(target: Target, own: str) -> bytes:
    lines = [
        f"OPTIONS sip:{target.service}@{target.host}:{target.port} SIP/2.0",
        f"Via: SIP/2.0/{target.transport.upper()} {own};branch=z9hG4bK{time.monotonic_ns():x};rport",
        f"From: <sip:ready@{own}>;tag=r",
        f"To: <sip:{target.service}@{target.host}:{target.port}>",
        f"Call-ID: {time.monotonic_ns():x}@{own}",
        "CSeq: 1 OPTIONS",
        f"Contact: <sip:ready@{own}>",
        "Max-Forwards: 70",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
