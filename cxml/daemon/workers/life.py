"""One life of a worker, as its parent sees it: a process and the line to it."""

import asyncio
import socket
import sys
from contextlib import suppress
from typing import Any

from cxml.daemon.workers.link import Link, Message
from cxml.daemon.workers.start import Start
from cxml.daemon.workers.totals import Snapshot

ASK_S = 2.0
"""How long a worker may take to answer; its loop answers within milliseconds unless it is overloaded."""


class Life:
    """A running worker. *metrics* are the last that it told."""

    def __init__(self, worker: int, process: asyncio.subprocess.Process, link: Link) -> None:
        self.worker = worker
        self.is_ready = False
        self.missed = 0
        """Questions in a row that it did not answer."""
        self.metrics: Snapshot = []
        self._process = process
        self._link = link

    @classmethod
    async def begin(cls, start: Start) -> "Life":
        """Start a process. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "cxml.daemon.workers.worker",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *start.descriptors),
                start_new_session=True,  # Ctrl-C is for the parent, which says what is to be done
            )
        link = await Link.over(ours)
        link.send_line(start.line())
        return cls(start.worker, process, link)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    async def receive(self) -> Message | None:
        """Return what the worker says, None once it is gone."""
        return await self._link.receive()

    async def ended(self) -> int:
        """Wait for the end of the process and return its exit status, minus a signal's number."""
        status = await self._process.wait()
        self._link.close()
        return status

    def order(self, what: str, **more: int) -> None:
        """Tell the worker to do something."""
        self._link.send({"do": what, **more})

    async def ask(self, what: str) -> Any:
        """Return the worker's answer, None when there is none in time."""
        return await self._link.ask(what, ASK_S)

    async def ask_metrics(self) -> Snapshot:
        """Return the worker's metrics, those that it told last when it doesn't answer."""
        answer = await self.ask("metrics")
        if answer is not None:
            self.metrics = [(name, text, kind, [tuple(sample) for sample in samples]) for name, text, kind, samples in answer]
        return self.metrics

    def kill(self) -> None:
        """End the process at once."""
        with suppress(ProcessLookupError):
            self._process.kill()
