"""The lag is measured, and what was shed is one line an interval."""

import asyncio

import pytest
from structlog.testing import capture_logs

from cxml.calls.overload import LoadController
from cxml.calls.shed import ShedAccount
from cxml.daemon.load import REPORT_S, LoadWatch

pytestmark = pytest.mark.looptime


async def test_what_was_shed_is_one_line_an_interval_however_much_it_was() -> None:
    account = ShedAccount()
    with capture_logs() as lines:
        task = asyncio.create_task(LoadWatch(LoadController(), account).run())
        for number in range(5000):
            account.note("max_calls_per_s", "pbx" if number % 5 else "other")
        await asyncio.sleep(REPORT_S * 3)
        task.cancel()
        await asyncio.wait([task])
    assert [line["event"] for line in lines] == ["load_shed"]
    assert (lines[0]["shed"], lines[0]["peers"]) == ({"max_calls_per_s": 5000}, {"pbx": 4000, "other": 1000})
    assert (lines[0]["interval_s"], lines[0]["log_level"]) == (REPORT_S, "warning")


async def test_the_beginning_and_the_end_of_overload_are_told_once_each() -> None:
    controller = LoadController()
    watch = LoadWatch(controller, ShedAccount())
    with capture_logs() as lines:
        for tick in range(200):
            watch.measured(0.3 if tick < 30 else 0.0, tick / 10)
    assert [line["event"] for line in lines] == ["overload_began", "overload_ended"]
    assert not controller.is_shedding


async def test_a_daemon_that_is_not_to_shed_only_measures() -> None:
    controller = LoadController()
    watch = LoadWatch(controller, ShedAccount(), sheds=False)
    with capture_logs() as lines:
        for tick in range(20):
            watch.measured(0.9, tick / 10)
    assert (lines, controller.share, watch.lag_s) == ([], 1.0, 0.9)


async def test_a_blocked_loop_is_measured() -> None:
    """Under a clock that jumps ahead while the loop is not looking."""
    controller = LoadController()
    watch = LoadWatch(controller, ShedAccount())
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(1.0)
    assert not controller.is_shedding
    assert watch.lag_s == pytest.approx(0.0, abs=0.01)
    task.cancel()
    await asyncio.wait([task])
