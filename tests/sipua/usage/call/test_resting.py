"""Calls that wait for long keep little, and still say what they were asked."""

import asyncio
import weakref
from itertools import pairwise

import pytest

from sipua.message import Request
from sipua.usage.call.resting import LOOK_S, MOST_A_TURN, REST_S, Resting
from tests.support.raw_peer import raw_stage

pytestmark = pytest.mark.looptime


class Sleeper:
    """Something that rests."""

    def __init__(self) -> None:
        self.rested: list[float] = []

    def rest(self) -> None:
        self.rested.append(round(asyncio.get_running_loop().time(), 3))


async def test_each_rests_in_its_turn_one_alarm_serves_all_of_a_moment() -> None:
    loop = asyncio.get_running_loop()
    resting, first, second = Resting(loop), Sleeper(), Sleeper()
    begin = loop.time()
    resting.add(first)
    await asyncio.sleep(1)
    resting.add(second)
    await asyncio.sleep(10)
    resting.add(first)
    await asyncio.sleep(10)
    assert first.rested == [round(begin + REST_S + LOOK_S, 3), round(begin + 11 + REST_S + LOOK_S, 3)]
    assert second.rested == [round(begin + 1 + REST_S + LOOK_S, 3)]


async def test_calls_of_a_moment_share_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    resting, sleepers = Resting(loop), [Sleeper() for _ in range(10)]
    went_off: list[float] = []
    go_on = Resting._go_on

    def counted(self: Resting, now: float) -> None:
        went_off.append(now)
        go_on(self, now)

    monkeypatch.setattr(Resting, "_go_on", counted)
    added: list[float] = []
    for sleeper in sleepers:
        added.append(loop.time())
        resting.add(sleeper)
        await asyncio.sleep(LOOK_S / 6)
    await asyncio.sleep(2 * REST_S)
    assert len(went_off) == 2
    for at, sleeper in zip(added, sleepers, strict=True):
        (rested,) = sleeper.rested
        assert REST_S - 0.001 <= rested - at <= REST_S + LOOK_S + 0.001


async def test_many_rest_in_several_turns() -> None:
    resting, sleepers = Resting(asyncio.get_running_loop()), [Sleeper() for _ in range(3 * MOST_A_TURN + 1)]
    for sleeper in sleepers:
        resting.add(sleeper)
    await asyncio.sleep(REST_S + LOOK_S - 0.001)
    counts: list[int] = []
    while not sleepers[-1].rested:
        await asyncio.sleep(0.001 if not counts else 0)
        counts.append(sum(len(sleeper.rested) for sleeper in sleepers))
    steps = [after - before for before, after in pairwise([0, *counts])]
    assert max(steps) == MOST_A_TURN
    assert [len(sleeper.rested) for sleeper in sleepers] == [1] * len(sleepers)


async def test_one_that_fails_keeps_none_from_resting(caplog: pytest.LogCaptureFixture) -> None:
    class Restless:
        def rest(self) -> None:
            raise ValueError("mine")

    resting = Resting(asyncio.get_running_loop())
    restless, beside, later = Restless(), Sleeper(), Sleeper()
    resting.add(restless)
    resting.add(beside)
    await asyncio.sleep(1)
    resting.add(later)
    await asyncio.sleep(2 * REST_S)
    assert len(beside.rested) == len(later.rested) == 1
    assert "ValueError: mine" in caplog.text


@pytest.mark.cpython
async def test_one_that_is_over_is_not_kept() -> None:
    resting, sleeper = Resting(asyncio.get_running_loop()), Sleeper()
    watched = weakref.ref(sleeper)
    resting.add(sleeper)
    del sleeper
    assert watched() is None
    await asyncio.sleep(2 * REST_S)


async def test_the_invite_of_a_call_that_rests_reads_as_before() -> None:
    async with raw_stage() as stage:
        call, dialog = await stage.established()
        invite = call.invite
        before = (list(invite.headers), invite.body, invite.uri, invite.sender, invite.encode())
        await asyncio.sleep(2 * REST_S)
        assert not isinstance(call._session._invite, Request)
        again = call.invite
        assert again is not invite
        assert (list(again.headers), again.body, again.uri, again.sender, again.encode()) == before
        assert call.id == invite.call_id
        assert (call.from_, call.to) == (invite.from_, invite.to)
        await dialog.bye()
        assert call.invite.call_id == call.id
