"""The media of a call: its offers and answers, and the socket that they speak of (RFC 3264, RFC 3550)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sipua.errors import ParseError
from sipua.remembered import remembered
from sipua.rtp.ports import PortAllocator
from sipua.rtp.session import RtpSession
from sipua.rtp.silence import SilenceClock
from sipua.sdp import DISCARD_PORT, Direction, LocalMedia, OfferAnswer, Refusal, parse_sdp, serialize_sdp
from sipua.transport.advertised import Advertised, is_ipv6
from sipua.transport.route import is_unicast
from sipua.transport.zones import without_zone


class MediaMode(StrEnum):
    """What a call does with audio.

    ``none`` opens no socket and answers ``inactive``; ``receive`` opens one, receives and discards; ``silence`` also sends silence,
    for a PBX that ends calls without media.
    """

    NONE = "none"
    RECEIVE = "receive"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """How calls handle audio; *ports* and *clock* are shared by all calls of an agent and needed by the modes that open sockets."""

    mode: MediaMode = MediaMode.NONE
    ports: PortAllocator | None = None
    clock: SilenceClock | None = None
    host: str = ""
    """The address to bind RTP sockets to; empty: the address that the call's signalling uses."""


_CONNECTION = re.compile(rb"(?m)^c=IN IP[46] ([0-9A-Fa-f.:]{2,45})(?:/\d{1,3})?\r?$")


def media_host(local: str, offer: bytes | None, source_for: Callable[[str], str | None]) -> str:
    """Return our address for the media of a call whose signalling uses *local*: one of the family that *offer* has.

    A peer of both families may signal by one and offer media by the other. Without a route there, *local* stays.
    """
    match = None if offer is None else _CONNECTION.search(offer)
    if match is None:
        return local
    address = match[1].decode("ascii")
    if is_ipv6(address) == is_ipv6(local) or not is_unicast(address):
        return local
    found = source_for(address)
    return found if found is not None and is_ipv6(found) == is_ipv6(address) else local


@remembered(64)
def _local_end(address: str, port: int, direction: Direction) -> LocalMedia:
    """Return our end; calls without a socket share it."""
    return LocalMedia(address, port, direction)


class CallMedia:
    """Offers, answers and the socket of one call."""

    __slots__ = ("_address", "_advertised", "_is_closed", "_settings", "machine", "rtp")

    def __init__(self, settings: MediaSettings, address: str, advertised: Advertised, session_id: int) -> None:
        """*address* is our local address towards the peer, *advertised* what to put into descriptions in its place.

        Only addresses stand there, of the family that the media use: few peers resolve names in descriptions.
        """
        self._settings = settings
        self._advertised = advertised
        self._address = address
        shown = self._shown()
        direction = Direction.INACTIVE if settings.mode is MediaMode.NONE else Direction.SENDRECV
        self.machine = OfferAnswer(_local_end(shown, DISCARD_PORT, direction), session_id)
        self.rtp: RtpSession | None = None
        self._is_closed = False

    @property
    def _bind(self) -> str:
        """The address of the socket: the one of the settings unless the media need the other family."""
        fixed = self._settings.host
        return fixed if fixed and is_ipv6(fixed) == is_ipv6(self._address) else self._address

    def _shown(self) -> str:
        return self._advertised.address_for(self._address) or without_zone(self._address)

    async def move(self, address: str) -> bool:
        """Use our local *address* instead, before anything was agreed; tell whether our offer has to be made anew.

        Nothing happens while the family stays. Raises as :meth:`open`.
        """
        if is_ipv6(address) == is_ipv6(self._address) or self.machine.current is not None:
            return False
        self._address = address
        if self.rtp is not None:
            self.rtp.close()
            self.rtp = None
        self.machine.rollback()
        self.machine.relocate(self._shown(), self.machine.local.port)
        await self.open()
        return True

    async def open(self) -> None:
        """Open the socket that the mode asks for; a second call is a no-op.

        Raises :class:`sipua.errors.LimitError` or :class:`sipua.errors.TransportError` when there is no port.
        """
        ports = self._settings.ports
        if self._settings.mode is MediaMode.NONE or self.rtp is not None or ports is None:
            return
        clock = self._settings.clock if self._settings.mode is MediaMode.SILENCE else None
        self.rtp = await RtpSession.open(self._bind, ports, clock=clock)
        if self._is_closed:  # the call ended meanwhile
            self.rtp.close()
            return
        self.machine.relocate(self.machine.local.address, self.rtp.local_port)

    @property
    def is_remote_hold(self) -> bool:
        """True when the peer does not want our media."""
        current = self.machine.current
        return current is not None and not current.remote_direction.receives

    def answer(self, body: bytes) -> bytes | Refusal:
        """Answer the peer's offer and follow what that settles."""
        try:
            answer = self.machine.answer(body)
        except ParseError as error:
            return Refusal(error.status, error.reason)
        if not isinstance(answer, Refusal):
            self._follow()
        return answer

    def decline(self, body: bytes) -> bytes:
        """Answer an offer that can't be taken where no refusal is allowed: every stream refused, the session unchanged (RFC 3264 §6).

        What is no description at all gets none.
        """
        try:
            return serialize_sdp(self.machine.decline(parse_sdp(body)))
        except ParseError:
            return b""

    def offer(self, *, full: bool = False, wish: Direction | None = None) -> bytes:
        """Open an offer: the first, a refresh, a *full* one, or one with another direction."""
        return serialize_sdp(self.machine.make_offer(wish, full=full))

    def take_answer(self, body: bytes) -> Refusal | None:
        """Settle our offer with the peer's answer; a refusal leaves the former session in force."""
        try:
            answer = parse_sdp(body)
        except ParseError as error:
            self.machine.rollback()
            return Refusal(error.status, error.reason)
        settled = self.machine.receive_answer(answer)
        if isinstance(settled, Refusal):
            return settled
        self._follow()
        return None

    def fork(self) -> None:
        """Go on with our last offer open again: another fork's answer counts."""
        self.machine = self.machine.fork()

    def rollback(self) -> None:
        """The offer that is open was refused."""
        self.machine.rollback()

    def pause(self, seconds: float) -> bool:
        """Send no audio for *seconds* from now, with 0 go on; tell whether any is being sent."""
        return self.rtp is not None and self.rtp.pause(seconds)

    def close(self) -> None:
        """Close the socket."""
        self._is_closed = True
        if self.rtp is not None:
            self.rtp.close()

    def _follow(self) -> None:
        if self.rtp is not None:
            self.rtp.update(self.machine.current, send_silence=self._settings.mode is MediaMode.SILENCE)
