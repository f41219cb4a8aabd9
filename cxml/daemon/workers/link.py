"""The line between the parent and one worker: JSON, one message a line, questions of the parent and their answers.

It is a Unix socket pair that nobody else has. Its end tells each of the two that the other is gone.
"""

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any, Final

MAX_LINE: Final = 16 * 1024 * 1024
"""The metrics of a daemon with many peers are some hundred kilobytes."""

Message = Mapping[str, Any]


class Link:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0
        self._questions: dict[int, asyncio.Future[Any]] = {}

    @classmethod
    async def over(cls, sock: socket.socket) -> "Link":
        """Return the end that *sock* is."""
        return cls(*await asyncio.open_unix_connection(sock=sock, limit=MAX_LINE))

    def send(self, message: Message) -> None:
        """Send; to an end that is gone it is lost."""
        self.send_line(json.dumps(message).encode() + b"\n")

    def send_line(self, line: bytes) -> None:
        """Send what is a line already."""
        if not self._writer.is_closing():
            self._writer.write(line)

    async def receive(self) -> Message | None:
        """Return the next message that is no answer, None once the other end is gone."""
        while True:
            try:
                line = await self._reader.readline()
            except (OSError, ValueError):
                line = b""
            if not line.endswith(b"\n"):
                self._end()
                return None
            message: Message = json.loads(line)
            if "answer" not in message:
                return message
            question = self._questions.pop(message["answer"], None)
            if question is not None and not question.done():
                question.set_result(message["value"])

    async def ask(self, what: str, within_s: float) -> Any:
        """Return the other's answer to *what*, None when there is none within *within_s* seconds."""
        self._number += 1
        number = self._number
        question = self._questions[number] = asyncio.get_running_loop().create_future()
        self.send({"ask": what, "number": number})
        try:
            async with asyncio.timeout(within_s):
                return await question
        except TimeoutError:
            return None
        finally:
            self._questions.pop(number, None)

    def _end(self) -> None:
        for question in self._questions.values():
            if not question.done():
                question.set_result(None)
        self._questions.clear()

    def close(self) -> None:
        """Close this end."""
        self._writer.close()
