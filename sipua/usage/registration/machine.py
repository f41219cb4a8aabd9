"""Pure. When to register, to refresh, to try again and to stop (docs/spec/registration.md, RFC 3261 §10.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sipua.effects import Effect, Terminated
from sipua.timers import TimerSet
from sipua.usage.registration.answer import Answer, Verdict

REFRESH_MARGIN_S = 60.0  # time for a refresh that is lost and tried again before the binding ends
MIN_REFRESH_S = 1.0  # a registrar that grants next to nothing is not asked more often
JITTER = (0.9, 1.0)  # part of the way to a refresh: a hundred accounts started together spread out
BACKOFF_BASE_S = 4.0  # a PBX that restarts is back within seconds
BACKOFF_CAP_S = 300.0  # one daemon is no flood: RFC 5626 §4.5 would allow half an hour, too long without calls
BACKOFF_SPREAD = (0.5, 1.0)  # RFC 5626 §4.5
MAX_RETRY_AFTER_S = 3600.0  # a registrar can't send us away for longer
REFUSED_RETRY_S = 300.0  # an administrator mends an account without restarting us
MAX_EXPIRES_S = 86400  # a Min-Expires above a day is a fault
MAX_DETOURS = 2  # 423 and redirections answered in a row


class RegistrationState(StrEnum):
    """What is known of the binding."""

    IDLE = "idle"
    REGISTERING = "registering"
    REGISTERED = "registered"
    WAITING = "waiting"
    REFUSED = "refused"
    FINISHING = "finishing"
    UNREGISTERING = "unregistering"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class SendRegister(Effect):
    """Send a REGISTER that asks for *expires_s* seconds (0: remove the binding), to *target* instead of the registrar when given."""

    expires_s: int
    target: str = ""


@dataclass(frozen=True, slots=True)
class Changed(Effect):
    """The state is another one now, or a refusal came again. *status* of the response that did it, 0 when none did.

    *seconds* is what was granted in ``registered``, and the time until the next try in ``waiting`` and ``refused``.
    """

    state: RegistrationState
    status: int = 0
    seconds: float = 0.0


_State = RegistrationState
_PASSIVE = (_State.REGISTERED, _State.WAITING, _State.REFUSED)


class RegistrationMachine:
    """Keeps one binding. ``is_busy`` says that a REGISTER has no final response yet: there is never a second one (RFC 3261 §10.2).

    *uniform* returns a random number between its two arguments. Every final response goes in by :meth:`answered`.
    """

    def __init__(self, expires_s: int, stop_limit_s: float, uniform: Callable[[float, float], float]) -> None:
        self.state = RegistrationState.IDLE
        self.is_busy = False
        self.expires_s = expires_s
        self.timers = TimerSet()
        self._stop_limit_s = stop_limit_s
        self._uniform = uniform
        self._failures = 0
        self._detours = 0

    def start(self) -> list[Effect]:
        """Begin; a second call has no effect."""
        if self.state is not _State.IDLE:
            return []
        return [*self._enter(_State.REGISTERING), *self._send()]

    def refresh(self) -> list[Effect]:
        """Register now, whatever the timers say: the connection to the registrar was lost, or an address has changed."""
        return self._send() if self.state in _PASSIVE and not self.is_busy else []

    def stop(self, now: float) -> list[Effect]:
        """Remove the binding and end."""
        if self.state is _State.IDLE or (self.state is _State.REFUSED and not self.is_busy):
            return self._end()
        if self.state in (_State.FINISHING, _State.UNREGISTERING, _State.ENDED):
            return []
        # also from `waiting`: a registrar may have bound us with a response that was lost
        effects = self._enter(_State.FINISHING) if self.is_busy else self._unregister()
        self.timers.start("limit", now + self._stop_limit_s)
        return effects

    def answered(self, answer: Answer, now: float) -> list[Effect]:
        """The REGISTER under way has a final response, made up (408, 503) or not."""
        if not self.is_busy:
            return []
        self.is_busy = False
        if self.state is _State.UNREGISTERING:
            return self._removed(answer)
        if self.state is _State.FINISHING:
            return self._end(answer.status) if answer.verdict is Verdict.REFUSED else self._unregister()
        match answer.verdict:
            case Verdict.BOUND:
                return self._bound(answer, now)
            case Verdict.TEMPORARY:
                return self._wait(answer, now)
            case Verdict.TOO_BRIEF | Verdict.MOVED if self._detours < MAX_DETOURS:
                return self._detour(answer, now)
        return self._refused(answer, now)

    def tick(self, now: float) -> list[Effect]:
        """Handle what is due."""
        due = self.timers.due(now)
        if "limit" in due:
            return self._end()
        return self._send() if due else []

    def _bound(self, answer: Answer, now: float) -> list[Effect]:
        self._failures = 0
        granted = float(answer.seconds or 0)
        wait = max(granted / 2, granted - REFRESH_MARGIN_S) * self._uniform(*JITTER)
        effects = self._enter(_State.REGISTERED, answer.status, granted)
        self.timers.start("refresh", now + max(wait, MIN_REFRESH_S))
        return effects

    def _wait(self, answer: Answer, now: float) -> list[Effect]:
        if answer.seconds is None:
            wait = min(BACKOFF_BASE_S * 2 ** min(self._failures, 16), BACKOFF_CAP_S) * self._uniform(*BACKOFF_SPREAD)
        else:
            # later than asked by up to a tenth, never earlier (RFC 3261 §20.33)
            wait = max(min(answer.seconds, MAX_RETRY_AFTER_S), MIN_REFRESH_S) * self._uniform(1.0, 1.1)
        self._failures += 1
        effects = self._enter(_State.WAITING, answer.status, wait)
        self.timers.start("retry", now + wait)
        return effects

    def _refused(self, answer: Answer, now: float) -> list[Effect]:
        self._failures = 0
        effects = self._enter(_State.REFUSED, answer.status, REFUSED_RETRY_S)
        self.timers.start("retry", now + REFUSED_RETRY_S)
        return effects

    def _detour(self, answer: Answer, now: float) -> list[Effect]:
        """Ask again at once: for longer (423, RFC 3261 §10.2.8) or elsewhere (301, 302, §8.1.3.4)."""
        if answer.verdict is Verdict.TOO_BRIEF:
            if not self.expires_s < (answer.seconds or 0) <= MAX_EXPIRES_S:
                return self._refused(answer, now)
            self.expires_s = answer.seconds or self.expires_s
        self._detours += 1
        self.is_busy = True
        return [SendRegister(self.expires_s, answer.target)]

    def _send(self) -> list[Effect]:
        self.timers.clear()
        self._detours = 0
        self.is_busy = True
        return [SendRegister(self.expires_s)]

    def _unregister(self) -> list[Effect]:
        self.timers.stop("refresh")
        self.timers.stop("retry")
        self.is_busy = True
        self._detours = 0
        return [*self._enter(_State.UNREGISTERING), SendRegister(0)]

    def _removed(self, answer: Answer) -> list[Effect]:
        if answer.verdict is Verdict.MOVED and self._detours < MAX_DETOURS:
            self._detours += 1
            self.is_busy = True
            return [SendRegister(0, answer.target)]
        return self._end(answer.status)

    def _end(self, status: int = 0) -> list[Effect]:
        self.is_busy = False
        return [*self._enter(_State.ENDED, status), Terminated()]

    def _enter(self, state: RegistrationState, status: int = 0, seconds: float = 0.0) -> list[Effect]:
        if state is _State.ENDED:
            self.timers.clear()
        is_news = state is not self.state or state is _State.REFUSED
        self.state = state
        return [Changed(state, status, seconds)] if is_news else []
