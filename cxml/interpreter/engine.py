"""Runs one call's documents from the first request to the end of the call.

The engine owns the order of verbs, the replacement of documents, the fallback after an error, the end of the call and its
place in the journal. ``docs/spec/engine.md`` states its rules. What a verb does is the verb's own; what SIP and HTTP do
stands behind the ports.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from cxml.document.diagnostics import DocumentError
from cxml.document.nodes import Document, Verb
from cxml.interpreter.context import Context, EngineSettings, Verbs
from cxml.interpreter.outcome import Continue, End, Outcome, Replace
from cxml.interpreter.pace import DOCUMENTS_PER_S, MAX_FAILURES, Failures, Pace
from cxml.interpreter.ports import Call, CallEndedError, FetchedDocument, Journal, TransferResult, WebhookError, Webhooks
from cxml.interpreter.program import Program
from cxml.interpreter.urls import for_log, resolve, without_credentials

BAD_URL = 11100
"""The vendors' code for a URL that can't be read."""


class EndReason(StrEnum):
    """Why the engine ended a call's documents; a verb that ends them says its own word."""

    COMPLETED = "completed"
    CALL_ENDED = "call_ended"
    REQUEST_FAILED = "request_failed"
    DOCUMENT_INVALID = "document_invalid"
    LOOP_GUARD = "loop_guard"
    CRASHED = "crashed"


_ERRORS = frozenset({EndReason.REQUEST_FAILED, EndReason.DOCUMENT_INVALID, EndReason.LOOP_GUARD, EndReason.CRASHED})


@dataclass(frozen=True, slots=True)
class Summary:
    """How a call's documents ended: one word why, the last vendors' error code (0: none), and what was run."""

    reason: str
    error_code: int = 0
    documents: int = 0
    verbs: int = 0


@dataclass(frozen=True, slots=True)
class _Failure:
    """A request or document that failed. ``told`` are the parameters of that request.

    ``owed`` marks a request that reports a result: the fallback URL learns it even if the call is over by now.
    """

    reason: EndReason
    code: int
    url: str
    told: Mapping[str, str]
    owed: bool = False


_Step = Outcome | _Failure


class Engine:
    """One call's interpreter; use it once.

    *parse* turns a body into a :class:`~cxml.document.nodes.Document` or raises
    :class:`~cxml.document.diagnostics.DocumentError`; *verbs* says what runs each node.
    """

    def __init__(
        self,
        call: Call,
        webhooks: Webhooks,
        journal: Journal,
        parse: Callable[[bytes], Document],
        verbs: Verbs,
        settings: EngineSettings | None = None,
        log: FilteringBoundLogger | None = None,
        on_transfer: Callable[[TransferResult], None] = lambda _result: None,
    ) -> None:
        """*on_transfer* is told the result of each ``<Refer>``; it must not raise."""
        self._on_transfer = on_transfer
        self._call = call
        self._webhooks = webhooks
        self._journal = journal
        self._parse = parse
        self._verbs = verbs
        self._settings = settings or EngineSettings()
        self._log: FilteringBoundLogger = (log or structlog.get_logger(__name__)).bind(call_sid=call.sid)
        self._program = Program()
        self._runs_fallback = False  # the current document came from the fallback URL itself
        self._pace = Pace()
        self._is_paced = False
        self._failures = Failures()
        self._one_request = asyncio.Lock()
        self._told: Mapping[str, str] = {}
        self._error_code = 0
        self._stopping = False
        self._group = asyncio.TaskGroup()

    async def run(self, url: str, method: str = "POST") -> Summary:
        """Request the first document from *url*, run what follows and end the call. Returns why it ended.

        Cancelling it hangs up: a transfer that waits still sends its action request, then the cancellation goes on to
        the caller. Cancelling it once more stops at once and leaves the call's position in the journal.
        """
        async with self._group:
            self._ended = self._group.create_task(self._call.wait_ended(), name="call ended")
            work = self._group.create_task(self._work(url, method), name="documents")
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                self._stopping = True
                await self._end_call(self._call.hangup)
                await work
                raise
            finally:
                self._ended.cancel()

    def so_far(self, reason: str) -> Summary:
        """Return what was run until now, ended by *reason*: for calls whose documents are cut off."""
        return Summary(reason, self._error_code, self._program.documents, self._program.performed)

    async def _work(self, url: str, method: str) -> Summary:
        """Run the documents, then end call and journal, whatever happens; an exception is logged here and no further."""
        try:
            reason = await self._play(url, method)
        except Exception:
            self._log.exception("interpreter_crashed", document=for_log(self._program.url))
            reason = EndReason.CRASHED
        if not self._call.is_ended:
            await self._end_call(self._call.fail if reason in _ERRORS else self._call.hangup)
        await self._forget()
        summary = self.so_far(str(reason))
        self._log.debug(
            "documents_ended",
            reason=summary.reason,
            error_code=summary.error_code,
            documents=summary.documents,
            verbs=summary.verbs,
        )
        return summary

    async def _play(self, url: str, method: str) -> str:
        """The run loop: one step after the other until one ends it. Returns why."""
        step = await self._until_ended(self._attempt(partial(self._request_document, url, method, {}), "first request"))
        while not isinstance(step, End):
            if isinstance(step, _Failure):
                step = await self._fall_back(step)
            elif self._is_over:
                return EndReason.CALL_ENDED
            elif isinstance(step, Replace):
                step = await self._load(step.document)
            elif (node := self._program.current) is None:
                return EndReason.COMPLETED
            else:
                step = await self._perform(node)
                if isinstance(step, Continue):
                    self._program.advance()
        return step.reason

    @property
    def _is_over(self) -> bool:
        return self._stopping or self._call.is_ended

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
            return _Failure(EndReason.DOCUMENT_INVALID, error.code, without_credentials(source.url), self._told)
        self._program.replace(source, document)
        self._runs_fallback = from_fallback
        return Continue()

    async def _keep_pace(self, source: FetchedDocument) -> None:
        """Wait as long as documents come too fast, or until the call ends."""
        delay_s = self._pace.delay_s(asyncio.get_running_loop().time())
        if not delay_s:
            return
        if not self._is_paced:
            self._is_paced = True
            self._log.warning("documents_too_fast", url=for_log(source.url), allowed_per_s=DOCUMENTS_PER_S)
        await asyncio.wait({self._ended}, timeout=delay_s)

    async def _perform(self, node: Verb) -> _Step:
        """Run one verb. The end of the call cancels it, unless its traits say that it outlives the call."""
        if self._program.performed >= self._settings.max_verbs:
            self._log.error("too_many_verbs", limit=self._settings.max_verbs, url=for_log(self._program.url))
            return End(EndReason.LOOP_GUARD)
        entry = self._verbs[type(node)]
        await self._record({})
        if self._is_over:
            return End(EndReason.CALL_ENDED)
        log = self._log.bind(verb=type(node).__name__, line=node.place.line)
        context = Context(self._call, self._settings, log, self._request, self._record, self._on_transfer)
        attempt = self._attempt(partial(entry.run, node, context), type(node).__name__, owed=entry.traits.outlives_call)
        return await (attempt if entry.traits.outlives_call else self._until_ended(attempt))

    async def _fall_back(self, failure: _Failure) -> _Step:
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
        attempt = self._attempt(partial(self._request_document, url, method, extra), "fallback request", owed=failure.owed)
        step = await (attempt if failure.owed else self._until_ended(attempt))
        if isinstance(step, Replace) and not self._is_over:
            step = last or await self._load(step.document, from_fallback=True)
        return End(step.reason) if isinstance(step, _Failure) else step

    def _last_word(self, failure: _Failure) -> End | None:
        """Return how *failure* ends the call though there is a fallback URL; None if the fallback's document may run."""
        too_many = self._failures.are_too_many(asyncio.get_running_loop().time())
        if self._runs_fallback:
            return End(failure.reason)
        if too_many:
            self._log.error("too_many_failures", limit=MAX_FAILURES, url=for_log(failure.url))
            return End(EndReason.LOOP_GUARD)
        return None

    async def _attempt(self, step: Callable[[], Awaitable[Outcome]], what: str, *, owed: bool = False) -> _Step:
        """Await *step* and turn what it raises into a value, so that no verb can break the engine; *what* names it in the log."""
        try:
            return await step()
        except WebhookError as error:
            self._error_code = error.code
            self._log_failed_request(error)
            return _Failure(EndReason.REQUEST_FAILED, error.code, without_credentials(error.url), self._told, owed)
        except CallEndedError:
            return End(EndReason.CALL_ENDED)
        except Exception:
            self._log.exception("step_crashed", what=what, document=for_log(self._program.url), cursor=self._program.cursor)
            return End(EndReason.CRASHED)

    async def _until_ended(self, step: Coroutine[Any, Any, _Step]) -> _Step:
        """Await *step*, but cancel it as soon as the call ends."""
        task = self._group.create_task(step, name="verb")
        await asyncio.wait({task, self._ended}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        return End(EndReason.CALL_ENDED) if task.cancelled() else task.result()

    async def _request_document(self, url: str, method: str, extra: Mapping[str, str]) -> Outcome:
        return Replace(await self._request(url, method, extra))

    async def _request(self, url: str, method: str, extra: Mapping[str, str]) -> FetchedDocument:
        """Request *url*, relative to the current document; one request at a time, the next one waits for its turn."""
        async with self._one_request:
            self._told = dict(extra)
            try:
                absolute = resolve(self._program.url, url)
            except ValueError as error:
                raise WebhookError(BAD_URL, without_credentials(url), f"not a URL: {error}") from None
            return await self._webhooks.fetch(absolute, method, extra)

    def _log_failed_request(self, error: WebhookError) -> None:
        """One line; where a verb asked, with the document and the place of the verb."""
        asker: dict[str, object] = {}
        if (node := self._program.current) is not None:
            asker = {"document": for_log(self._program.url), "line": node.place.line}
        self._log.error("request_failed", code=error.code, url=for_log(error.url), detail=error.detail, **asker)

    async def _record(self, pending: Mapping[str, str]) -> None:
        """Write the position down. A journal that fails costs the restart, not the call."""
        try:
            await self._journal.record(self._program.position(self._call.sid, pending, self._call.dialog()))
        except Exception:
            self._log.exception("journal_failed")

    async def _forget(self) -> None:
        try:
            await self._journal.forget(self._call.sid)
        except Exception:
            self._log.exception("journal_failed")

    async def _end_call(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await end()
        except Exception:
            self._log.exception("hanging_up_failed")
