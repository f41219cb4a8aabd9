"""A journal that lives as long as the process: the ``Journal`` port for tests, and for whoever wants to look on."""

from cxml.interpreter.ports import Position


class MemoryJournal:
    """Keeps the latest position of each call in a dictionary."""

    def __init__(self) -> None:
        self._positions: dict[str, Position] = {}

    async def record(self, position: Position) -> None:
        """Keep *position* in place of the call's former one."""
        self._positions[position.call_sid] = position

    async def forget(self, call_sid: str) -> None:
        """Drop the call's position; an unknown call is no error."""
        self._positions.pop(call_sid, None)

    def positions(self) -> tuple[Position, ...]:
        """Return the position of every call that isn't over, in the order of their first verbs."""
        return tuple(self._positions.values())
