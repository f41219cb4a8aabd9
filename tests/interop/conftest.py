"""Real peers for the interop tests: one Asterisk a session, SIPp on demand, FreeSWITCH where it is named."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import ami as ami_client
from tests.support import peers
from tests.support.asterisk import Asterisk

HERE = Path(__file__).parent
_LOG_CHARACTERS = 20_000
_MARK = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark everything in this folder, and keep it on one worker: there is one PBX."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)
            if config.pluginmanager.hasplugin("xdist"):
                item.add_marker(pytest.mark.xdist_group("asterisk"))


@pytest.fixture(scope="session")
def asterisk_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asterisk]:
    """The session's Asterisk on ports of its own; stopped at the end."""
    peers.require("asterisk")
    instance = Asterisk.started(tmp_path_factory.mktemp("asterisk"))
    try:
        yield instance
    finally:
        instance.stop()


@pytest.fixture
def asterisk(asterisk_process: Asterisk, request: pytest.FixtureRequest) -> Asterisk:
    """The running Asterisk; what it logs during the test is shown when the test fails."""
    asterisk_process.check_running()
    request.node.stash[_MARK] = asterisk_process.log_size()
    return asterisk_process


@pytest.fixture
async def ami(asterisk: Asterisk) -> AsyncIterator[ami_client.Ami]:
    """A connection to Asterisk's manager interface; at the end of the test no channel is left in the PBX."""
    async with asterisk.ami() as manager:
        yield manager
        await manager.hang_up_all()


@pytest.fixture(scope="session")
def sipp() -> None:
    """Ask for SIPp: the test is skipped (with CI=true: fails) where it is missing. The runner is ``tests.support.sipp``."""
    peers.require("sipp")


@pytest.fixture(scope="session")
def freeswitch() -> tuple[str, int]:
    """Host and port of the FreeSWITCH that ``FREESWITCH_SIP`` names, set up as ``tests/interop/freeswitch`` has it."""
    peers.require("freeswitch")
    return peers.freeswitch_address()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add the PBX's log of the failed test to its report."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    instance = getattr(item, "funcargs", {}).get("asterisk")
    if report.failed and isinstance(instance, Asterisk) and _MARK in item.stash:
        log = instance.log_since(item.stash[_MARK])[-_LOG_CHARACTERS:]
        report.sections.append((f"Asterisk log ({instance.log_path})", log))
    return report  # type: ignore[return-value]
