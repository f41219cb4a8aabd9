"""Session descriptions and offer/answer machines for tests."""

from sipua.sdp import Answered, Direction, LocalMedia, OfferAnswer, SessionDescription, parse_sdp, serialize_sdp

PCMU = "a=rtpmap:0 PCMU/8000"


EVENT = "a=rtpmap:101 telephone-event/8000"


def sdp(*lines: str, connection: str = "192.0.2.20", version: int = 1) -> SessionDescription:
    """A description of a peer with these lines."""
    kind = "IP6" if ":" in connection else "IP4"
    c = [f"c=IN {kind} {connection}"] if connection else []
    return parse_sdp("\r\n".join(("v=0", f"o=- 5 {version} IN IP4 192.0.2.20", "s=PBX", *c, "t=0 0", *lines)).encode())


def audio(*lines: str, port: int = 20000, formats: str = "0 8 101", connection: str = "192.0.2.20") -> SessionDescription:
    """A description of a peer with one audio section."""
    return sdp(f"m=audio {port} RTP/AVP {formats}", PCMU, EVENT, *lines, connection=connection)


def machine(direction: Direction = Direction.SENDRECV) -> OfferAnswer:
    """A machine before its first exchange."""
    return OfferAnswer(LocalMedia("192.0.2.7", 30000, direction), session_id=77, version=4)


def settled(direction: Direction = Direction.SENDRECV) -> OfferAnswer:
    """A machine that answered one offer."""
    made = machine(direction)
    assert made.receive_offer(audio()) is None
    made.make_answer()
    return made


def answered(made: OfferAnswer, offer: SessionDescription, wish: Direction | None = None) -> Answered:
    """Let *made* answer *offer*."""
    assert made.receive_offer(offer) is None
    return made.make_answer(wish)


def lines_of(description: SessionDescription) -> list[str]:
    """The text of a description, line by line."""
    return serialize_sdp(description).decode().split("\r\n")[:-1]


OFFERS = {
    "no media section": sdp(),
    "only video": sdp("m=video 3000 RTP/AVP 31"),
    "audio with port 0": audio(port=0),
    "audio over RTP/SAVP": sdp("m=audio 4000 RTP/SAVP 0"),
    "no c= line": sdp("m=audio 4000 RTP/AVP 0", connection=""),
    "IPv6 address, ours is IPv4": audio(connection="2001:db8::1"),
    "G.729 only": audio(formats="18"),
    "telephone-event only": audio(formats="101"),
    "PCMU at 16000 Hz": sdp("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMU/16000"),
}
