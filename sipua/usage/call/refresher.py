"""The session timer of one call: what stands in its messages, its refreshes, and the end of a session that nobody refreshed (RFC 4028)."""

import logging
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sipua.dialog.checks import ALLOW
from sipua.driver import Driver
from sipua.effects import Effect
from sipua.errors import CallEndedError, ParseError, printable
from sipua.message import Message, Request, Response, make_response
from sipua.transaction.layer import LocalResponse
from sipua.transport.base import Endpoint
from sipua.usage.call.core import CallCore
from sipua.usage.call.machine import interval
from sipua.usage.call.machine.glare import wait_range
from sipua.usage.call.machine.interval import Terms
from sipua.usage.call.machine.refresh import Expired, SendRefresh, SessionTimer

if TYPE_CHECKING:
    from sipua.usage.call.session import Session

log = logging.getLogger("sipua.call")

BYE_REASON: Final = 'SIP;cause=408;text="Session expired"'
"""Reason of the BYE (RFC 3326): the peer did not refresh in time."""

FATAL: Final = frozenset({408, 481})
"""Answers to a refresh that end the call at once (RFC 4028 §10); after any other the session lives on until it expires."""

MAX_RENEWALS: Final = 3
"""Answers 422 that one request is sent again for: each proxy on the way may want more, and rarely more than one does."""


_NO_TERMS: tuple[Terms | None, float] = (None, 0.0)


class Refresher:
    """Runs one :class:`SessionTimer`. The parts of a call show it their INVITEs and UPDATEs and the answers to them."""

    __slots__ = ("_agreed", "_knows_update", "_lacks_update", "_machine", "_min_se_s", "_renewals", "_run", "_session_of")

    def __init__(self, session: "Session") -> None:
        self._session_of = weakref.ref(session)  # which holds this: it must not wait for the garbage collector
        self._machine: SessionTimer | None = None  # most calls have no timer
        self._run: Driver | None = None
        self._agreed = _NO_TERMS  # what counts from the ACK on, and since when
        self._min_se_s = 0  # the largest Min-SE seen (RFC 4028 §7.4)
        self._renewals = 0
        self._knows_update = False
        self._lacks_update = False  # it said so, whatever its Allow says

    @property
    def _session(self) -> "Session":
        session = self._session_of()
        if session is None:
            raise ReferenceError("the call is gone")
        return session

    @property
    def machine(self) -> SessionTimer:
        """The machine of the timer."""
        if self._machine is None:
            self._machine = SessionTimer()
            if self._session.is_ended:
                self._machine.stop()
        return self._machine

    @property
    def _driver(self) -> Driver:
        if self._run is None:
            self._run = Driver(self.machine, self._perform, self._session.core.loop)
        return self._run

    @property
    def _settings(self) -> interval.TimerSettings:
        return self._session.core.timer_for(self._session.remote)

    # -- the peer's INVITE and UPDATE -------------------------------------------------------------------------------------------------

    def refusal(self, request: Request) -> Response | None:
        """Return the 422 that *request* gets for its interval, None to go on (RFC 4028 §9)."""
        return refuse_interval(request, self._session.core, self._session.remote)

    def accept(self, request: Request, response: Response) -> None:
        """Put the terms into *response*, our 2xx to *request*, and go by them."""
        self._note(request)
        is_wanted = "Session-Expires" in request.headers or interval.supports_timer(request)
        terms = interval.answer_terms(request, self._settings, self._agreed[0]) if is_wanted else None
        response.headers.add("Supported", self._session.core.dialogs.supported)
        if terms is not None:
            response.headers.add("Session-Expires", str(interval.response_interval(terms)))
            if interval.must_require(request, terms):
                response.headers.add("Require", interval.OPTION)
        if request.to.tag and self._agreed[0] is not None and terms is not None:
            self._session.core.statistics.refreshes_received += 1
        self._agree(terms)

    # -- ours -------------------------------------------------------------------------------------------------------------------------

    def ask(self, request: Request) -> None:
        """Put into *request*, an INVITE or UPDATE of ours, what we want; what stands there already is replaced."""
        headers = request.headers
        headers.set("Supported", self._session.core.dialogs.supported)
        wanted = interval.request_interval(self._settings, self._agreed[0], self._min_se_s, is_first=not self._session.has_dialog)
        headers.remove("Session-Expires")
        headers.remove("Min-SE")
        if wanted is not None:
            headers.add("Session-Expires", str(wanted))
        least = max(self._min_se_s, self._settings.min_se_s)
        if self._min_se_s or (wanted is not None and least != interval.FLOOR_S):
            headers.add("Min-SE", str(least))

    def renews(self, request: Request, response: Response) -> bool:
        """Tell whether *response* is a 422 after which *request* may be sent again as :meth:`ask` then makes it (RFC 4028 §7.3)."""
        if response.status != 422 or self._renewals >= MAX_RENEWALS:
            return False
        least = interval.next_min_se(response, interval.read_interval(request), self._min_se_s)
        if least is None:
            return False
        self._renewals += 1
        self._min_se_s = least
        return True

    def take(self, response: Response) -> None:
        """Go by what *response*, the first 2xx to an INVITE or UPDATE of ours, says (RFC 4028 §7.2)."""
        self._note(response)
        self._renewals = 0
        self._agree(interval.agreed_terms(response, self._settings))

    # -- life -------------------------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The call is confirmed: from now on the timer runs, counted from the 2xx."""
        terms, since = self._agreed
        if terms is not None or self._machine is not None:
            self._driver.feed(self.machine.agreed(terms, since))

    def close(self) -> None:
        """The call is over."""
        if self._machine is not None:
            self._machine.stop()
        if self._run is not None:
            self._run.stop()

    def _agree(self, terms: Terms | None) -> None:
        self._agreed = _NO_TERMS if terms is None and self._machine is None else (terms, self._session.core.loop.time())
        if self._session.is_confirmed:
            self.begin()

    def _note(self, message: Message) -> None:
        """Keep what a message of the peer tells about later ones."""
        if "Allow" in message.headers:
            self._knows_update = any(method.strip() == "UPDATE" for line in message.headers.lines("Allow") for method in line.split(","))
        if isinstance(message, Request) and interval.supports_timer(message):
            self._min_se_s = max(self._min_se_s, interval.read_min_se(message) or 0)

    def _perform(self, effect: Effect) -> None:
        session = self._session
        match effect:
            case SendRefresh():
                session.core.tasks.spawn(self._refresh(), name="session refresh")
            case Expired():
                session.core.statistics.sessions_expired += 1
                terms = self._agreed[0]
                refresher = "we" if terms is not None and terms.is_ours else "the peer"
                log.warning(
                    "session expired: Call-ID %s with %s got no refresh in %d s, which %s had to send; hanging up",
                    printable(session.call_id),
                    session.remote,
                    0 if terms is None else terms.expires_s,
                    refresher,
                )
                if session.role is not None:
                    session.bye_reason = BYE_REASON
                    session.role.expired()
            case _:
                log.error("effect %s is not a session timer's", effect)

    async def _refresh(self) -> None:
        """Refresh the session once; the machine decides about another try."""
        session = self._session
        try:
            await session.reinvites.turn()
            if not self.machine.is_wanted:  # somebody's INVITE or UPDATE has done it meanwhile
                self._driver.feed(self.machine.finished(session.core.loop.time()))
                return
            session.core.statistics.refreshes_sent += 1
            response = await (self.update() if self._knows_update and not self._lacks_update else session.reinvites.attempt())
        except CallEndedError:
            return
        self._renewals = 0
        if response.is_success:
            self._driver.feed(self.machine.finished(session.core.loop.time()))
            return
        session.core.statistics.refreshes_failed += 1
        if not session.is_ended:
            self._failed(response)

    def _failed(self, response: Response) -> None:
        session = self._session
        method = response.cseq.method
        status = f"{response.status} {printable(response.reason, 60)}"
        log.warning("refresh of the session of Call-ID %s by %s failed: %s", printable(session.call_id), method, status)
        if response.status in FATAL:
            session.judge(response, method)
        self._driver.feed(self.machine.finished(session.core.loop.time(), self._retry_wait(response)))

    def _retry_wait(self, response: Response) -> float | None:
        """Return after how many seconds the refresh is tried again, None: when the machine says."""
        if response.cseq.method == "UPDATE" and response.status in (405, 501):
            self._lacks_update = True
            return 0.0
        if response.status == 491:
            dialogs = self._session.core.dialogs
            return round(dialogs.uniform(*wait_range(is_owner=self._session.is_owner)), 2)
        try:
            return None if isinstance(response, LocalResponse) or response.retry_after is None else float(response.retry_after)
        except ParseError:
            return None

    async def update(self, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", content_type: str = "") -> Response:
        """Send UPDATE and return its final response; a 2xx restarts the timer (RFC 3311 §5.1, RFC 4028 §7.4).

        Without a body nothing but the timer and the Contact is touched. A Session-Expires among *headers* is sent as it is.
        """
        session = self._session
        given = list(headers)
        while True:
            request = session.dialog.new_request("UPDATE", [("Allow", ALLOW), *given], body, content_type)
            if self._renewals or "Session-Expires" not in request.headers:
                self.ask(request)
            response = await session.dialog.request(request)
            if session.is_ended or not self.renews(request, response):
                break
        if response.is_success and not session.is_ended:
            session.dialog.state.refresh_target(response)
            self.take(response)
        return response


def refuse_interval(request: Request, core: CallCore, remote: Endpoint | None, to_tag: str = "") -> Response | None:
    """Return the 422 for a session interval below our minimum, None to go on (RFC 4028 §9)."""
    if "Session-Expires" not in request.headers:
        return None
    settings = core.timer_for(remote)
    if not interval.is_too_small(request, settings):
        return None
    core.statistics.intervals_refused += 1
    response = make_response(request, 422, to_tag=to_tag)
    response.headers.add("Min-SE", str(settings.min_se_s))
    return response
