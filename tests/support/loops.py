"""The event loops that the code has to serve."""

import asyncio
from collections.abc import Callable
from typing import Final

from cxml.daemon.runtime import new_event_loop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

daemon_loop: Final = new_event_loop
"""The daemon's: uvloop on CPython."""

LOOPS: Final[dict[str, LoopFactory]] = {"asyncio": asyncio.new_event_loop, "daemon": daemon_loop}
