"""What handlers of calls give a task to do."""

import asyncio
from typing import cast

import pytest

from sipua.agent.handling import CallHandler, work_of
from sipua.usage.call.call import Call

pytestmark = pytest.mark.looptime

CALL = cast("Call", object())


async def test_any_awaitable_is_work() -> None:
    done: list[object] = []

    async def handle(call: Call) -> None:
        done.append(call)

    def handle_later(call: Call) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(1, future.set_result, None)
        future.add_done_callback(lambda _future: done.append(call))
        return future

    for handler in (handle, handle_later):
        await work_of(handler, CALL)
    assert done == [CALL, CALL]


async def test_a_handler_that_raises_at_once_fails_as_a_task_does() -> None:
    def fail(_call: Call) -> asyncio.Future[None]:
        raise ValueError("mine")

    work = work_of(cast("CallHandler", fail), CALL)
    with pytest.raises(ValueError, match="mine"):
        await work
