"""The machines of a call driven by the words of docs/spec/invite.md: events by name, effects spelled out."""

from sipua.effects import Effect
from sipua.usage.call.machine.effects import (
    Ack,
    Bye,
    Cancel,
    Confirmed,
    Established,
    Failed,
    Over,
    Progress,
    Respond,
    SendBye,
)
from sipua.usage.call.machine.uac import OutgoingInvite
from sipua.usage.call.machine.uas import IncomingInvite

NOW = 1000.0
RING_LIMIT_S = 30.0
EXPIRES_S = 20.0
Machine = IncomingInvite | OutgoingInvite


def spell(effect: Effect) -> str:
    match effect:
        case Respond(status):
            return f"Respond {status}"
        case Over(by):
            return f"Over {by}"
        case Progress(status, tag):
            return f"Progress {'1xx' if 100 < status < 200 else status} {tag}"
        case Ack(tag) | Bye(tag) | Established(tag):
            return f"{type(effect).__name__} {tag}"
        case Failed(status):
            return f"Failed {status}"
        case Confirmed() | SendBye() | Cancel():
            return type(effect).__name__
    raise AssertionError(effect)


def spelled(effects: list[Effect]) -> str:
    return ", ".join(spell(effect) for effect in effects) or "–"


def timers(made: Machine) -> str:
    return ", ".join(name for name in ("progress", "retransmit", "ack", "ring", "expires") if name in made.timers) or "–"


def play_incoming(made: IncomingInvite, event: str, now: float = NOW) -> list[Effect]:
    name, _, value = event.partition(" ")
    match name:
        case "ring":
            return made.ring(int(value), now)
        case "accept":
            return made.accept(now)
        case "reject":
            return made.reject(int(value))
        case "timer":
            return fire(made, value)
        case "cancel":
            return made.cancel()
        case "bye":
            return made.bye()
        case "ack":
            return made.ack()
        case "hangup":
            return made.hangup()
        case "lost":
            return made.lost()
        case "expired":
            return made.expired()
        case "abandon":
            return made.abandon()
        case "unacknowledged":
            return made.unacknowledged()
        case "expire":
            made.expire_after(EXPIRES_S, now)
            return []
    raise AssertionError(event)


def fire(made: Machine, name: str) -> list[Effect]:
    """Let timer *name* alone be due."""
    deadline = made.timers.deadline(name)
    if deadline is None:
        return []
    made.timers.start(name, NOW)
    return made.tick(NOW)


def play_outgoing(made: OutgoingInvite, event: str, now: float = NOW) -> list[Effect]:
    name, _, value = event.partition(" ")
    match name:
        case "100":
            return made.provisional(100, "", now)
        case "1xx":
            return made.provisional(180, value, now)
        case "2xx":
            tag, _, again = value.partition(" ")
            first = made.success(tag)
            return made.success(tag) if again else first
        case "failure":
            return made.failure(int(value))
        case "timer":
            return fire(made, value)
        case "cancel":
            return made.cancel()
        case "bye":
            return made.bye()
        case "hangup":
            return made.hangup()
        case "lost":
            return made.lost()
        case "expired":
            return made.expired()
    raise AssertionError(event)


INCOMING_EVENTS = (
    *("ring 180", "ring 183", "accept", "reject 486", "reject 603", "cancel", "bye", "ack", "hangup", "lost", "abandon", "expired"),
    *("timer progress", "timer retransmit", "timer ack", "timer expires", "unacknowledged", "expire"),
)
OUTGOING_EVENTS = (
    *("1xx a", "1xx b", "2xx a", "2xx b", "failure 486", "failure 487", "failure 500", "failure 603", "cancel", "bye", "hangup"),
    *("lost", "expired", "100", "2xx b again", "timer ring"),
)
