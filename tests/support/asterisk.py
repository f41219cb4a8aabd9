"""Starts and stops the Asterisk of ``tests/interop/asterisk`` on free ports, and talks to it."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.support import ami
from tests.support.certificates import Authority
from tests.support.peers import INTEROP, PEERS_DIR, free_port, rtp_range

HERE = INTEROP / "asterisk"
HOST = "127.0.0.1"

_START_S = 40.0
_STOP_S = 20.0
_ATTEMPTS = 3


class AsteriskError(Exception):
    """Asterisk did not start or a command failed; the text has the end of its output."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one instance; ``sip`` serves UDP and TCP, ``agent`` is where the static trunk sends its calls."""

    sip: int
    tls: int
    http: int
    ami: int
    agent: int
    rtp_first: int
    rtp_last: int

    @classmethod
    def free(cls) -> "Ports":
        """Choose ports that are free now."""
        first = free_port(5)
        rtp_first, rtp_last = rtp_range()
        return cls(first, first + 1, first + 2, first + 3, first + 4, rtp_first, rtp_last)

    def environment(self) -> dict[str, str]:
        """Return the environment that ``settings.sh`` reads."""
        return {
            "ASTERISK_HOST": HOST,
            "ASTERISK_SIP_PORT": str(self.sip),
            "ASTERISK_TLS_PORT": str(self.tls),
            "ASTERISK_HTTP_PORT": str(self.http),
            "ASTERISK_AMI_PORT": str(self.ami),
            "ASTERISK_RTP_START": str(self.rtp_first),
            "ASTERISK_RTP_END": str(self.rtp_last),
            "CXMLD_HOST": HOST,
            "CXMLD_PORT": str(self.agent),
        }


class Asterisk:
    """One running instance."""

    host = HOST

    def __init__(self, ports: Ports, output: Path) -> None:
        self.ports = ports
        self.output = output
        self.authority = Authority(output.parent)
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def started(cls, folder: Path) -> "Asterisk":
        """Start an instance whose script's output goes to *folder*, with other ports when some were taken meanwhile."""
        for attempt in range(1, _ATTEMPTS + 1):
            instance = cls(Ports.free(), folder / f"asterisk-{attempt}.txt")
            try:
                instance.start()
            except AsteriskError:
                instance.stop()
                if attempt == _ATTEMPTS:
                    raise
            else:
                return instance
        raise AssertionError("unreachable")

    @property
    def log_path(self) -> Path:
        """Return the path of Asterisk's own log, with every SIP message in it."""
        return PEERS_DIR / "asterisk" / "var/lib/cxmld-peer" / str(self.ports.sip) / "log" / "messages"

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment for the scripts of this instance."""
        files = {"ASTERISK_TLS_FILES": str(self._tls_files()), "ASTERISK_TLS_MUTUAL": "yes"}
        return {**os.environ, **self.ports.environment(), **files}

    def _tls_files(self) -> Path:
        """Return the folder of this instance's certificate: for ``localhost`` and its address, by an authority of the test's."""
        folder = self.output.with_suffix(".tls")
        if not folder.exists():
            folder.mkdir()
            certificate, key = self.authority.issue("localhost", HOST)
            for source, name in ((certificate, "cert"), (key, "key"), (str(self.authority.file), "ca")):
                shutil.copy(source, folder / f"{name}.pem")
        return folder

    def start(self) -> None:
        """Start the instance and return when it takes calls; raise AsteriskError otherwise."""
        # The script ends by itself, and Asterisk with it, when the test run is killed.
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [*guard, str(HERE / "run"), "--trace"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while "run: ready" not in self.output.read_text(errors="replace"):
            if time.monotonic() > deadline or self._wait(0.1) is not None:
                raise AsteriskError(f"Asterisk did not start:\n{self.output.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """Stop the instance; kill what does not go."""
        if self._process is None:
            return
        subprocess.run([str(HERE / "stop")], env=self.environment, stdin=subprocess.DEVNULL, timeout=_STOP_S, check=False)
        if self._wait(_STOP_S) is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def check_running(self) -> None:
        """Raise AsteriskError when Asterisk has ended by itself."""
        if self._process is None or self._process.poll() is not None:
            raise AsteriskError(f"Asterisk is gone:\n{self.output.read_text(errors='replace')[-2000:]}")

    def rx(self, command: str) -> str:
        """Run one command of Asterisk's console and return what it prints."""
        done = subprocess.run(
            [str(HERE / "rx"), command], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_STOP_S
        )
        if done.returncode != 0:
            raise AsteriskError(f"{command}: {done.stderr or done.stdout}")
        return done.stdout

    def originate(self, caller: str, far_end: str = "silent") -> None:
        """Let the far end call the agent by the extension *caller*; see ``Ami.originate``."""
        self.rx(f"channel originate Local/{caller}@callers/n extension {far_end}@callers")

    def ami(self) -> AbstractAsyncContextManager[ami.Ami]:
        """Open a connection to the manager interface: ``async with asterisk.ami() as manager``."""
        return ami.connect(self.host, self.ports.ami)

    def log_size(self) -> int:
        """Return the length of the log in bytes: a mark for :meth:`log_since`."""
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def log_since(self, mark: int) -> str:
        """Return what was logged since *mark*."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(mark)
            return log.read().decode("utf-8", "replace")

    def _wait(self, timeout_s: float) -> int | None:
        """Return the script's exit status, None while it runs."""
        if self._process is None:
            return 0
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
