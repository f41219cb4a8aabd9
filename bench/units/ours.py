"""The daemon, with the web application asked twice for each call."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.caller import BenchError, Target
from bench.tls_relay import CA, CERTIFICATE, KEY, write_certificates
from bench.units.base import READY_S, Unit, listens

ROOT = Path(__file__).resolve().parents[2]


class Ours(Unit):
    """``cxmld serve`` over UDP with its standard log, a line at the begin and the end of each call."""

    name = "cxmld"
    job = "full"
    level = "info"
    shed_on_lag = True
    max_dialogs = 20_000
    python = sys.executable

    def command(self) -> Sequence[str]:
        """Run the daemon of this checkout."""
        config = self.folder / "cxmld.toml"
        config.write_text(self.config(), encoding="utf-8")
        return [self.python, "-m", "cxml", "serve", "--config", str(config)]

    def config(self) -> str:
        """Return the configuration."""
        return f"""
[sip]
listen = ["{self.transport}:127.0.0.1:{self.port}"]
[http]
listen = "127.0.0.1:{self.port + 1}"
[voice]
url = "http://127.0.0.1:{self.webhook}/voice"
[media]
mode = "none"
[limits]
max_calls = 100000
max_calls_per_s = 100000
shed_on_lag = {str(self.shed_on_lag).lower()}
[refer]
settle_s = 0
notify_timeout_s = 3600
[log]
level = "{self.level}"
format = "json"
"""


class OursPatient(Ours):
    """The same, but on a machine that has other things to do calls come late and are not refused."""

    name = "the daemon"
    shed_on_lag = False


class OursWorkers(Ours):
    """The same by two workers and their parent, all on the one core: what sharing costs."""

    name = "cxmld, 2 workers"
    figures = ("cpu", "latency", "sustained")

    def config(self) -> str:
        """Return the configuration."""
        return f"{super().config()}[workers]\ncount = 2\n"


class OursTcp(Ours):
    """The same over one TCP connection."""

    name = "cxmld TCP"
    transport = "tcp"
    figures = ("cpu", "latency", "sustained")


class OursTls(Ours):
    """The same over one TLS connection, by way of a relay beside the caller: SIPp speaks no TLS."""

    name = "cxmld TLS"
    transport = "tls"
    figures = ("cpu", "latency", "sustained")
    _relay: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> Target:
        """The relay."""
        return Target("127.0.0.1", self.port + 2, "tls", contact_port=self.port + 3)

    def config(self) -> str:
        """Return the configuration with certificates; both ends check them."""
        write_certificates(self.folder)
        files = f'certificate = "{self.folder / CERTIFICATE}"\nprivate_key = "{self.folder / KEY}"\nca_file = "{self.folder / CA}"\n'
        return f'{super().config()}[tls]\n{files}verify_clients = "required"\n'

    def is_ready(self) -> bool:
        """Tell whether it takes connections."""
        return listens(self.port)

    def start(self) -> None:
        """Run it, and the relay with the connection that all callers share. Raises :class:`BenchError`."""
        super().start()
        ports = [str(port) for port in (self.target.port, self.port, self.target.contact_port)]
        words = ["taskset", "-c", str(self.caller_core), sys.executable, "-m", "bench.tls_relay", *ports, str(self.folder)]
        self._relay = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL)
        until = time.monotonic() + READY_S
        while not listens(self.target.port):
            if self._relay.poll() is not None or time.monotonic() > until:
                self.stop()
                raise BenchError("the relay for TLS did not start")
            time.sleep(0.02)  # noqa: TID251  # nothing else runs here

    def stop(self) -> None:
        """End the relay, too."""
        if self._relay is not None:
            self._relay.terminate()
            self._relay.wait(10)
            self._relay = None
        super().stop()


class OursQuiet(Ours):
    """The same without a log line for each call."""

    name = "cxmld without log"
    figures = ("cpu",)
    level = "warning"
