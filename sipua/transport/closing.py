"""Those who want to know that a channel closed."""

import logging
from collections.abc import Callable

log = logging.getLogger("sipua.transport")


class CloseListeners:
    """Callables that are called once each, when the channel closes; one that fails does not keep the others from it."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[], None]] = {}

    def add(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Add *listener*; the returned function takes it back, at any time."""
        key = object()
        self._listeners[key] = listener

        def undo() -> None:
            self._listeners.pop(key, None)

        return undo

    def fire(self) -> None:
        """Call all that are left, each once."""
        while self._listeners:
            listener = self._listeners.pop(next(iter(self._listeners)))
            try:
                listener()
            except Exception:  # a fault of one must not leave the others waiting
                log.exception("a listener of a closed channel failed")

    def __len__(self) -> int:
        return len(self._listeners)
