"""Measures how far the loop is behind, and says once an interval what was shed."""

import asyncio
import time

import structlog

from cxml.calls.overload import LoadController
from cxml.calls.shed import ShedAccount

log = structlog.get_logger(__name__)

SAMPLE_S = 0.1
BUSY_WINDOW_S = 1.0
REPORT_S = 10.0
"""What was shed is logged once in this time, however much it was."""


class LoadWatch:
    """Feeds the controller and reports; run it as a task for as long as calls are taken. With *sheds* False the lag is measured only."""

    def __init__(self, controller: LoadController, account: ShedAccount, *, sheds: bool = True) -> None:
        self._controller = controller
        self._sheds = sheds
        self._account = account
        self._was_shedding = False
        self._worst_lag_s = 0.0
        self.lag_s = 0.0
        self.busy = 0.0

    async def run(self) -> None:
        """Measure and report until cancelled."""
        loop = asyncio.get_running_loop()
        report_at = loop.time() + REPORT_S
        window_at, used = loop.time(), time.thread_time()
        while True:
            due = loop.time() + SAMPLE_S
            await asyncio.sleep(SAMPLE_S)
            now = loop.time()
            if now - window_at >= BUSY_WINDOW_S:
                self.busy = (time.thread_time() - used) / (now - window_at)
                window_at, used = now, time.thread_time()
            self.measured(max(0.0, now - due), now)
            if now >= report_at:
                report_at = now + REPORT_S
                self.report()

    def measured(self, lag_s: float, now: float) -> None:
        """Take a measurement of the lag, and say when shedding begins and ends."""
        self.lag_s = lag_s
        self._worst_lag_s = max(self._worst_lag_s, lag_s)
        if self._sheds:
            self._controller.sample(lag_s, self.busy, now)
        if self._controller.is_shedding != self._was_shedding:
            self._was_shedding = self._controller.is_shedding
            event = "overload_began" if self._was_shedding else "overload_ended"
            log.warning(event, lag_s=round(lag_s, 3), busy=round(self.busy, 2), share=self._controller.share)

    def report(self) -> None:
        """Log the sums of the interval in one line; nothing when nothing was shed."""
        reasons, peers = self._account.close_interval()
        worst, self._worst_lag_s = self._worst_lag_s, 0.0
        if reasons:
            log.warning("load_shed", shed=dict(reasons), peers=dict(peers), interval_s=REPORT_S, worst_lag_s=round(worst, 3))
