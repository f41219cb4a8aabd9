"""One HTTP connection: uvicorn's protocol with a limit of time, and room for the next one when there are too many."""

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

REQUEST_S: Final = 5.0
"""A request is there and answered within so many seconds of the connection or of the answer before; ours take milliseconds."""


class LimitedProtocol(H11Protocol):
    """Closes itself when a client is slow, says nothing or reads nothing, whatever bytes trickle in.

    Uvicorn limits only the time after an answer, and counts such connections among its requests: some that stay open would
    turn every probe away. At ``limit_concurrency`` the one that has waited longest for a request goes.
    """

    limit_s = REQUEST_S
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take the connection, and make room for it."""
        super().connection_made(transport)
        self._restart()
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the limit."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Give the client time for the next request."""
        self._restart()
        super().on_response_complete()

    @property
    def waiting_until(self) -> float | None:
        """When the wait for a request ends, None while one is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        is_answering = cycle is not None and not cycle.response_complete
        return None if is_answering or self._deadline is None else self._deadline.when()

    def abort(self) -> None:
        """Close the connection at once."""
        self.connections.discard(self)  # the loss itself is told later, and the limit counts what is in there
        self.transport.abort()

    def _restart(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(self.limit_s, self.abort)

    def _make_room(self) -> None:
        others = [other for other in self.connections if isinstance(other, LimitedProtocol) and other is not self]
        waiting = [(until, other) for other in others if (until := other.waiting_until) is not None]
        if waiting:
            min(waiting, key=lambda pair: pair[0])[1].abort()
