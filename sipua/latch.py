"""An event that happens once: whoever waits for it goes on then. Unlike :class:`asyncio.Event` it costs nothing while nobody waits."""

import asyncio


class Latch:
    """Closed until :meth:`open`."""

    __slots__ = ("_waiters", "is_open")

    def __init__(self) -> None:
        self.is_open = False
        self._waiters: list[asyncio.Future[None]] | None = None

    def open(self) -> None:
        """Let everybody go on who waits or will wait."""
        self.is_open = True
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Return when it is open: at once if it is."""
        if self.is_open:
            return
        waiter = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if self._waiters is not None:  # cancelled
                self._waiters.remove(waiter)
