"""Feeds a transfer the events of a table row, step by step, in virtual time.

The vocabulary is that of ``docs/spec/refer-outcomes.md`` and, with ``wait``, that of ``docs/spec/refer.md``.
"""

import itertools
from collections.abc import Sequence

from sipua.effects import Effect, Terminated
from sipua.timers import Timing
from sipua.usage.subscription.machine import AnswerNotify
from sipua.usage.subscription.outcome import TransferOutcome
from sipua.usage.subscription.package import NotifyInfo
from sipua.usage.subscription.refer import Concluded, Progress, ReferSettings, ReferTransfer

START = 100.0
"""The time at which the REFER is sent: not 0, so that a missing ``now`` shows."""

_TIMERS = {"linger": "linger", "timer N": "N", "timer T4": "T4", "timer expires": "verb", "timer verb": "verb"}
_BODIES = {
    "empty": (None, b""),
    "junk": ("message/sipfrag", b"hello there"),
    "picture": ("image/png", b"\x89PNG"),
}


def make_notify(cseq: int, what: str, state: str, expires: int | None = None) -> NotifyInfo:
    """Build a NOTIFY: *what* is a status code or a name of a body without one, *state* "none" leaves Subscription-State out."""
    content_type, body = _BODIES.get(what, ("message/sipfrag;version=2.0", f"SIP/2.0 {what} Whatever\r\n".encode()))
    return NotifyInfo(cseq, None, None if state == "none" else state, expires, None, content_type, body)


class TransferWalk:
    """One transfer whose REFER was just sent. *step* seconds pass before each event."""

    def __init__(
        self, settings: ReferSettings | None = None, *, step: float = 0.1, is_sent: bool = True, confirmed_at: float | None = None
    ) -> None:
        self.transfer = ReferTransfer(settings or ReferSettings(), Timing(), confirmed_at)
        self.now = START
        self.step = step
        self.outcomes: list[TransferOutcome] = []
        self.concluded_at: list[float] = []
        self.answers: list[int] = []
        self.progress: list[int] = []
        self.ended_at: float | None = None
        self.refer_cseq = 7
        self._cseq = itertools.count(12)
        if is_sent:
            self.take(self.transfer.sent(self.refer_cseq, self.now))

    def take(self, effects: Sequence[Effect]) -> None:
        """Record *effects*; none may come after the end."""
        for effect in effects:
            if self.ended_at is not None:
                raise AssertionError(f"{effect} after the end")
            if isinstance(effect, Concluded):
                self.outcomes.append(effect.outcome)
                self.concluded_at.append(self.now)
            elif isinstance(effect, AnswerNotify):
                self.answers.append(effect.status)
            elif isinstance(effect, Progress):
                self.progress.append(effect.code)
            elif isinstance(effect, Terminated):
                self.ended_at = self.now

    def run(self, events: str) -> "TransferWalk":
        """Feed the events of *events*, which are separated by semicolons."""
        steps = [step.strip() for step in events.split(";") if step.strip()]
        for event, following in itertools.zip_longest(steps, steps[1:], fillvalue=""):
            # A response that is followed by another try is not told to the transfer.
            if not (event.startswith("REFER") and following == "retry"):
                self.now += self.step
                self._feed(event)
        return self

    def wait(self, deadline: float) -> None:
        """Let time pass until *deadline*, firing timers when they are due."""
        while (at := self.transfer.timers.next_deadline) is not None and at <= deadline:
            self.now = at
            self.take(self.transfer.tick(at))
        self.now = max(self.now, deadline)

    def _feed(self, event: str) -> None:
        transfer, now = self.transfer, self.now
        words = event.split()
        if words[0] == "REFER":
            self.take(transfer.refer_response(int(words[1]), now, refer_sub_false="Refer-Sub=false" in words))
        elif "NOTIFY" in words[:2]:
            self._notify(words)
        elif event == "retry":
            self.refer_cseq += 1
            self.take(transfer.sent(self.refer_cseq, now))
        elif event == "timer F":
            self.take(transfer.refer_timeout(now))
        elif event == "transport error":
            self.take(transfer.refer_transport_error(now))
        elif words[0] == "BYE":
            self.take(transfer.call_ended("peer" if words[1] == "in" else "local", now))
        elif event == "call lost":
            self.take(transfer.call_lost(now))
        elif words[0] == "wait":
            self.wait(now + float(words[1]))
        else:
            deadline = transfer.timers.deadline(_TIMERS[event])
            if deadline is None:
                raise AssertionError(f"{event!r} does not run")
            while not self.outcomes and (at := transfer.timers.next_deadline) is not None and at <= deadline:
                self.wait(at)

    def _notify(self, words: list[str]) -> None:
        is_late = words[0] == "late"
        _, what, state, *rest = words[1:] if is_late else words
        expires = next((int(word.removeprefix("expires=")) for word in rest if word.startswith("expires=")), None)
        if not self.transfer.matches(None):
            self.answers.append(481)  # what a session answers for a transfer that is over
            return
        info = make_notify(next(self._cseq), what, state, expires)
        effects = self.transfer.late_notify(info, self.now) if is_late else self.transfer.notify(info, self.now)
        answered = [isinstance(effect, AnswerNotify) for effect in effects]
        if answered != [not is_late and i == 0 for i in range(len(effects))]:
            raise AssertionError(f"answers of {effects}")
        self.take(effects)
