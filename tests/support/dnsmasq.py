"""Runs dnsmasq as a real name server on a free port of loopback."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import tempfile
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.peers import free_port, is_bound

HOST = "127.0.0.1"
SILENT = "silent.test"
"""A domain whose questions get no answer: dnsmasq passes them on to a socket that nobody reads."""

_READY_S = 10.0
_STOP_S = 5.0


class DnsmasqError(AssertionError):
    """dnsmasq did not start; the text is its output."""


@dataclass(frozen=True, slots=True)
class Dnsmasq:
    """A running name server."""

    port: int
    folder: Path

    @property
    def server(self) -> str:
        """What settings call it."""
        return f"{HOST}:{self.port}"

    def queries(self) -> list[str]:
        """Return the questions that came so far, as ``NAPTR name``."""
        lines = (self.folder / "output.txt").read_text(errors="replace").splitlines()
        words = [line.split(": ")[-1].split() for line in lines if " query[" in line or line.startswith("dnsmasq: query[")]
        return [f"{found[0].removeprefix('query[').rstrip(']')} {found[1]}" for found in words]


@asynccontextmanager
async def name_server(records: Sequence[str], port: int | None = None) -> AsyncIterator[Dnsmasq]:
    """Run dnsmasq with *records*, its options without the dashes, such as ``srv-host=_sip._udp.pbx.test,a.pbx.test,5070,1,10``.

    It knows nothing but them: other names below ``test`` don't exist, names elsewhere are refused.
    """
    chosen = free_port() if port is None else port
    program = shutil.which("dnsmasq", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "dnsmasq"
    with tempfile.TemporaryDirectory(prefix="cxmld-dns-") as name, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((HOST, 0))
        folder = Path(name)
        options = ["no-resolv", "no-hosts", "bind-interfaces", "log-queries", "log-facility=-", "cache-size=0", "dns-forward-max=50"]
        options += [f"port={chosen}", f"listen-address={HOST}", "local=/test/", f"server=/{SILENT}/{HOST}#{silent.getsockname()[1]}"]
        (folder / "dnsmasq.conf").write_text("\n".join([*options, *records]) + "\n")
        command = [program, "--keep-in-foreground", f"--conf-file={folder / 'dnsmasq.conf'}", f"--user={_user()}", "--pid-file"]
        with (folder / "output.txt").open("wb") as output:
            process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=output, stderr=STDOUT, start_new_session=True)
        try:
            async with asyncio.timeout(_READY_S):
                while not (is_bound(chosen) and is_bound(chosen, tcp=True)):
                    if process.returncode is not None:
                        raise DnsmasqError((folder / "output.txt").read_text(errors="replace"))
                    await asyncio.sleep(0.02)
            yield Dnsmasq(chosen, folder)
        finally:
            await _stop(process)


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


async def _stop(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        process.send_signal(number)
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            continue
