"""Pure. The transferee's side of REFER: the check of the request, and the notifier of its implicit subscription.

Sources: RFC 3515 §2.4.2 to §2.4.7 and §3.10, RFC 6665 §4.2, RFC 7647 §5. Owns what is notified, when, and when it is over;
does not own the call to the target, nor the dialog that the NOTIFYs are sent in. State table: docs/spec/subscription.md.
"""

import logging
import urllib.parse
from dataclasses import dataclass
from enum import StrEnum

from sipua.effects import Effect, Terminated
from sipua.errors import ParseError
from sipua.message import Address, Request, Uri, reason_phrase
from sipua.timers import TimerSet
from sipua.usage.subscription.sipfrag import SIPFRAG_TYPE

log = logging.getLogger("sipua.usage")

NOTIFY_INTERVAL_S = 1.0  # RFC 3515 §3.10: not more than one NOTIFY a second
DEFAULT_EXPIRES_S = 180  # longer than a target rings; RFC 3515 §3.4 leaves it to us
DESTROYING_CODES = frozenset({404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604})
"""Responses to a NOTIFY that end its subscription (RFC 6665 §4.2.2)."""


@dataclass(frozen=True, slots=True)
class ReferRequest:
    """What a REFER asks for: ``target`` as it may stand in a Request-URI, the ``replaces`` value from its headers, and Referred-By."""

    target: Uri
    replaces: str | None = None
    referred_by: str | None = None
    wants_no_subscription: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The response for a REFER that can't be followed."""

    status: int
    reason: str


def check_refer(request: Request) -> ReferRequest | Refusal:
    """Check a REFER that has passed the checks for all requests (RFC 3515 §2.4.2, §2.4.3). Never raises."""
    values = request.headers.values("Refer-To")
    if len(values) != 1:
        return Refusal(400, "One Refer-To Required")
    try:
        uri = Address.parse(values[0]).uri
        target = uri.as_request_uri()
    except ParseError as error:
        return Refusal(error.status, "Broken Refer-To")
    if not uri.is_sip:
        return Refusal(416, reason_phrase(416))
    if (uri.params.get("method") or "INVITE").upper() != "INVITE":
        return Refusal(403, "Only INVITE Can Be Referred To")
    wish = (request.headers.get("Refer-Sub") or "").partition(";")[0].strip().lower()
    return ReferRequest(target, _uri_header(uri, "replaces"), request.headers.get("Referred-By"), wish == "false")


def _uri_header(uri: Uri, name: str) -> str | None:
    """Return one header of a URI without its escapes; all others are dropped (RFC 3261 §19.1.5)."""
    for part in (uri.headers or "").split("&"):
        key, _, value = part.partition("=")
        if urllib.parse.unquote(key).lower() == name:
            text = urllib.parse.unquote(value)
            return text if text.isprintable() else None
    return None


class NotifierState(StrEnum):
    """Where the implicit subscription stands for its notifier."""

    INIT = "init"
    ACTIVE = "active"
    FINISHED = "finished"
    """The last NOTIFY is sent or waits for its turn."""
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Respond(Effect):
    """Answer the REFER or SUBSCRIBE with ``status`` and ``headers`` (names and values)."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SendNotify(Effect):
    """Send a NOTIFY in the dialog: values of Event, Subscription-State and Content-Type, and the body."""

    event: str
    subscription_state: str
    body: bytes
    content_type: str = SIPFRAG_TYPE


class ReferNotifier:
    """Tells the transferor how one transfer goes. At most one NOTIFY is unanswered at a time, so that none overtakes another."""

    def __init__(self, event_id: int | None = None, expires: int = DEFAULT_EXPIRES_S) -> None:
        """*event_id* is the CSeq number of the REFER; it must be given from the second REFER of a dialog on (RFC 3515 §2.4.6)."""
        self.state = NotifierState.INIT
        self.timers = TimerSet()
        self._event = "refer" if event_id is None else f"refer;id={event_id}"
        self._expires = expires
        self._code = 100
        self._is_in_flight = False
        self._is_due = False
        self._last_sent = 0.0
        self._expires_at = 0.0
        self._end_reason = "noresource"

    def accept(self, now: float, status: int = 202, *, subscribe: bool = True) -> list[Effect]:
        """Accept the REFER with *status* and notify 100 at once. Without *subscribe*, say that none will come (RFC 4488 §4)."""
        if self.state is not NotifierState.INIT:
            return []
        if not subscribe:
            self._enter(NotifierState.TERMINATED)
            return [Respond(status, (("Refer-Sub", "false"),)), Terminated()]
        self._enter(NotifierState.ACTIVE)
        self._live_until(now + self._expires)
        return [Respond(status, (("Expires", str(self._expires)),)), self._send(now)]

    def progress(self, code: int, now: float) -> list[Effect]:
        """Note a provisional response of the target. The newest replaces what is not sent yet: a NOTIFY holds the whole state."""
        if self.state is not NotifierState.ACTIVE or code == self._code or not 100 <= code < 200:
            return []
        self._code = code
        self._is_due = True
        return self._send_if_due(now)

    def finish(self, code: int, now: float) -> list[Effect]:
        """Note the final response of the target: the last NOTIFY, sent as soon as none is unanswered.

        Raises :class:`ValueError` for a code that is not 200 to 699.
        """
        if not 200 <= code <= 699:
            raise ValueError(f"{code} is no final status")
        if self.state is not NotifierState.ACTIVE:
            return []
        self._code = code
        return self._close("noresource", now)

    def subscribe(self, expires: int, now: float) -> list[Effect]:
        """Take a SUBSCRIBE of this subscription: another duration in seconds, 0 ends it (RFC 6665 §4.2.1.4, §4.2.2)."""
        if self.state is not NotifierState.ACTIVE:
            return [Respond(481)] if self.state is NotifierState.FINISHED else []
        granted = min(expires, self._expires)
        respond = Respond(200, (("Expires", str(granted)),))
        if expires == 0:
            return [respond, *self._close("timeout", now)]
        self._live_until(now + granted)
        self._is_due = True
        return [respond, *self._send_if_due(now)]

    def notify_response(self, status: int, now: float) -> list[Effect]:
        """Take the final response to the unanswered NOTIFY; a code of :data:`DESTROYING_CODES` ends the subscription."""
        if status < 200 or not self._is_in_flight or self.state is NotifierState.TERMINATED:
            return []
        self._is_in_flight = False
        if status in DESTROYING_CODES:
            return self.drop()
        if self.state is NotifierState.FINISHED and not self._is_due:
            return self.drop()
        return self._send_if_due(now)

    def notify_failed(self) -> list[Effect]:
        """Note that the NOTIFY was not answered or could not be sent: the subscription is over (RFC 6665 §4.2.2)."""
        return self.drop() if self._is_in_flight else []

    def drop(self) -> list[Effect]:
        """End the subscription without a word."""
        if self.state is NotifierState.TERMINATED:
            return []
        self._enter(NotifierState.TERMINATED)
        return [Terminated()]

    def tick(self, now: float) -> list[Effect]:
        """Handle the deadlines that have passed."""
        effects: list[Effect] = []
        for name in self.timers.due(now):
            if name == "pace":
                effects += self._send_if_due(now)
            elif self.state is NotifierState.ACTIVE:
                effects += self._close("timeout", now)
        return effects

    def _live_until(self, deadline: float) -> None:
        self._expires_at = deadline
        self.timers.start("expires", deadline)

    def _close(self, reason: str, now: float) -> list[Effect]:
        self._end_reason = reason
        self._is_due = True
        self._enter(NotifierState.FINISHED)
        return self._send_if_due(now)

    def _send_if_due(self, now: float) -> list[Effect]:
        if not self._is_due or self._is_in_flight:
            return []
        if self.state is NotifierState.ACTIVE and now < self._last_sent + NOTIFY_INTERVAL_S:
            self.timers.start("pace", self._last_sent + NOTIFY_INTERVAL_S)
            return []
        return [self._send(now)]

    def _send(self, now: float) -> SendNotify:
        self._is_due = False
        self._is_in_flight = True
        self._last_sent = now
        self.timers.stop("pace")
        state = f"active;expires={max(0, round(self._expires_at - now))}"
        if self.state is not NotifierState.ACTIVE:
            state = f"terminated;reason={self._end_reason}"
        body = f"SIP/2.0 {self._code} {reason_phrase(self._code)}".rstrip() + "\r\n"
        return SendNotify(self._event, state, body.encode())

    def _enter(self, state: NotifierState) -> None:
        log.debug("notifier: %s -> %s", self.state, state)
        self.state = state
        if state in (NotifierState.FINISHED, NotifierState.TERMINATED):
            self.timers.clear()
