"""The handler of an incoming call as the work of a task."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from sipua.usage.call.call import Call

CallHandler = Callable[[Call], Awaitable[None]]


def work_of(handler: CallHandler, call: Call) -> Coroutine[Any, Any, None]:
    """Return what *handler* does with *call*: its own coroutine where it is one. What it raises, the coroutine raises."""
    try:
        work = handler(call)
    except Exception as error:  # it goes where that of a coroutine goes
        return _fail(error)
    return work if isinstance(work, Coroutine) else _wait(work)


async def _wait(work: Awaitable[None]) -> None:
    await work


async def _fail(error: Exception) -> None:
    raise error
