"""``cxmld serve`` as a process beside a real Asterisk: configured by file, registered, stopped by SIGTERM."""

import asyncio
from pathlib import Path

import pytest

from tests.support.ami import Ami
from tests.support.asterisk import Asterisk
from tests.support.daemon import DaemonProcess, action_parameters, daemon_process
from tests.support.pbx_calls import PbxCall, call_daemon, is_at, target_uri, trunk

pytestmark = pytest.mark.e2e

SECRET = "cxmld-secret"


def registered(asterisk: Asterisk) -> str:
    """Return the part of a configuration that registers at the PBX, over TCP and with SHA-256."""
    return f"""
[[peers]]
name = "pbx"
uri = "sip:{asterisk.host}:{asterisk.ports.sip};transport=tcp"
match = ["127.0.0.0/8"]
username = "cxmld-sha256"
password = "{SECRET}"
register = true
"""


async def registered_at(ami: Ami, account: str) -> None:
    """Wait until the PBX has a contact of the account."""
    async with asyncio.timeout(10):
        while f"{account}/sip:" not in await ami.command("pjsip show contacts"):
            await asyncio.sleep(0.05)


async def transfer_begun(ami: Ami, asterisk: Asterisk, daemon: DaemonProcess, dialled: str, user: str, target: str) -> PbxCall:
    """Let the PBX call; return when the daemon has been told that the target rings."""
    daemon.app.calls[user] = f"<Refer action='done'><Sip>{target_uri(asterisk, target)}</Sip></Refer>"
    daemon.app.pages["/done"] = "<Hangup/>"
    call = await call_daemon(ami, dialled)
    await call.wait(lambda channels: any(c.context == "targets" and c.name.startswith("Local/") for c in channels), "the transfer to begin")
    return call


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_lets_a_transfer_finish_and_un_registers(ami: Ami, asterisk: Asterisk, tmp_path: Path, workers: int) -> None:
    async with daemon_process(tmp_path, f"{registered(asterisk)}[workers]\ncount = {workers}\n") as daemon:
        await registered_at(ami, "cxmld-sha256")
        call = await transfer_begun(ami, asterisk, daemon, "PJSIP/cxmld-sha256", "cxmld-sha256", "true-slow")
        stopping = asyncio.create_task(daemon.stop())
        await daemon.wait_event("draining", count=workers)
        refused = await call_daemon(ami, trunk("late", daemon.port))
        await refused.wait(lambda channels: not channels, "the late call is refused")
        done = await daemon.app.wait("/done")
        assert action_parameters(done.form) == ("transferred", "in-progress", "202", "200")
        assert await stopping == 0
        await call.wait(lambda channels: is_at("true-slow", channels), "the caller at the target")
        assert "cxmld-sha256" not in await ami.command("pjsip show contacts"), "un-registered"
        assert len(daemon.app.of("/voice")) == 1
    log = [str(line) for line in daemon.lines]
    assert any("daemon_stopped" in line for line in log)
    assert not any(SECRET in line for line in log)


async def test_a_transfer_that_outlasts_the_drain_is_reported_and_hung_up(ami: Ami, asterisk: Asterisk, tmp_path: Path) -> None:
    async with daemon_process(tmp_path, "", drain_timeout_s=0.5) as daemon:
        call = await transfer_begun(ami, asterisk, daemon, trunk("stuck", daemon.port), "stuck", "silent-ring")
        assert await daemon.stop() == 0
        (done,) = daemon.app.of("/done")
        assert action_parameters(done.form)[:2] == ("local_hangup", "canceled")
        await call.hang_up()
