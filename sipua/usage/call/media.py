"""The media of a call: its offers and answers, and the socket that they speak of (RFC 3264, RFC 3550)."""

from dataclasses import dataclass
from enum import StrEnum

from sipua.errors import ParseError
from sipua.message import Message
from sipua.rtp.ports import PortAllocator
from sipua.rtp.session import RtpSession
from sipua.rtp.silence import SilenceClock
from sipua.sdp import DISCARD_PORT, Direction, LocalMedia, Negotiated, OfferAnswer, Refusal, parse_sdp, serialize_sdp
from sipua.transport.route import ip_literal

SDP = "application/sdp"


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


class CallMedia:
    """Offers, answers and the socket of one call."""

    def __init__(self, settings: MediaSettings, address: str, advertised: str, session_id: int) -> None:
        """*address* is the local address of the signalling, *advertised* the one to put into descriptions.

        What is no IP address leaves the local one in place: few peers resolve names in descriptions.
        """
        self._settings = settings
        self._bind = settings.host or address
        shown = advertised.strip("[]") if ip_literal(advertised) is not None else address
        direction = Direction.INACTIVE if settings.mode is MediaMode.NONE else Direction.SENDRECV
        self.machine = OfferAnswer(LocalMedia(shown, DISCARD_PORT, direction), session_id)
        self.rtp: RtpSession | None = None
        self._is_closed = False

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

    def take_offer(self, body: bytes) -> Refusal | None:
        """Take the peer's offer; None: :meth:`answer` can answer it."""
        try:
            offer = parse_sdp(body)
        except ParseError as error:
            return Refusal(error.status, error.reason)
        return self.machine.receive_offer(offer)

    def answer(self) -> bytes:
        """Answer the offer that was taken and follow what it settles."""
        answered = self.machine.make_answer()
        self._follow(answered.negotiated)
        return serialize_sdp(answered.description)

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
        self._follow(settled)
        return None

    def fork(self) -> None:
        """Go on with our last offer open again: another fork's answer counts."""
        self.machine = self.machine.fork()

    def rollback(self) -> None:
        """The offer that is open was refused."""
        self.machine.rollback()

    def close(self) -> None:
        """Close the socket."""
        self._is_closed = True
        if self.rtp is not None:
            self.rtp.close()

    def _follow(self, agreed: Negotiated) -> None:
        if self.rtp is not None:
            self.rtp.update(agreed, send_silence=self._settings.mode is MediaMode.SILENCE)


def has_sdp(message: Message) -> bool:
    """Tell whether *message* carries a session description; one with a broken Content-Type carries none. Never raises."""
    if not message.body:
        return False
    try:
        content_type = message.content_type
    except ParseError:
        return False
    return content_type is not None and content_type.value.lower() == SDP


def is_foreign_body(message: Message) -> bool:
    """Tell whether *message* has a body that must be understood and is not SDP: 415 (RFC 3261 §8.2.3, §20.11).

    Raises :class:`ParseError` for a broken Content-Type or Content-Disposition.
    """
    if not message.body or has_sdp(message):
        return False
    _ = message.content_type
    disposition = message.content_disposition
    return disposition is None or (disposition.params.get("handling") or "").lower() != "optional"
