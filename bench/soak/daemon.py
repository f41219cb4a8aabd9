"""The daemon as it is soaked, and the web application that it asks."""

import os
from typing import BinaryIO
from urllib.parse import parse_qs

from bench.soak.kinds import NOTIFY_TIMEOUT_S
from bench.soak.ledger import Ledger
from bench.units.ours import Ours
from bench.units.pypy import OnPyPy
from bench.webhook import FIRST, THEN, Requests, is_first

_SOAKED = "soak"


class Soaked(Ours):
    """``cxmld serve`` with UDP, TCP and media; :attr:`log` is the descriptor that its log can be read from."""

    name = "cxmld"
    log = -1
    workers = 1
    ramp_s = 0.0
    """How long the rate of calls rises at the begin."""
    rtp_ports = "20000-31999"

    @property
    def tcp_port(self) -> int:
        """Where it listens for TCP."""
        return self.port + 2

    @property
    def metrics_url(self) -> str:
        """Where its metrics are."""
        return f"http://127.0.0.1:{self.port + 1}/metrics"

    def config(self) -> str:
        """Return the configuration: no limit of it is met, and what comes late is late and not refused."""
        return f"""
[sip]
listen = ["udp:127.0.0.1:{self.port}", "tcp:127.0.0.1:{self.tcp_port}"]
[http]
listen = "127.0.0.1:{self.port + 1}"
[voice]
url = "http://127.0.0.1:{self.webhook}/voice"
[media]
mode = "receive"
rtp_ports = "{self.rtp_ports}"
[limits]
max_calls = 6000
max_calls_per_s = 100000
max_connections = 100000
max_connections_per_address = 100000
shed_on_lag = false
[refer]
settle_s = 0
notify_timeout_s = {NOTIFY_TIMEOUT_S}
[log]
level = "info"
format = "json"
[workers]
count = {self.workers}
"""

    def open_output(self) -> BinaryIO:
        """Return a pipe: the log of an hour would fill a disk."""
        self.log, end = os.pipe()
        return os.fdopen(end, "wb")

    def last_words(self) -> str:
        """Return the begin of the log."""
        return os.read(self.log, 4096).decode("utf-8", "replace").strip() or "it said nothing"


class SoakedOnPyPy(OnPyPy, Soaked):
    """The same on PyPy, which compiles what the first calls run through: it takes no full load at once."""

    name = "cxmld on PyPy"
    ramp_s = 60.0
    rtp_ports = "33000-44999"


class Application(Requests):
    """Tells the ledger what the daemon asks and reports."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def answer(self, request: bytes) -> bytes:
        """Return the transfer, or the end of the call."""
        form = parse_qs(request.partition(b"\r\n\r\n")[2].decode("ascii", "replace"))
        caller = form.get("From", [""])[0].partition("@")[0].rpartition(_SOAKED)[2]
        number = int(caller) if caller.isdigit() else -1
        if is_first(request):
            self._ledger.asked(number)
            return FIRST
        self._ledger.told(number, form.get("CxmldReferOutcome", ["nothing"])[0])
        return THEN
