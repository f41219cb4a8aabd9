"""Runs one call's documents from the first request to the end of the call.

The engine owns the order of verbs, the replacement of documents, the fallback after an error, the end of the call and its
place in the journal. ``docs/spec/engine.md`` states its rules. What a verb does is the verb's own; what SIP and HTTP do
stands behind the ports.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from cxml.document.diagnostics import DocumentError
from cxml.document.nodes import Document, Verb
from cxml.interpreter.context import Context, EngineSettings, Verbs
from cxml.interpreter.ending import ERRORS, EndReason, Failure, Summary
from cxml.interpreter.outcome import Continue, End, Outcome, Replace
from cxml.interpreter.pace import DOCUMENTS_PER_S, MAX_FAILURES, Failures, Pace
from cxml.interpreter.ports import Call, CallEndedError, FetchedDocument, Journal, TransferResult, WebhookError, Webhooks
from cxml.interpreter.program import Program
from cxml.interpreter.turns import Turns
from cxml.interpreter.urls import for_log, resolve, without_credentials

BAD_URL = 11100
"""The vendors' code for a URL that can't be read."""

NO_ANSWER = 11200
"""The vendors' code for a request without a complete answer, as is one that an error of ours broke off."""


_log = structlog.get_logger(__name__)
_GO_ON = Continue()
_Step = Outcome | Failure


class Engine(Turns):
    """One call's interpreter; use it once.

    *parse* turns a body into a :class:`~cxml.document.nodes.Document` or raises
    :class:`~cxml.document.diagnostics.DocumentError`; *verbs* says what runs each node.
    """

    __slots__ = (
        "_bound_log", "_call", "_cancelling", "_error_code", "_failures", "_given_log", "_goodbye", "_is_interrupted", "_is_interruptible",
        "_is_paced", "_journal", "_pace", "_parse", "_program", "_runs_fallback", "_settings", "_task",
        "_told", "_verbs", "_webhooks", "is_stopped", "report",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        webhooks: Webhooks,
        journal: Journal | None,
        parse: Callable[[bytes], Document],
        verbs: Verbs,
        settings: EngineSettings | None = None,
        log: FilteringBoundLogger | None = None,
        on_transfer: Callable[[TransferResult], None] = lambda _result: None,
    ) -> None:
        """*journal* is None where nothing is kept. *on_transfer* is told the result of each ``<Refer>``; it must not raise."""
        super().__init__()
        self._call = call
        self._webhooks = webhooks
        self._journal = journal
        self._parse = parse
        self._verbs = verbs
        self._settings = settings or EngineSettings()
        self._given_log: FilteringBoundLogger = log or _log
        self._bound_log: FilteringBoundLogger | None = None
        self._program = Program()
        self._runs_fallback = False  # the current document came from the fallback URL itself
        self._pace: Pace | float | None = None  # while there was one document only, its time: most calls need no more
        self._is_paced = False
        self._failures: Failures | None = None
        self._told: Mapping[str, str] = {}
        self._error_code = 0
        self.report = on_transfer
        """Is told the result of each ``<Refer>``."""
        self.is_stopped = False
        """True after :meth:`stop`."""
        self._goodbye: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._is_interruptible = False
        self._is_interrupted = False

    async def run(self, url: str, method: str = "POST") -> Summary:
        """Request the first document from *url*, run what follows and end the call. Returns why it ended.

        :meth:`stop` ends it in good order. Cancelling it stops at once and leaves the call's position in the journal.
        """
        self._task = asyncio.current_task()
        self._cancelling = 0 if self._task is None else self._task.cancelling()
        self._call.on_ended(self._call_ended)
        context = Context(self._call, self._settings, self)
        try:
            step = await self._attempt("first request", self._request_document, url, method, {}, outlives_call=False)
            while not isinstance(node := await self._due(step), End):
                entry = self._verbs[type(node)]
                step = _GO_ON  # the body of the document is not held
                try:  # in this frame: thousands of calls wait for a verb, each with all of its frames
                    step = await entry.run(node, context)
                except BaseException as error:
                    broken = self._broken(error, type(node).__name__, owed=entry.traits.outlives_call)
                    if broken is None:
                        raise
                    step = broken
                finally:
                    self._over()
            reason = node.reason
        except Exception:
            self._log.exception("interpreter_crashed", document=for_log(self._program.url))
            reason = EndReason.CRASHED
        finally:
            self._task = None
            await self._say_goodbye()
        if not self._call.is_ended:
            await self._end_call(self._call.fail if reason in ERRORS else self._call.hangup)
        await self._forget()
        return self._summarized(str(reason))

    def stop(self) -> None:
        """Hang up. A transfer that waits still sends its action request; then :meth:`run` returns. Once more it does nothing."""
        if self._task is not None and not self.is_stopped:
            self._goodbye = asyncio.get_running_loop().create_task(self._end_call(self._call.hangup), name="goodbye")
        self.is_stopped = True

    def so_far(self, reason: str) -> Summary:
        """Return what was run until now, ended by *reason*: for calls whose documents are cut off."""
        return Summary(reason, self._error_code, self._program.documents, self._program.performed)

    def _summarized(self, reason: str) -> Summary:
        summary = self.so_far(reason)
        self._log.debug(
            "documents_ended",
            reason=summary.reason,
            error_code=summary.error_code,
            documents=summary.documents,
            verbs=summary.verbs,
        )
        return summary

    async def _say_goodbye(self) -> None:
        """Wait until a hang-up of :meth:`stop` is done, or end it if this is cancelled."""
        if self._goodbye is not None and not self._goodbye.done():
            try:
                await self._goodbye
            finally:
                self._goodbye.cancel()

    @property
    def _log(self) -> FilteringBoundLogger:
        if self._bound_log is None:
            self._bound_log = self._given_log.bind(call_sid=self._call.sid)
        return self._bound_log

    @property
    def verb_log(self) -> FilteringBoundLogger:
        """The log of the verb that runs."""
        node = self._program.current
        return self._log if node is None else self._log.bind(verb=type(node).__name__, line=node.place.line)

    async def _due(self, step: _Step) -> Verb | End:
        """Return the verb that is due after *step*, or the end."""
        if isinstance(step, Continue):
            self._program.advance()
        while not isinstance(step, End):
            if isinstance(step, Failure):
                step = await self._fall_back(step)
            elif self._is_over:
                return End(EndReason.CALL_ENDED)
            elif isinstance(step, Replace):
                step = await self._load(step.document)
            elif (node := self._program.current) is None:
                return End(EndReason.COMPLETED)
            else:
                await self.record({})
                if self._is_over:
                    return End(EndReason.CALL_ENDED)
                return self._runaway() or self._begin(outlives_call=self._verbs[type(node)].traits.outlives_call) or node
        return step

    @property
    def _is_over(self) -> bool:
        return self.is_stopped or self._call.is_ended

    async def _load(self, source: FetchedDocument, *, from_fallback: bool = False) -> _Step:
        """Put *source* in place of the current document, when its time has come. A body without content is a document without verbs."""
        if self._program.documents >= self._settings.max_documents:
            self._log.error("too_many_documents", limit=self._settings.max_documents, url=for_log(source.url))
            return End(EndReason.LOOP_GUARD)
        await self._keep_pace(source)
        try:
            document = self._parse(source.body) if source.body.strip() else Document(verbs=())
        except DocumentError as error:
            place = error.first
            self._error_code = error.code
            self._log.error(
                "document_invalid",
                code=error.code,
                url=for_log(source.url),
                line=place.line,
                column=place.column,
                detail=place.message,
            )
            return Failure(EndReason.DOCUMENT_INVALID, error.code, without_credentials(source.url), self._told)
        body = b"" if self._journal is None else source.body
        self._program.replace(source.url, body, document)
        self._runs_fallback = from_fallback
        return _GO_ON

    async def _keep_pace(self, source: FetchedDocument) -> None:
        """Wait as long as documents come too fast, or until the call ends."""
        now = asyncio.get_running_loop().time()
        if self._pace is None:
            self._pace = now
            return
        if isinstance(self._pace, float):
            self._pace = Pace(taken=1, seen_at=self._pace)
        delay_s = self._pace.delay_s(now)
        if not delay_s:
            return
        if not self._is_paced:
            self._is_paced = True
            self._log.warning("documents_too_fast", url=for_log(source.url), allowed_per_s=DOCUMENTS_PER_S)
        await self._attempt("pace", _pause, delay_s, outlives_call=False)

    def _runaway(self) -> End | None:
        """Return the end of a call that has run too many verbs."""
        if self._program.performed < self._settings.max_verbs:
            return None
        self._log.error("too_many_verbs", limit=self._settings.max_verbs, url=for_log(self._program.url))
        return End(EndReason.LOOP_GUARD)

    async def _fall_back(self, failure: Failure) -> _Step:
        """Ask the fallback URL for a document, once for each failure; without one, or if its document fails too, the call ends.

        What is owed is told to the fallback URL even then, but its answer doesn't run.
        """
        if self._is_over and not failure.owed:
            return End(EndReason.CALL_ENDED)
        if not self._settings.fallback_url:
            return End(failure.reason)
        last = self._last_word(failure)
        if last is not None and not failure.owed:
            return last
        extra = {**failure.told, "ErrorCode": str(failure.code), "ErrorUrl": failure.url}
        url, method = self._settings.fallback_url, self._settings.fallback_method
        step = await self._attempt("fallback request", self._request_document, url, method, extra, outlives_call=failure.owed)
        if isinstance(step, Replace) and not self._is_over:
            step = last or await self._load(step.document, from_fallback=True)
        return End(step.reason) if isinstance(step, Failure) else step

    def _last_word(self, failure: Failure) -> End | None:
        """Return how *failure* ends the call though there is a fallback URL; None if the fallback's document may run."""
        if self._failures is None:
            self._failures = Failures()
        too_many = self._failures.are_too_many(asyncio.get_running_loop().time())
        if self._runs_fallback:
            return End(failure.reason)
        if too_many:
            self._log.error("too_many_failures", limit=MAX_FAILURES, url=for_log(failure.url))
            return End(EndReason.LOOP_GUARD)
        return None

    async def _attempt(self, what: str, step: Callable[..., Awaitable[Outcome]], *given: object, outlives_call: bool) -> _Step:
        """Await *step* of *given*, which the end of the call cancels unless it *outlives_call*.

        What it raises becomes a value, so that no verb can break the engine; *what* names it in the log.
        """
        ended = self._begin(outlives_call=outlives_call)
        if ended is not None:
            return ended
        try:
            return await step(*given)
        except BaseException as error:
            broken = self._broken(error, what, owed=outlives_call)
            if broken is None:
                raise
            return broken
        finally:
            self._over()

    def _begin(self, *, outlives_call: bool) -> End | None:
        """A step begins; return the end instead if it is of no use without the call, which is over."""
        if not outlives_call and self._is_over:
            return End(EndReason.CALL_ENDED)
        self._is_interruptible = not outlives_call
        return None

    def _over(self) -> None:
        """A step is over."""
        self._is_interruptible = False
        self._was_interrupted()

    def _broken(self, error: BaseException, what: str, *, owed: bool) -> _Step | None:
        """Return what *error* of a step comes to; None if it isn't the step's."""
        if isinstance(error, asyncio.CancelledError) and self._was_interrupted():
            return End(EndReason.CALL_ENDED)
        return self._failed(error, what, owed=owed) if isinstance(error, Exception) else None

    def _failed(self, error: Exception, what: str, *, owed: bool) -> _Step:
        if isinstance(error, WebhookError):
            self._error_code = error.code
            self._log_failed_request(error)
            return Failure(EndReason.REQUEST_FAILED, error.code, without_credentials(error.url), self._told, owed)
        if isinstance(error, CallEndedError):
            return End(EndReason.CALL_ENDED)
        self._log_crash(error, what)
        return End(EndReason.CRASHED)

    def _was_interrupted(self) -> bool:
        """Take back the cancellation by :meth:`_interrupt`; True if it was the only one."""
        if not self._is_interrupted or self._task is None:
            return False
        self._is_interrupted = False
        return self._task.uncancel() <= self._cancelling

    def _call_ended(self) -> None:
        asyncio.get_running_loop().call_soon(self._interrupt)  # not at once: what ends the call may be what runs

    def _interrupt(self) -> None:
        """Cancel what is of no use without the call."""
        if self._is_interruptible and self._task is not None:
            self._is_interrupted = True
            self._task.cancel()

    async def _request_document(self, url: str, method: str, extra: Mapping[str, str]) -> Outcome:
        return Replace(await self.request(url, method, extra))

    async def request(self, url: str, method: str, extra: Mapping[str, str]) -> FetchedDocument:
        """Request *url*, relative to the current document; one request at a time, the next one waits for its turn."""
        return await self.in_turn(self._request, url, method, extra)

    async def _request(self, url: str, method: str, extra: Mapping[str, str]) -> FetchedDocument:
        self._told = extra
        try:
            absolute = resolve(self._program.url, url)
        except ValueError as error:
            raise WebhookError(BAD_URL, without_credentials(url), f"not a URL: {error}") from None
        return await self._fetch(absolute, method, extra)

    async def _fetch(self, url: str, method: str, extra: Mapping[str, str]) -> FetchedDocument:
        """Fetch *url*. An error of ours counts as a failed request where a result is owed, so that the fallback URL learns it."""
        try:
            return await self._webhooks.fetch(url, method, extra)
        except (WebhookError, CallEndedError):
            raise
        except Exception as error:
            if self._is_interruptible:  # nothing is owed
                raise
            self._log_crash(error, "owed request")
            raise WebhookError(NO_ANSWER, without_credentials(url), "internal error") from error

    def _log_crash(self, error: Exception, what: str) -> None:
        self._log.error("step_crashed", what=what, document=for_log(self._program.url), cursor=self._program.cursor, exc_info=error)

    def _log_failed_request(self, error: WebhookError) -> None:
        """One line; where a verb asked, with the document and the place of the verb."""
        asker: dict[str, object] = {}
        if (node := self._program.current) is not None:
            asker = {"document": for_log(self._program.url), "line": node.place.line}
        self._log.error("request_failed", code=error.code, url=for_log(error.url), detail=error.detail, **asker)

    async def record(self, pending: Mapping[str, str]) -> None:
        """Write the position down. A journal that fails costs the restart, not the call."""
        if self._journal is None:
            return
        try:
            await self._journal.record(self._program.position(self._call.sid, pending, self._call.dialog()))
        except Exception:
            self._log.exception("journal_failed")

    async def _forget(self) -> None:
        if self._journal is None:
            return
        try:
            await self._journal.forget(self._call.sid)
        except Exception:
            self._log.exception("journal_failed")

    async def _end_call(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await end()
        except Exception:
            self._log.exception("hanging_up_failed")


async def _pause(delay_s: float) -> Outcome:
    await asyncio.sleep(delay_s)
    return _GO_ON
