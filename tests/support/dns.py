"""Name servers for tests: zones in memory that answer as :class:`sipua.transport.locate.asker.Asker`."""

import asyncio
from dataclasses import dataclass, field

from sipua.transport.locate.asker import NameServerError, Records, Reply
from sipua.transport.locate.records import Naptr, Srv


def naptr(data: str) -> Naptr:
    """Read ``order preference flags service replacement``."""
    order, preference, flags, service, replacement = data.split()
    return Naptr(int(order), int(preference), flags, service, "", replacement.rstrip("."))


def srv(data: str) -> Srv:
    """Read ``priority weight port target``."""
    priority, weight, port, target = data.split()
    return Srv(int(priority), int(weight), int(port), target.rstrip("."))


@dataclass
class Zone:
    """Records by name and kind; ``asked`` is every question in order. ``is_down`` lets each question fail, ``delay_s`` makes it slow."""

    records: dict[tuple[str, str], Records] = field(default_factory=dict)
    ttl_s: float | None = 60.0
    is_down: bool = False
    delay_s: float = 0.0
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def ask(self, name: str, kind: str) -> Reply:
        self.asked.append((name, kind))
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.is_down:
            raise NameServerError("the name server is down")
        return Reply(self.records.get((name, kind), ()), self.ttl_s)
