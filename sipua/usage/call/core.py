"""What all calls of a user agent share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sipua.dialog.layer import DialogLayer
from sipua.driver import TaskSet
from sipua.timers import Timing
from sipua.transport.base import Channel
from sipua.usage.call.media import MediaSettings
from sipua.usage.subscription.refer import ReferSettings

REFER_SETTLE_S = 0.1
"""How long after the ACK a REFER waits: a PBX needs a moment to bridge the call (Asterisk refuses the transfer before)."""


@dataclass(slots=True)
class CallSettings:
    """How calls behave.

    *ring_limit_s* ends an outgoing call that rings longer, and a re-INVITE that gets no final answer; *refer_settle_s* is the wait
    between ACK and REFER; *advertised_host* stands in descriptions in place of the local address when it isn't empty.
    """

    media: MediaSettings = field(default_factory=MediaSettings)
    refer: ReferSettings = field(default_factory=ReferSettings)
    timing: Timing = field(default_factory=Timing)
    ring_limit_s: float = 180.0
    refer_settle_s: float = REFER_SETTLE_S
    advertised_host: str = ""
    server_name: str = ""


@dataclass(slots=True)
class CallCore:
    """The layers below, the owner of background tasks, and how to name ourselves on a channel."""

    dialogs: DialogLayer
    loop: asyncio.AbstractEventLoop
    tasks: TaskSet
    settings: CallSettings
    contact_for: Callable[[Channel, str], str]
    """Contact value, with brackets, for a channel and a user part."""
