"""A request of ours from its first try to its final response, by callbacks: nobody needs a task to wait for an answer (RFC 3261 §8.1, §22).

What has to wait for something else than the answer, a name server or a connection, goes on in a task.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sipua.auth.credentials import Attempt
from sipua.driver import TaskSet
from sipua.message import CSeq, Request, Response
from sipua.transaction.callback import call_user
from sipua.transaction.failover import Leave, why_leave
from sipua.transaction.local import LocalResponse
from sipua.transaction.machine import Failure
from sipua.transport.base import Channel, Endpoint

if TYPE_CHECKING:
    from sipua.transaction.exchange import Exchanger

OnChannel = Callable[[Request, Channel], None]
"""Told, before a request leaves, by which channel it will: Contact depends on that."""


def _always() -> bool:
    return True


class Sending:
    """One request and who waits for its final response."""

    __slots__ = (
        "_attempt",
        "_exchanger",
        "_highest",
        "_may_retry",
        "_next_cseq",
        "_on_attempt",
        "_on_channel",
        "_on_final",
        "_target",
        "_tasks",
    )

    def __init__(
        self,
        exchanger: "Exchanger",
        attempt: Attempt,
        next_cseq: Callable[[], int],
        tasks: TaskSet,
        on_final: Callable[[Response], None],
        on_attempt: Callable[[int], None] | None = None,
        may_retry: Callable[[], bool] = _always,
        on_channel: OnChannel | None = None,
    ) -> None:
        """See :meth:`sipua.transaction.exchange.Exchanger.send`, which makes it."""
        self._exchanger = exchanger
        self._attempt = attempt
        self._next_cseq = next_cseq
        self._tasks = tasks
        self._on_final: Callable[[Response], None] | None = on_final
        self._on_attempt = on_attempt
        self._may_retry = may_retry
        self._on_channel = on_channel
        self._target: Endpoint | None = None
        self._highest = 0

    def start(self) -> None:
        """Send the request now if there is a way for it now, else by a task."""
        request = self._attempt.request
        if self._on_attempt is not None:
            self._on_attempt(request.cseq.number)
        way = self._exchanger.way_now(request)
        if way is None:
            self._go_on(is_told=True)
            return
        self._target, channel = way
        if self._on_channel is not None:
            self._on_channel(request, channel)
        self._exchanger.transactions.start(request, channel, on_response=self._responded, on_failure=self._failed)

    def forget(self) -> None:
        """Tell nobody any more, and send nothing that hasn't left."""
        self._on_final = None
        self._exchanger.ended(self)

    def _responded(self, response: Response) -> None:
        if response.is_provisional:
            self._highest = max(self._highest, response.status)
            return
        self._tried(response, response.status)

    def _failed(self, failure: Failure) -> None:
        response = LocalResponse.for_failure(self._attempt.request, failure)
        self._tried(response, Leave.TIMEOUT if failure is Failure.TIMEOUT else Leave.TRANSPORT)

    def _tried(self, response: Response, end: Leave | int) -> None:
        """The only server that there is has answered, or not."""
        request, target = self._attempt.request, self._target
        if self._on_final is None or target is None:
            return
        why = why_leave(request.method, self._highest, end)
        if why is not None:
            self._exchanger.left(target, why, request, None, response)
        elif not isinstance(response, LocalResponse):
            self._exchanger.answered(target)
        if self._attempt.retry(response) and self._may_retry():
            self._attempt.renew(CSeq(self._next_cseq(), request.method))
            self._go_on(is_told=False)
        else:
            self._end(response)

    def _go_on(self, *, is_told: bool) -> None:
        self._tasks.spawn(self._run(is_told=is_told), name=self._attempt.request.method, client=self)

    def task_ended(self, error: BaseException | None) -> bool:
        """The task is over: one that failed, which is logged, counts as no way to the server; one that was cancelled tells nobody."""
        if error is None:
            self.forget()
        else:
            call_user(self._end, LocalResponse.for_request(self._attempt.request, 503))  # who owns tasks bears no fault here
        return False

    async def _run(self, *, is_told: bool) -> None:
        if self._on_final is None:
            return
        exchanger = self._exchanger
        response = await exchanger.go_on(
            self._attempt, self._next_cseq, self._on_attempt, self._may_retry, self._on_channel, is_told=is_told
        )
        self._end(response)

    def _end(self, response: Response) -> None:
        on_final, self._on_final = self._on_final, None
        self._exchanger.ended(self)
        if on_final is not None:
            on_final(response)
