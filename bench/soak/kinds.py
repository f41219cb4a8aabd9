"""The stories of the soak: what a caller does, how often, and which outcome the application has to be told."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.soak.peer import GIVE_UP_S, CallError, RawCall

NOTIFY_TIMEOUT_S = 20
"""``[refer] notify_timeout_s`` of the daemon: a NOTIFY that gets lost is sent eight times within it."""
SOON_S = GIVE_UP_S + 4
"""A request of the daemon that gets lost is sent for so long."""
DONE = "terminated;reason=noresource"

Story = Callable[[RawCall], Awaitable[None]]


async def _referred(call: RawCall) -> None:
    await call.invite()
    call.reply(await call.expect("REFER", SOON_S), "202 Accepted")


async def _hung_up_on(call: RawCall, within_s: float = SOON_S) -> None:
    call.reply(await call.expect("BYE", within_s), "200 OK")


async def transferred(call: RawCall) -> None:
    """The target answers."""
    await _referred(call)
    await call.notify("100 Trying")
    await call.notify("200 OK", DONE)
    await _hung_up_on(call)


async def busy(call: RawCall) -> None:
    """The target is busy."""
    await _referred(call)
    await call.notify("100 Trying")
    await call.notify("180 Ringing")
    await call.notify("486 Busy Here", DONE)
    await _hung_up_on(call)


async def refused(call: RawCall) -> None:
    """The transfer is refused."""
    await call.invite()
    call.reply(await call.expect("REFER", SOON_S), "403 Forbidden")
    await _hung_up_on(call)


async def silent(call: RawCall) -> None:
    """No NOTIFY ever comes."""
    await _referred(call)
    await _hung_up_on(call, NOTIFY_TIMEOUT_S + SOON_S)


async def hangs_up(call: RawCall) -> None:
    """The caller hangs up while the target rings."""
    await _referred(call)
    await call.notify("180 Ringing")
    await call.ask("BYE")


async def vanishes(call: RawCall) -> None:
    """The caller is cut off: nothing is answered any more, the daemon's BYE included."""
    await _referred(call)
    call.is_deaf = True


@dataclass(frozen=True, slots=True)
class Kind:
    """*share* of a hundred calls tell this *story*, whose action request has to say *outcome*."""

    name: str
    share: int
    outcome: str
    story: Story
    is_lossy: bool = False
    by_tcp: bool = False


KINDS = (
    Kind("transferred", 40, "transferred", transferred),
    Kind("busy", 14, "busy", busy),
    Kind("refused", 8, "rejected", refused),
    Kind("hangs up", 10, "peer_hangup", hangs_up),
    Kind("no NOTIFY", 6, "notify_timeout", silent),
    Kind("vanishes", 2, "notify_timeout", vanishes),
    Kind("lost packets", 12, "transferred", transferred, is_lossy=True),
    Kind("TCP", 8, "transferred", transferred, by_tcp=True),
)


async def tell(kind: Kind, call: RawCall) -> str:
    """Run a story and return how it went wrong, ``""`` when it went well."""
    try:
        await kind.story(call)
    except CallError as problem:
        return str(problem)
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
