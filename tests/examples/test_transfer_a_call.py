"""The example runs as its README says: a process on real sockets, called by a user agent that plays the PBX."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sipua.agent import UserAgent
from tests.support.pbx import refer_after
from tests.support.tree import ROOT

pytestmark = pytest.mark.e2e

TARGET = "sip:support@127.0.0.1:5080"


@asynccontextmanager
async def example() -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """Run the example; give its SIP address and what it prints after that."""
    main = ROOT / "examples" / "transfer_a_call" / "main.py"
    process = await asyncio.create_subprocess_exec(sys.executable, str(main), "udp:127.0.0.1:0", TARGET, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            first = (await process.stdout.readline()).decode().split()
        assert first[:2] == ["listening", "at"]
        yield first[2].partition(":")[2], process.stdout
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.mark.parametrize(("status", "kind"), [(200, "transferred"), (486, "busy"), (603, "declined")])
async def test_it_transfers_a_call_and_prints_the_outcome(status: int, kind: str) -> None:
    async with example() as (address, printed), UserAgent() as pbx, asyncio.timeout(20):
        call = await pbx.dial(f"sip:100@{address}", caller="<sip:alice@pbx.example>")
        call.on_transfer_request(refer_after((0.01, 180), (0.02, status)))
        assert (await printed.readline()).decode() == f"sip:alice@pbx.example: {kind} (REFER 202, NOTIFY {status})\n"
        assert (await call.wait_ended()).by == "peer"


async def test_it_goes_on_after_a_caller_who_refuses_the_transfer() -> None:
    async with example() as (address, printed), UserAgent() as pbx, asyncio.timeout(20):
        refusing = await pbx.dial(f"sip:100@{address}")
        assert b": rejected (REFER 603, NOTIFY 0)" in await printed.readline()
        await refusing.wait_ended()
        call = await pbx.dial(f"sip:100@{address}")
        call.on_transfer_request(refer_after((0.01, 200)))
        assert b": transferred " in await printed.readline()
        await call.wait_ended()


async def test_without_arguments_it_says_how_it_is_used() -> None:
    main = ROOT / "examples" / "transfer_a_call" / "main.py"
    process = await asyncio.create_subprocess_exec(sys.executable, str(main), stderr=asyncio.subprocess.PIPE)
    _, printed = await asyncio.wait_for(process.communicate(), 20)
    assert printed.decode() == f"usage: python {main} udp:ADDRESS:PORT sip:TARGET\n"
    assert process.returncode == 1
