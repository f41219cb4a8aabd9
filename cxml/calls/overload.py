"""Pure. How many of the new calls are taken when the loop falls behind (docs/spec/overload.md, "New calls when the loop lags").

A loop that lags answers late, and what is late is sent again. So the share of new calls that are taken is halved while it lags, and given
back slowly when it does not: accepted calls keep their time.
"""

from enum import StrEnum

LAG_HIGH_S = 0.2  # under half of T1: no retransmission has come yet
LAG_LOW_S = 0.05  # what a loop with work to do shows now and then
LAG_AT_ONCE_S = 0.5  # T1: everything that was sent in this time comes again
SATURATED = 0.95  # of one core, over a second
SUSPICION_S = 0.3  # one slow document is no overload
CUT_INTERVAL_S = 0.5  # what a cut does shows after some samples
RAISE_INTERVAL_S = 1.0
RAISE = 0.125
LEAST_SHARE = 0.0625  # some calls always get in: without any nothing would show that it is over


class Sample(StrEnum):
    """What a measurement says."""

    CALM = "calm"
    BUSY = "busy"
    OVERLOADED = "overloaded"


def judge(lag_s: float, busy: float) -> Sample:
    """Judge a measurement: *lag_s* is how late the loop woke, *busy* the share of one core that it used.

    A core that is used up is overload only when the loop lags, too: a flood that is sorted out unread uses it up and slows no call.
    """
    if lag_s >= LAG_HIGH_S or (lag_s >= LAG_LOW_S and busy >= SATURATED):
        return Sample.OVERLOADED
    return Sample.CALM if lag_s < LAG_LOW_S else Sample.BUSY


class LoadController:
    """Feed it measurements with :meth:`sample`, ask it with :meth:`admits`. ``now`` is monotonic time in seconds."""

    def __init__(self) -> None:
        self.share = 1.0
        """The share of new calls that are taken."""
        self._credit = 0.0
        self._overloaded_since: float | None = None
        self._calm_since: float | None = None
        self._cut_at: float | None = None

    @property
    def is_shedding(self) -> bool:
        """True while some new calls are refused."""
        return self.share < 1.0

    def sample(self, lag_s: float, busy: float, now: float) -> None:
        """Take a measurement."""
        judged = judge(lag_s, busy)
        if judged is not Sample.OVERLOADED:
            self._overloaded_since = None
        elif self._overloaded_since is None:
            self._overloaded_since = now
        if judged is not Sample.CALM:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        if self._overloaded_since is not None:
            self._overloaded(lag_s, now - self._overloaded_since, now)
        elif self._calm_since is not None and self.is_shedding and now - self._calm_since >= RAISE_INTERVAL_S:
            self._calm_since = now
            self.share = min(1.0, self.share + RAISE)

    def _overloaded(self, lag_s: float, for_s: float, now: float) -> None:
        is_sure = self.is_shedding or for_s >= SUSPICION_S or lag_s >= LAG_AT_ONCE_S
        if is_sure and (self._cut_at is None or not 0.0 <= now - self._cut_at < CUT_INTERVAL_S):
            self._cut_at = now
            self.share = max(LEAST_SHARE, self.share / 2)

    def admits(self) -> bool:
        """Tell whether the next new call is among the share that is taken: evenly spread, not by chance."""
        if not self.is_shedding:
            self._credit = 0.0
            return True
        self._credit += self.share
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True
