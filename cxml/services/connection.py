"""One HTTP/1.1 connection to a web application, with one request at a time on it."""

import asyncio
import math
import select
from collections.abc import Callable
from typing import cast

from cxml.services.answer import AnswerReader
from cxml.services.deadlines import Deadlines
from cxml.services.fault import RETRIEVAL, FaultError, lost
from cxml.services.http import HttpRequest, HttpResponse
from cxml.services.retry import RetryOn


class HttpConnection(asyncio.BufferedProtocol):
    """A connection to one origin, used again and again. *deadlines* watches its time-outs, *on_lost* is told when it is gone.

    What comes in when nothing was asked closes it, for it would be taken for the next answer; so does a byte behind an answer. All
    connections of a loop receive into *inbox*; asked for bytes, the loop would make room for 256 KiB each time.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, inbox: memoryview, deadlines: Deadlines, on_lost: "Callable[[HttpConnection], None]"
    ) -> None:
        self.idle_since = 0.0
        self._inbox = inbox
        self._deadlines = deadlines
        self._loop = loop
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._reader = AnswerReader()
        self._request: HttpRequest | None = None
        self._answer: asyncio.Future[HttpResponse] | None = None
        self._heard_at = 0.0

    @property
    def is_open(self) -> bool:
        """False once the connection is closed or on its way to it."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """True if the last answer was read to its end, nothing followed it, and the server keeps the connection."""
        return self._reader.is_reusable and self.is_open

    def is_quiet(self) -> bool:
        """Tell whether nothing has come in, not even the end, that the loop has yet to read.

        A server may close an idle connection at any time (RFC 9112 §9.3.1). Before the first byte of a request is written another one
        takes its place at no risk; afterwards nobody knows what the server has read.
        """
        return self.is_open and not self._poll.poll(0)

    def ask(self, request: HttpRequest, head: bytes) -> "asyncio.Future[HttpResponse]":
        """Write *head* and the body of *request*; the future gets the answer, a :class:`FaultError` or, at ``ends_at``, TimeoutError."""
        answer = self._answer = self._loop.create_future()
        self._request = request
        self._reader.start(request.max_body_bytes)
        if self._transport is None:
            self._fail(lost())
            return answer
        self._transport.write(head + request.body)
        self._heard_at = self._loop.time()
        self._deadlines.add(self)
        return answer

    @property
    def due_at(self) -> float:
        """The loop's time at which the answer is late: by silence, or by the end of everything."""
        times = None if self._request is None else self._request.times
        return math.inf if times is None else min(self._heard_at + times.read_s, times.ends_at)

    def expire(self) -> None:
        """The answer is late."""
        times = None if self._request is None else self._request.times
        if times is None:
            return
        if self._heard_at + times.read_s < times.ends_at:
            self._fail(FaultError(RETRIEVAL, "no data within the read time-out", RetryOn.READ))
        else:
            self._fail(TimeoutError())

    def close(self) -> None:
        """Close in good order; nobody waits for an answer."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection; who waits for an answer gets error 11200."""
        self._fail(lost())

    # -- called by the loop -----------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # a connection takes what fits
        """Return where the loop puts what comes next; it is read before anything else is put there."""
        return self._inbox

    def buffer_updated(self, nbytes: int) -> None:
        """Read a part of the answer."""
        data = bytes(self._inbox[:nbytes])
        if self._request is None:
            self.close()
            return
        self._heard_at = self._loop.time()
        try:
            if self._reader.feed(data):
                self._finish(self._reader.response())
        except FaultError as fault:
            self._fail(fault)

    def connection_lost(self, exc: Exception | None) -> None:
        """Judge what was read: for some answers this is their end."""
        self._transport = None
        if self._request is not None:
            if exc is None and self._reader.end():
                self._finish(self._reader.response())
            else:
                self._fail(lost())
        self._reader.close()
        self._on_lost(self)

    # -- inside -----------------------------------------------------------------------------------------------------------------------

    def _fail(self, trouble: FaultError | TimeoutError) -> None:
        """Hand out the failure, or the head that came before it; the connection is of no further use."""
        if self._request is not None:
            self._finish(self._reader.response(trouble) if self._reader.has_head else trouble)
        if self._transport is not None:
            self._transport.abort()

    def _finish(self, outcome: HttpResponse | FaultError | TimeoutError) -> None:
        """Hand out *outcome*; a connection that is not kept closes."""
        answer, self._answer, self._request = self._answer, None, None
        self._deadlines.discard(self)
        if not self._reader.is_reusable and self._transport is not None:
            self._transport.abort()
        if answer is None or answer.done():
            return
        if isinstance(outcome, HttpResponse):
            answer.set_result(outcome)
        else:
            answer.set_exception(outcome)
