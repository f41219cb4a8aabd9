import asyncio

import pytest

from cxml.interpreter.turns import Turns

pytestmark = pytest.mark.looptime


class Desk(Turns):
    """Writes down who came and who went."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    async def serve(self, name: str, seconds: float) -> str:
        self.told.append(f"{name} comes")
        try:
            await asyncio.sleep(seconds)
        finally:
            self.told.append(f"{name} goes")
        if name == "troublemaker":
            raise ValueError(name)
        return name

    @property
    def holds_nothing(self) -> bool:
        return self._line is None and not self._has_turn


async def test_one_at_a_time_in_the_order_of_arrival_and_then_nothing_is_held() -> None:
    desk = Desk()
    assert await asyncio.gather(*(desk.in_turn(desk.serve, name, 1) for name in "abc")) == ["a", "b", "c"]
    assert desk.told == ["a comes", "a goes", "b comes", "b goes", "c comes", "c goes"]
    assert desk.holds_nothing


async def test_who_goes_before_his_turn_or_raises_leaves_the_turn_to_the_next() -> None:
    desk = Desk()
    names = ("troublemaker", "impatient", "patient")
    first, impatient, last = (asyncio.create_task(desk.in_turn(desk.serve, name, 1)) for name in names)
    await asyncio.sleep(0.5)
    impatient.cancel()
    late = asyncio.create_task(desk.in_turn(desk.serve, "late", 1))
    with pytest.raises(ValueError, match="troublemaker"):
        await first
    assert not desk.holds_nothing
    assert [await last, await late] == ["patient", "late"]
    assert [told for told in desk.told if "comes" in told] == ["troublemaker comes", "patient comes", "late comes"]
    assert impatient.cancelled()
    assert desk.holds_nothing


async def test_who_is_cancelled_when_the_turn_has_come_hands_it_over() -> None:
    desk = Desk()

    async def serve_and_cancel() -> None:
        await asyncio.sleep(0.5)
        asyncio.get_running_loop().call_soon(unlucky.cancel)  # before the other wakes, whose turn it is by then

    first = asyncio.create_task(desk.in_turn(serve_and_cancel))
    unlucky, last = (asyncio.create_task(desk.in_turn(desk.serve, name, 1)) for name in ("unlucky", "last"))
    await first
    assert await last == "last"
    assert unlucky.cancelled()
    assert [told for told in desk.told if "comes" in told] == ["last comes"]
    assert desk.holds_nothing


async def test_nobody_gets_in_between_when_the_turn_is_handed_over() -> None:
    desk = Desk()

    async def serve_twice() -> None:
        await desk.in_turn(desk.serve, "first", 1)
        await desk.in_turn(desk.serve, "first again", 1)  # at once, before the other wakes whose turn it is

    await asyncio.gather(serve_twice(), desk.in_turn(desk.serve, "second", 1))
    assert [told for told in desk.told if "comes" in told] == ["first comes", "second comes", "first again comes"]
    assert desk.holds_nothing
