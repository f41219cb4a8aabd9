"""The web application behind a call: the ``Webhooks`` port over HTTP (docs/reference/webhooks.md).

One :class:`WebhookClient` per process owns the connections and the settings; :meth:`WebhookClient.for_call` gives each call a cheap
:class:`CallWebhooks` with its own cookies, parameters and one request at a time.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx
import structlog

from cxml.interpreter.ports import FetchedDocument, WebhookError
from cxml.interpreter.turns import Turns
from cxml.services.exchange import Answer, OnExchange, Outgoing, Session, answer_of, outgoing, redirected, request_of
from cxml.services.fault import INVALID_URL, REDIRECTS, RETRIEVAL, FaultError
from cxml.services.fragment import Overrides
from cxml.services.hosts import host_of, is_host_allowed
from cxml.services.http import Times, Transport
from cxml.services.httpx_transport import HttpxTransport
from cxml.services.parameters import CallFacts, clean, fact_parameters, form_body, parameters_in, remembered
from cxml.services.settings import WebhookSettings
from cxml.services.target import Target, TargetError, known_target, without_query, without_secrets
from cxml.services.transport import PooledTransport

_log = structlog.get_logger(__name__)

_METHODS = frozenset({"GET", "POST"})


class WebhookClient:
    """The process's connections to web applications. Made inside or outside a running loop, used in one loop, closed by ``aclose()``.

    *transport* replaces the pool of connections, and may be one of httpx; *on_exchange* hears of every HTTP exchange of every call.
    """

    def __init__(
        self,
        settings: WebhookSettings | None = None,
        *,
        transport: Transport | httpx.AsyncBaseTransport | None = None,
        on_exchange: OnExchange | None = None,
    ) -> None:
        self.settings = settings if settings is not None else WebhookSettings()
        self.transport: Transport
        if transport is None:
            self.transport = PooledTransport(allow_private=self.settings.allow_private)
        else:
            self.transport = HttpxTransport(transport) if isinstance(transport, httpx.AsyncBaseTransport) else transport
        self.hooks: tuple[OnExchange, ...] = () if on_exchange is None else (on_exchange,)
        self._closed = False
        self._clock: Callable[[], float] | None = None

    def now(self) -> float:
        """Return the time of the loop that this client is used in."""
        if self._clock is None:
            self._clock = asyncio.get_running_loop().time
        return self._clock()

    @property
    def is_closed(self) -> bool:
        """True after ``aclose()``; every further request fails with 11200."""
        return self._closed

    def for_call(
        self,
        facts: CallFacts,
        status: Callable[[], str],
        *,
        on_exchange: OnExchange | None = None,
        first_request: int = 1,
    ) -> "CallWebhooks":
        """Return the webhooks of one call.

        *status* is asked for the CallStatus at each request. *on_exchange* hears of this call's exchanges, besides the client's own.
        *first_request* numbers the first request; a call taken up again goes on after the last number, so that no idempotency key
        comes twice.
        """
        return CallWebhooks(self, facts, status, on_exchange, first_request)

    async def aclose(self) -> None:
        """Close every connection. Requests under way fail. Idempotent."""
        self._closed = True
        await self.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()


class CallWebhooks(Turns):
    """The ``Webhooks`` port of one call. Made by :meth:`WebhookClient.for_call`; holds nothing that needs closing."""

    __slots__ = ("_call_sid", "_client", "_encoded", "_hooks", "_next_request", "_session", "_status")

    def __init__(
        self,
        client: WebhookClient,
        facts: CallFacts,
        status: Callable[[], str],
        on_exchange: OnExchange | None,
        first_request: int,
    ) -> None:
        super().__init__()
        self._client = client
        self._call_sid = facts.call_sid
        self._status = status
        self._hooks = client.hooks if on_exchange is None else (*client.hooks, on_exchange)
        self._next_request = first_request
        self._session: Session | None = None
        params, left_out = fact_parameters(facts)
        if not facts.account_sid:
            params["AccountSid"] = clean({"": client.settings.account_sid})[""]
        self._encoded = remembered(params)
        if left_out:
            _log.warning("sip_headers_left_out", call_sid=self._call_sid, count=len(left_out), first=ascii(left_out[0][:80]))

    @property
    def next_request(self) -> int:
        """The number of the next request: what ``first_request`` takes when the call is taken up again."""
        return self._next_request

    async def fetch(self, url: str, method: str, extra: Mapping[str, str]) -> FetchedDocument:
        """Request the absolute *url* (a fragment may override time-outs and retries) and return the document.

        *extra* adds to the standard parameters of the call, or replaces them by name. A second fetch waits for the first. An answer
        without a body is a document of ``b""``. Raises :class:`WebhookError`, and ValueError for a method other than GET or POST.
        """
        method = method.upper()
        if method not in _METHODS:
            raise ValueError("a webhook's method is GET or POST")
        return await self.in_turn(self._ask, url, method, extra)

    async def _ask(self, url: str, method: str, extra: Mapping[str, str]) -> FetchedDocument:
        number = self._next_request
        self._next_request += 1
        session = self._session or Session()
        series = _Series(self._client, session, self._hooks, self._call_sid)
        try:
            return await self._run(series, url, method, extra, number)
        except FaultError as fault:
            failed_url = series.page_url or without_secrets(url)
            _log.debug(  # whoever asked logs the failure; this line knows how it came about
                "webhook_failed",
                call_sid=self._call_sid,
                code=fault.code,
                detail=fault.detail,
                method=method,
                url=ascii(without_query(failed_url)[:300]),
                request=number,
                attempts=series.attempts,
            )
            raise WebhookError(fault.code, failed_url, fault.detail) from fault
        finally:
            self._session = None if session.is_empty else session

    async def _run(self, series: "_Series", url: str, method: str, extra: Mapping[str, str], number: int) -> FetchedDocument:
        target = self._target(url)
        overrides = target.overrides
        settings = self._client.settings
        total_s = _chosen(overrides.total_s, settings.total_timeout_s)
        times = Times(
            _chosen(overrides.connect_s, settings.connect_timeout_s),
            _chosen(overrides.read_s, settings.read_timeout_s),
            self._client.now() + total_s,
        )
        own = {"CallStatus": self._status(), **clean(extra)}
        of_call = parameters_in(self._encoded)
        params = {**of_call, **own}
        form = b""
        if method == "POST":  # what is the call's was encoded once; it is of no use where one of its parameters is replaced
            is_replaced = len(params) < len(of_call) + len(own)
            form = form_body(params) if is_replaced else self._encoded + b"&" + form_body(own)
        first = outgoing(method, target, params, form, f"{self._call_sid}:{number}", times)
        try:
            return await series.run(first, overrides)
        except TimeoutError as exc:
            fault = FaultError(RETRIEVAL, f"no complete answer within {total_s:g} s")
            series.report_interrupted(fault.code)
            raise fault from exc

    def _target(self, url: str) -> Target:
        try:
            target = known_target(url)
        except TargetError as exc:
            raise FaultError(INVALID_URL, str(exc)) from exc
        if target.overrides.problem:
            _log.warning(
                "url_fragment_changed",
                call_sid=self._call_sid,
                url=without_query(target.url)[:300],
                problem=target.overrides.problem,
            )
        return target


@dataclass(slots=True)
class _Series:
    """The exchanges of one fetch: attempts, and within each the redirects."""

    client: WebhookClient
    session: Session
    hooks: tuple[OnExchange, ...]
    call_sid: str
    attempts: int = 0
    page_url: str = ""
    _open: Outgoing | None = None
    _opened_at: float = 0.0

    async def run(self, first: Outgoing, overrides: Overrides) -> FetchedDocument:
        """Try *first* as often as *overrides* allow."""
        while True:
            self.attempts += 1
            try:
                return await self._follow(first)
            except FaultError as fault:
                if not overrides.retry.allows(self.attempts, fault.cause):
                    raise
            async with asyncio.timeout_at(first.times.ends_at):
                await asyncio.sleep(overrides.retry.delay_s(self.attempts))

    def report_interrupted(self, code: int) -> None:
        """Report the exchange that a time-out cut off, if there is one."""
        if self._open is not None:
            self._report(code)

    async def _follow(self, first: Outgoing) -> FetchedDocument:
        out = first
        limit = self.client.settings.max_redirects
        for _ in range(limit + 1):
            self.page_url = out.page_url
            answer = await self._exchange(out)
            if not answer.location:
                return FetchedDocument(out.page_url, answer.body, answer.content_type)
            out = redirected(out, answer)
        raise FaultError(REDIRECTS, f"more than {limit} redirects")

    async def _exchange(self, out: Outgoing) -> Answer:
        if self.client.is_closed:
            raise FaultError(RETRIEVAL, "the daemon is shutting down")
        if not is_host_allowed(out.target, self.client.settings.allow_hosts):
            host = f"{host_of(out.target)[:200]}:{out.target.origin[2]}"
            _log.warning("webhook_host_refused", call_sid=self.call_sid, host=host, remedy="[webhook] allow_hosts names what is allowed")
            raise FaultError(INVALID_URL, f"[webhook] allow_hosts does not have the host {host}")
        self._open = out
        self._opened_at = self.client.now()
        try:
            response = await self.client.transport.send(request_of(self.client.settings, self.session, out))
            answer = answer_of(self.session, out, response)
        except FaultError as fault:
            self._report(fault.status or fault.code)
            raise
        self._report(response.status)
        return answer

    def _report(self, status_or_code: int) -> None:
        out, self._open = self._open, None
        if out is None:
            return
        elapsed_s = self.client.now() - self._opened_at
        for hook in self.hooks:
            try:
                hook(out.method, out.target.url, status_or_code, elapsed_s, out.params)
            except Exception:
                _log.exception("exchange_hook_failed")


def _chosen(override: float | None, setting: float) -> float:
    return setting if override is None else override
