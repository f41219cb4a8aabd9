"""Who has to do with a session: the side of the INVITE that it is on, what watches its end, and who keeps it."""

from typing import Protocol

from sipua.message import Request
from sipua.transaction.layer import ServerTransaction
from sipua.usage.call.machine.effects import EndedBy


class Role(Protocol):
    """The side of the INVITE that a call is on."""

    def bye(self) -> None:
        """BYE came and is answered."""

    def hangup(self, status: int) -> None:
        """Our side wants the end."""

    def lost(self) -> None:
        """The peer has lost the dialog."""

    def expired(self) -> None:
        """Nobody has refreshed the session (RFC 4028 §10)."""

    def ack(self, ack: Request) -> None:
        """An ACK for a 2xx of ours came."""

    def prack(self, transaction: ServerTransaction) -> None:
        """Answer a PRACK. Raises :class:`ParseError` for one that can't be read."""

    def abandon(self) -> None:
        """The agent closes: end now what waits for the peer."""

    def rest(self) -> None:
        """The call has been up for a while: let go of what it needs no more."""

    def stop(self) -> None:
        """Shutdown: never wake again."""


class Watcher(Protocol):
    """Something that must know when the call ends: a transfer."""

    def call_ended(self, by: EndedBy) -> None:
        """The call is over."""


class Owner(Protocol):
    """Who must know when the session is released: the call that users hold."""

    def released(self) -> None:
        """The session is over, and everything of it released."""
