"""Runs SIPp scenarios and ``tests/interop/asterisk/target`` as real SIP peers."""

import asyncio
import os
import signal
import tempfile
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.peers import INTEROP, free_port, is_bound

HOST = "127.0.0.1"

_STOP_S = 5.0
_PORTS = 6  # SIP, audio, audio's RTCP, video and its RTCP; SIPp binds them all
_READY_S = 10.0


class SippError(AssertionError):
    """A scenario failed; the text has its messages and errors."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a scenario ended: SIPp's exit code (0 = every call went as written), all messages, its errors."""

    exit_code: int
    messages: str
    errors: str
    output: str

    def check(self) -> "Result":
        """Return the result of a successful run, raise SippError otherwise."""
        if self.exit_code != 0:
            raise SippError(f"SIPp ended with {self.exit_code}\n{(self.errors or self.output)[-3000:]}\n{self.messages[-12000:]}")
        return self


class Sipp:
    """A running scenario; made by :func:`scenario` or :func:`target`, listens on UDP or TCP ``port``."""

    def __init__(self, process: Process, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        """Where it writes."""
        self._process = process

    async def wait_ready(self, *, tcp: bool = False) -> None:
        """Return when the port is taken; raise SippError when SIPp ended before that with an error."""
        async with asyncio.timeout(_READY_S):
            while not is_bound(self.port, tcp=tcp):
                if self._process.returncode is not None:
                    (await self.wait()).check()
                    return
                await asyncio.sleep(0.02)

    async def wait(self, timeout_s: float = 40.0) -> Result:
        """Return the result once the scenario has ended."""
        async with asyncio.timeout(timeout_s):
            code = await self._process.wait()
        return Result(code, self.text("messages.log"), self.text("errors.log"), self.text("output.txt"))

    def text(self, name: str) -> str:
        """Return the text so far of ``messages.log``, ``errors.log`` or ``output.txt``."""
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""

    async def stop(self) -> None:
        """End SIPp, with its wrapper script, if it still runs."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.returncode is not None:
                return
            with suppress(ProcessLookupError):  # it has just ended, and the loop has not heard of it
                os.killpg(self._process.pid, number)
            try:
                async with asyncio.timeout(_STOP_S):
                    await self._process.wait()
            except TimeoutError:
                continue


@asynccontextmanager
async def scenario(
    source: str | Path,
    *,
    remote: tuple[str, int] | None = None,
    port: int | None = None,
    tcp: bool = False,
    service: str = "service",
    fill: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    timeout_s: int = 15,
    host: str = HOST,
    is_traced: bool = True,
) -> AsyncIterator[Sipp]:
    """Run one call of a scenario: a file of ``tests/interop/sipp``, a path, or the XML text itself.

    Without *remote* it waits for a call (UAS), with it it calls (UAC). *service* is SIPp's ``[service]``, *fill* replaces
    ``@NAME@`` in the scenario. Options among *arguments* win over ours. Thousands of calls are better not *is_traced*: then no
    messages are kept.
    """
    local = free_port(_PORTS) if port is None else port
    with tempfile.TemporaryDirectory(prefix="cxmld-sipp-") as name:
        folder = Path(name)
        is_text = isinstance(source, str) and source.lstrip().startswith("<")
        text = str(source) if is_text else (INTEROP / "sipp" / source).read_text()
        for key, value in (fill or {}).items():
            text = text.replace(f"@{key}@", value)
        (folder / "scenario.xml").write_text(text)
        command = ["sipp", "-sf", "scenario.xml", "-i", host, "-p", str(local), "-mi", host, "-mp", str(local + 1), "-m", "1"]
        command += ["-t", "t1" if tcp else "u1", "-s", service, "-nostdin", "-timeout", f"{timeout_s}s", "-timeout_error"]
        command += ["-trace_msg", "-message_file", "messages.log"] if is_traced else []
        command += ["-trace_err", "-error_file", "errors.log"]
        command += arguments
        if remote is not None:
            command.append(f"[{remote[0]}]:{remote[1]}" if ":" in remote[0] else f"{remote[0]}:{remote[1]}")
        async with _running(command, local, folder) as running:
            await running.wait_ready(tcp=tcp and remote is None)
            yield running


async def run(
    source: str | Path,
    *,
    remote: tuple[str, int],
    tcp: bool = False,
    service: str = "service",
    fill: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    timeout_s: int = 15,
    host: str = HOST,
) -> Result:
    """Call *remote* by a scenario and return how it ended; the arguments are those of :func:`scenario`."""
    async with scenario(
        source, remote=remote, tcp=tcp, service=service, fill=fill, arguments=arguments, timeout_s=timeout_s, host=host
    ) as running:
        return await running.wait(timeout_s + 25)


@asynccontextmanager
async def target(*kind: str) -> AsyncIterator[Sipp]:
    """Run ``./target PORT KIND``: a phone for one call that answers, refuses with a code, is mute or never answers."""
    port = free_port(_PORTS)
    with tempfile.TemporaryDirectory(prefix="cxmld-target-") as name:
        folder = Path(name)
        environment = {**os.environ, "TARGET_MEDIA_PORT": str(port + 1), "TARGET_LOG": str(folder)}
        command = [str(INTEROP / "asterisk" / "target"), str(port), *kind]
        async with _running(command, port, folder, environment) as running:
            await running.wait_ready()
            yield running


@asynccontextmanager
async def _running(command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Sipp]:
    with (folder / "output.txt").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=output, stderr=STDOUT, cwd=folder, env=environment, start_new_session=True
        )
    sipp = Sipp(process, port, folder)
    try:
        yield sipp
    finally:
        await sipp.stop()
