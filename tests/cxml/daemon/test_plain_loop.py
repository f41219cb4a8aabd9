"""Tasks and futures without finalizer are tasks and futures in all else."""

import asyncio
import contextvars

import pytest

from cxml.daemon.plain_loop import PlainFuture, PlainLoop, PlainTask, without_finalizer


class Root:
    def __init__(self, number: int = 1) -> None:
        self.number = number

    def doubled(self) -> int:
        return self.number * 2

    def __del__(self) -> None:
        """Be a finalizer."""


class Leaf(Root):
    def __init__(self, *, number: int = 20) -> None:
        super().__init__(number)

    def doubled(self) -> int:
        return super().doubled() + 2

    def __del__(self) -> None:
        """Be another one."""


def test_a_class_without_finalizer_keeps_everything_else() -> None:
    root = without_finalizer(Root)
    leaf = without_finalizer(Leaf, root)
    assert not hasattr(leaf, "__del__")
    assert leaf.__mro__ == (leaf, root, object)
    assert (leaf().doubled(), leaf(number=3).doubled(), root(4).doubled()) == (42, 8, 8)
    assert Leaf().doubled() == 42, "the original is as it was"


def test_tasks_and_futures_of_the_loop_are_plain_and_work() -> None:
    assert not hasattr(PlainTask, "__del__")
    assert not hasattr(PlainFuture, "__del__")
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    done: list[object] = []

    async def answer(future: asyncio.Future[int]) -> int:
        return 2 * await future

    async def seen() -> str:
        return variable.get("not set")

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        assert asyncio.isfuture(future)
        task = asyncio.create_task(answer(future), name="question")
        task.add_done_callback(done.append)
        assert (type(task), type(future)) == (PlainTask, PlainFuture)
        assert (task.get_name(), task in asyncio.all_tasks(), asyncio.current_task() in asyncio.all_tasks()) == ("question", True, True)
        await asyncio.sleep(0)
        future.set_result(21)
        assert await task == 42
        assert done == [task]
        assert list(await asyncio.gather(answer(completed(loop, 1)), answer(completed(loop, 2)))) == [2, 4]
        context = contextvars.copy_context()
        context.run(variable.set, "from the context")
        assert await asyncio.create_task(seen(), context=context) == "from the context"
        waiting = asyncio.create_task(answer(loop.create_future()))
        await asyncio.sleep(0)
        waiting.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await waiting
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await loop.create_future()
        async with asyncio.TaskGroup() as group:
            one = group.create_task(answer(completed(loop, 3)))
        assert one.result() == 6
        assert await asyncio.wait_for(answer(completed(loop, 4)), 1) == 8

    with asyncio.Runner(loop_factory=PlainLoop) as runner:
        runner.run(scenario())


def completed(loop: asyncio.AbstractEventLoop, value: int) -> asyncio.Future[int]:
    future: asyncio.Future[int] = loop.create_future()
    future.set_result(value)
    return future
