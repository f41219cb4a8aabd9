"""asyncio's loop for PyPy, with tasks and futures that need no finalizer.

A class with ``__del__`` costs PyPy's collector far more than others: what such an object refers to lives until the next pass, and all of
them are sorted in one piece while everything stands still, a twentieth of a second at some hundred calls a second. asyncio has the method
to say that a task was lost or that nobody asked for an exception; who starts tasks here watches over them (:class:`sipua.driver.TaskSet`).
"""

import asyncio
from types import CellType, FunctionType
from typing import Any, Final

_OWN: Final = frozenset({"__del__", "__dict__", "__weakref__"})


def without_finalizer(original: type, *bases: type) -> type:
    """Return a class with all that *original* has in itself but ``__del__``, on *bases* in place of its own.

    A method that says ``super()`` says it of the new class.
    """
    own_class = CellType()
    names: dict[str, Any] = {}
    for name, value in vars(original).items():
        if name not in _OWN:
            names[name] = _moved(value, own_class) if isinstance(value, FunctionType) else value
    made = type(original.__name__, bases, names)
    own_class.cell_contents = made
    return made


def _moved(function: FunctionType, own_class: CellType) -> FunctionType:
    free = function.__code__.co_freevars
    if "__class__" not in free:
        return function
    cells = function.__closure__ or ()
    closure = tuple(own_class if name == "__class__" else cell for name, cell in zip(free, cells, strict=True))
    made = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, closure)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


PlainFuture: Final[Any] = without_finalizer(vars(asyncio.futures)["_PyFuture"])
PlainTask: Final[Any] = without_finalizer(vars(asyncio.tasks)["_PyTask"], PlainFuture)


class PlainLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, whose tasks and futures are plain."""

    def __init__(self) -> None:
        super().__init__()
        self.set_task_factory(lambda loop, work, **options: PlainTask(work, loop=loop, **options))

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future without finalizer."""
        made: asyncio.Future[Any] = PlainFuture(loop=self)
        return made
