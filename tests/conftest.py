"""Settings that every test shares."""

import asyncio
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# looptime asks the policy for a loop before each test; without a current one it makes one that nobody closes
asyncio.set_event_loop(None)


# a test that runs the command `serve` in this process must not see it begin anew (cxml.daemon.runtime)
os.environ.update({"PYPY_GC_NURSERY": "4M", "PYPY_GC_INCREMENT_STEP": "8M"} | os.environ)

_WITH_REAL_PEERS = ("interop", "e2e")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what this Python can't show.

    In CI, give tests against real peers and processes a second try; every first failure is shown at the end (CONTRIBUTING.md).
    """
    if sys.implementation.name != "cpython":
        for item in items:
            if item.get_closest_marker("cpython"):
                item.add_marker(pytest.mark.skip(reason="holds on CPython alone"))
    if os.environ.get("CI") != "true":
        return
    for item in items:
        if any(item.get_closest_marker(name) for name in _WITH_REAL_PEERS):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the failures that a second try has followed."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_sep("=", f"a first try failed: {report.nodeid}", red=True)
        terminalreporter.write_line(report.longreprtext)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Keep captured output sendable between the workers: hostile tests log lone surrogates, which no worker can encode."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report  # type: ignore[return-value]
