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
        return self._lock is None


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
