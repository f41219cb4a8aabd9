"""Fakes of the interpreter's ports: a call, its web application and its journal, all scripted by the test.

They keep the promises of ``cxml.interpreter.ports``, so that what passes with them may run on the real ones.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cxml.interpreter.ports import (
    CallEndedError,
    FetchedDocument,
    Position,
    RejectReason,
    TransferKind,
    TransferResult,
    WebhookError,
)

TRANSFERRED = TransferResult(TransferKind.TRANSFERRED, 202, 200, notified=True)
BUSY = TransferResult(TransferKind.BUSY, 202, 486, notified=True)


@dataclass
class FakeCall:
    """A call on paper. ``events`` is what was done to it, in order, each with the loop's time.

    A transfer takes ``transfer_s`` seconds and then gives the next of ``results``. When the call ends before that, it gives
    a hang-up's result ``linger_s`` after the peer's BYE and at once after ours, as the real one does. Ours takes ``goodbye_s``
    seconds to end the call, and ``closing_s`` more to return.
    """

    sid: str = "CA00000000000000000000000000000001"
    answered: bool = False
    answer_s: float = 0.0
    goodbye_s: float = 0.0
    closing_s: float = 0.0
    transfer_s: float = 3.0
    linger_s: float = 2.0
    results: list[TransferResult | Exception] = field(default_factory=lambda: [TRANSFERRED])
    events: list[tuple[float, str]] = field(default_factory=list)
    dialog_data: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._over = asyncio.Event()
        self._ended_by = ""
        self._told: Callable[[], None] | None = None

    @property
    def done(self) -> list[str]:
        """What was done, without times."""
        return [event for _, event in self.events]

    @property
    def is_answered(self) -> bool:
        return self.answered

    @property
    def is_ended(self) -> bool:
        return self._over.is_set()

    def on_ended(self, told: Callable[[], None]) -> None:
        self._told = told
        if self.is_ended:
            told()

    async def answer(self) -> None:
        if self.is_ended:
            raise CallEndedError
        if self.answered:
            return
        if await self._ends_within(self.answer_s):
            raise CallEndedError
        self.answered = True
        self._note("answer")

    async def reject(self, reason: RejectReason) -> None:
        await self._finish("hangup" if self.answered else f"reject {reason}")

    async def hangup(self) -> None:
        await self._finish("hangup")

    async def fail(self) -> None:
        await self._finish("fail")

    def dialog(self) -> Mapping[str, object]:
        return self.dialog_data

    async def transfer(self, target: str) -> TransferResult:
        self._note(f"transfer {target}")
        if self.is_ended or await self._ends_within(self.transfer_s):
            if self._ended_by == "local":
                return TransferResult(TransferKind.LOCAL_HANGUP, 202, 100, notified=True)
            await asyncio.sleep(self.linger_s)
            return TransferResult(TransferKind.PEER_HANGUP, 202, 100, notified=True)
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        if result.kind is TransferKind.CALL_LOST:
            self._end("lost", "peer")
        return result

    def peer_hangs_up(self) -> None:
        """The peer's BYE or CANCEL."""
        if not self.is_ended:
            self._end("bye in", "peer")

    def peer_hangs_up_after(self, delay_s: float) -> None:
        """The same, *delay_s* from now."""
        asyncio.get_running_loop().call_later(delay_s, self.peer_hangs_up)

    async def _ends_within(self, delay_s: float) -> bool:
        try:
            async with asyncio.timeout(delay_s):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    async def _finish(self, event: str) -> None:
        await asyncio.sleep(self.goodbye_s)
        if not self.is_ended:
            self._end(event, "local")
            await asyncio.sleep(self.closing_s)

    def _end(self, event: str, by: str) -> None:
        self._ended_by = by
        self._note(event)
        self._over.set()
        if self._told is not None:
            self._told()

    def _note(self, event: str) -> None:
        self.events.append((asyncio.get_running_loop().time(), event))


@dataclass(frozen=True)
class Reply:
    """One scripted answer: after ``delay_s`` a body, from ``url`` if redirects led elsewhere."""

    body: bytes = b""
    delay_s: float = 0.0
    url: str = ""


@dataclass(frozen=True)
class Asked:
    """One request that the web application got."""

    url: str
    method: str
    extra: Mapping[str, str]


@dataclass
class FakeWebhooks:
    """A web application: for each URL the replies it gives in turn, the last one for ever. Other URLs answer 404."""

    replies: dict[str, list[Reply | bytes | Exception]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    outstanding: int = 0
    most_outstanding: int = 0

    def serve(self, url: str, *replies: Reply | bytes | Exception) -> None:
        """Script *url*."""
        self.replies[url] = list(replies)

    @property
    def urls(self) -> list[str]:
        """What was asked for, in order."""
        return [asked.url for asked in self.asked]

    def to(self, url: str) -> list[Asked]:
        """The requests to *url*."""
        return [asked for asked in self.asked if asked.url == url]

    async def fetch(self, url: str, method: str, extra: Mapping[str, str]) -> FetchedDocument:
        self.asked.append(Asked(url, method, dict(extra)))
        self.outstanding += 1
        self.most_outstanding = max(self.most_outstanding, self.outstanding)
        try:
            return await self._reply(url)
        finally:
            self.outstanding -= 1

    async def _reply(self, url: str) -> FetchedDocument:
        replies = self.replies.get(url)
        if replies is None:
            raise WebhookError(11217, url, "HTTP 404")
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, bytes):
            reply = Reply(reply)
        await asyncio.sleep(reply.delay_s)
        return FetchedDocument(reply.url or url, reply.body, "application/xml")


@dataclass
class FakeJournal:
    """Keeps every position ever recorded, and which calls were forgotten. ``error`` makes it fail."""

    positions: list[Position] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    error: Exception | None = None

    async def record(self, position: Position) -> None:
        if self.error:
            raise self.error
        self.positions.append(position)

    async def forget(self, call_sid: str) -> None:
        if self.error:
            raise self.error
        self.forgotten.append(call_sid)
