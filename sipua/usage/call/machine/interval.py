"""Pure. What two sides agree on about the session interval: reading, asking, answering (RFC 4028 §4 to §9; docs/spec/session-timer.md)."""

import re
from dataclasses import dataclass
from typing import Final

from sipua.message import Message

OPTION: Final = "timer"
"""The option tag (RFC 4028 §11.1)."""

DEFAULT_EXPIRES_S: Final = 1800
"""The interval that RFC 4028 §4 recommends."""

FLOOR_S: Final = 90
"""The smallest interval that RFC 4028 §4 thinks of, and what Min-SE is when a request has none."""

MAX_INTERVAL_S: Final = 2**32 - 1
"""Larger numbers count as this one, as those of Expires do (RFC 3261 §20.19)."""

_DELTA: Final = re.compile(r"\s*([0-9]{1,20})\s*(?:;(.*))?", re.DOTALL)
_REFRESHER: Final = re.compile(r"(?:^|;)\s*refresher\s*=\s*(uac|uas)\s*(?=;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TimerSettings:
    """What our side wants of session timers.

    *expires_s* is the interval that we ask for and the most that we agree to, 0: we ask for none and take what the peer asks for;
    *min_se_s* is the least that we agree to.
    """

    expires_s: int = DEFAULT_EXPIRES_S
    min_se_s: int = FLOOR_S

    @property
    def asked_s(self) -> int:
        """The interval to ask for, 0 for none: never below our own minimum."""
        return max(self.expires_s, self.min_se_s) if self.expires_s else 0


@dataclass(frozen=True, slots=True)
class Terms:
    """An agreed interval in seconds, and whether our side refreshes."""

    expires_s: int
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Interval:
    """A Session-Expires: seconds, and ``uac``, ``uas`` or nothing as refresher."""

    expires_s: int
    refresher: str = ""

    def __str__(self) -> str:
        return f"{self.expires_s};refresher={self.refresher}" if self.refresher else str(self.expires_s)


def read_interval(message: Message) -> Interval | None:
    """Return the Session-Expires of *message*; one that can't be read counts as none. The first of several counts."""
    text = message.headers.get("Session-Expires")
    match = None if text is None else _DELTA.fullmatch(text)
    if match is None:
        return None
    refresher = _REFRESHER.search(match[2] or "")
    return Interval(min(int(match[1]), MAX_INTERVAL_S), refresher[1].lower() if refresher else "")


def read_min_se(message: Message) -> int | None:
    """Return the Min-SE of *message* in seconds, None without one that can be read."""
    match = _DELTA.fullmatch(message.headers.get("Min-SE") or "")
    return None if match is None else min(int(match[1]), MAX_INTERVAL_S)


def supports_timer(message: Message) -> bool:
    """Tell whether the sender of *message* knows session timers. Never raises."""
    if message.headers.lacks("Supported", "Require"):
        return False
    lines = [*message.headers.lines("Supported"), *message.headers.lines("Require")]
    return any(tag.strip().lower() == OPTION for line in lines for tag in line.split(","))


def is_too_small(request: Message, settings: TimerSettings) -> bool:
    """Tell whether *request* gets 422: an interval below our minimum, from someone who can deal with the answer (RFC 4028 §9)."""
    asked = read_interval(request)
    return asked is not None and asked.expires_s < settings.min_se_s and supports_timer(request)


def answer_terms(request: Message, settings: TimerSettings, current: Terms | None) -> Terms | None:
    """Return what our 2xx to *request* says, None for no timer (RFC 4028 §9, table 2)."""
    asked, is_known = read_interval(request), supports_timer(request)
    theirs = read_min_se(request)
    floor = max(FLOOR_S if theirs is None else theirs, settings.min_se_s)
    if asked is None:
        # A peer that knows no timers gets none: refreshes that it may refuse would cost it the call (docs/adr/0011).
        if not is_known or not settings.asked_s:
            return None
        return Terms(max(settings.asked_s, floor), is_ours=current is None or current.is_ours)
    if asked.expires_s < settings.min_se_s:
        return None  # a proxy asked for a peer that knows no timers: 422 is not allowed, and none of ours need run
    expires_s = min(asked.expires_s, max(settings.asked_s or asked.expires_s, floor))
    if asked.refresher and is_known:
        return Terms(expires_s, is_ours=asked.refresher == "uas")
    return Terms(expires_s, is_ours=not is_known or current is None or current.is_ours)


def response_interval(terms: Terms) -> Interval:
    """Return the Session-Expires of a 2xx of ours."""
    return Interval(terms.expires_s, "uas" if terms.is_ours else "uac")


def must_require(request: Message, terms: Terms) -> bool:
    """Tell whether our 2xx to *request* has ``Require: timer``: the peer refreshes, or at least can (RFC 4028 §9)."""
    return not terms.is_ours or supports_timer(request)


def request_interval(settings: TimerSettings, current: Terms | None, min_se_s: int, *, is_first: bool) -> Interval | None:
    """Return the Session-Expires of an INVITE or UPDATE of ours, None for none (RFC 4028 §7.1, §7.4).

    The first INVITE leaves the choice of the refresher to the peer; later ones keep the roles. *min_se_s* is the largest Min-SE seen.
    """
    if is_first:
        return Interval(max(settings.asked_s, min_se_s)) if settings.asked_s else None
    if current is None:
        return None
    return Interval(max(current.expires_s, min_se_s), "uac" if current.is_ours else "uas")


def agreed_terms(response: Message, settings: TimerSettings) -> Terms | None:
    """Return what a 2xx to an INVITE or UPDATE of ours says; without a Session-Expires no timer runs (RFC 4028 §7.2).

    A peer may not go below the Min-SE that we sent; if it does, our minimum stands: nobody makes us refresh every second.
    """
    said = read_interval(response)
    if said is None:
        return None
    return Terms(max(said.expires_s, settings.min_se_s), is_ours=said.refresher != "uas")


def next_min_se(response: Message, asked: Interval | None, seen_s: int) -> int | None:
    """Return the Min-SE to retry with after a 422, None when a retry is of no use (RFC 4028 §7.3).

    It has to be more than what was asked for: a peer that refuses what it wanted would go on for ever.
    """
    wanted = read_min_se(response)
    if wanted is None or asked is None or wanted <= asked.expires_s:
        return None
    return max(wanted, seen_s)
