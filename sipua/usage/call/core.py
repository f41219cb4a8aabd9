"""What all calls of a user agent share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sipua.dialog.layer import DialogLayer
from sipua.driver import TaskSet
from sipua.timers import Timing
from sipua.transport.advertised import LOCAL, Advertised
from sipua.transport.base import Channel, Endpoint
from sipua.usage.call.machine.interval import TimerSettings
from sipua.usage.call.machine.reliable_uas import ReliableUse
from sipua.usage.call.media import MediaSettings
from sipua.usage.call.resting import Resting
from sipua.usage.call.statistics import CallStatistics
from sipua.usage.subscription.refer import ReferSettings

REFER_SETTLE_S = 0.1
"""How long after the ACK a REFER waits: a PBX needs a moment to bridge the call (Asterisk refuses the transfer before)."""


@dataclass(slots=True)
class CallSettings:
    """How calls behave.

    *ring_limit_s* ends an outgoing call that rings longer, and a re-INVITE that gets no final answer; *refer_settle_s* is the wait
    between ACK and REFER; *advertised* stands in descriptions in place of the local address; *timer* is about session timers
    (RFC 4028); *reliable_provisional* says when 101 to 199 are sent reliably (RFC 3262).
    """

    media: MediaSettings = field(default_factory=MediaSettings)
    refer: ReferSettings = field(default_factory=ReferSettings)
    timing: Timing = field(default_factory=Timing)
    timer: TimerSettings = field(default_factory=TimerSettings)
    ring_limit_s: float = 180.0
    refer_settle_s: float = REFER_SETTLE_S
    advertised: Advertised = LOCAL
    server_name: str = ""
    reliable_provisional: ReliableUse = ReliableUse.REQUIRED


@dataclass(slots=True)
class CallCore:
    """The layers below, the owner of background tasks, and how to name ourselves on a channel."""

    dialogs: DialogLayer
    loop: asyncio.AbstractEventLoop
    tasks: TaskSet
    settings: CallSettings
    contact_for: Callable[[Channel, str, bool], str]
    """Contact value, with brackets, for a channel, a user part, and whether it must be a ``sips`` URI."""
    timer_for: Callable[[Endpoint | None], TimerSettings]
    """Session timer for calls with a peer, None: not known yet."""
    source_for: Callable[[str], str | None] = lambda _address: None
    """Our address on the way to another one, None without a route."""
    statistics: CallStatistics = field(default_factory=CallStatistics)
    resting: Resting = field(init=False)
    """Who tells calls that they may let go of what opened them."""

    def __post_init__(self) -> None:
        self.resting = Resting(self.loop)
