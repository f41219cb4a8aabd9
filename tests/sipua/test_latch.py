"""An event that happens once."""

import asyncio

import pytest

from sipua.latch import Latch

pytestmark = pytest.mark.looptime


async def test_everybody_who_waits_goes_on_and_nobody_waits_afterwards() -> None:
    latch, passed = Latch(), []

    async def wait(name: str) -> None:
        await latch.wait()
        passed.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in ("one", "two")]
    await asyncio.sleep(1)
    assert passed == []
    assert not latch.is_open
    latch.open()
    latch.open()
    await asyncio.gather(*tasks)
    await wait("three")
    assert passed == ["one", "two", "three"]
    assert latch.is_open


async def test_one_who_is_cancelled_leaves_nothing_behind_and_does_not_disturb_the_other() -> None:
    latch = Latch()
    first, second = (asyncio.create_task(latch.wait()) for _ in range(2))
    await asyncio.sleep(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(latch._waiters or ()) == 1
    latch.open()
    await second


async def test_one_who_is_cancelled_in_the_turn_in_which_it_opens_is_cancelled() -> None:
    latch = Latch()
    task = asyncio.create_task(latch.wait())
    await asyncio.sleep(1)
    task.cancel()
    latch.open()
    with pytest.raises(asyncio.CancelledError):
        await task
