"""Pure. Session descriptions between text and model (RFC 8866 §5, §9).

Reading is tolerant: bare LF or CR ends a line, lines may come in any order within their section, unknown lines and
attributes are skipped, ``s=`` and ``t=`` may be missing. What leaves the reader is a description or a :class:`ParseError`.
Writing is strict, and reading what was written gives the same model back.
"""

import re
from dataclasses import dataclass, field

from sipua.errors import ParseError
from sipua.sdp.model import Attribute, Connection, MediaDescription, Origin, SessionDescription, read_number

MAX_SDP_BYTES = 65536  # no UDP datagram holds more
MAX_LINES = 1000  # a browser's offer has some hundred lines
MAX_LINE_LENGTH = 4096  # characters; the longest lines known are keys and certificates
MAX_MEDIA = 32  # a call has one audio stream; an answer repeats every section of the offer

_LINE_END = re.compile(r"\r\n|\n|\r")
_FORBIDDEN = re.compile(r"[\r\n\0]")
_BLANKS = " \t"


@dataclass(slots=True)
class _Section:
    """The lines that the session and a media section have in common, while they are read."""

    title: str | None = None
    connection: Connection | None = None
    bandwidths: list[str] = field(default_factory=list)
    attributes: list[Attribute] = field(default_factory=list)

    def add(self, kind: str, value: str) -> None:
        """Take one line; of lines that may come once, the first counts."""
        if kind == "a":
            name, colon, rest = value.partition(":")
            if name:
                self.attributes.append(Attribute(name, rest if colon else None))
        elif kind == "c" and self.connection is None:
            self.connection = _connection(value)
        elif kind == "b":
            self.bandwidths.append(value)
        elif kind == "i" and self.title is None:
            self.title = value


def parse_sdp(data: bytes) -> SessionDescription:
    """Return the description that *data* holds.

    Raises :class:`ParseError` for anything that is no description or passes a limit, never anything else.
    """
    session = _Section()
    once: dict[str, str] = {}
    timings: list[str] = []
    media: list[tuple[MediaDescription, _Section]] = []
    for kind, value in _lines(data):
        if kind == "m":
            if len(media) == MAX_MEDIA:
                raise ParseError("too many media sections in SDP", 488)
            media.append((_media(value), _Section()))
        elif media:
            media[-1][1].add(kind, value)
        elif kind in "os":
            once.setdefault(kind, value)
        elif kind == "t":
            timings.append(value)
        else:
            session.add(kind, value)
    if "o" not in once:
        raise ParseError("SDP without o= line")
    return SessionDescription(
        origin=_origin(once["o"]),
        name=once.get("s") or "-",
        title=session.title,
        connection=session.connection,
        bandwidths=tuple(session.bandwidths),
        timings=tuple(timings) or ("0 0",),
        attributes=tuple(session.attributes),
        media=tuple(_finished(description, section) for description, section in media),
    )


def serialize_sdp(session: SessionDescription) -> bytes:
    """Return the text of *session*, CRLF after each line, in the order of RFC 8866 §9.

    Raises :class:`ValueError` if a value holds a line end or a NUL: it would become a line of its own.
    """
    origin = session.origin
    lines = [
        "v=0",
        f"o={origin.username} {origin.session_id} {origin.version} {origin.network} {origin.address_type} {origin.address}",
        f"s={session.name}",
        *_shared_lines(session.title, session.connection, session.bandwidths),
        *[f"t={timing}" for timing in session.timings],
        *_attribute_lines(session.attributes),
    ]
    for media in session.media:
        port = f"{media.port}/{media.port_count}" if media.port_count != 1 else str(media.port)
        lines.append(" ".join((f"m={media.media} {port} {media.protocol}", *media.formats)))
        lines.extend(_shared_lines(media.title, media.connection, media.bandwidths))
        lines.extend(_attribute_lines(media.attributes))
    if any(_FORBIDDEN.search(line) for line in lines):
        raise ValueError("an SDP value holds a line end or a NUL")
    return ("\r\n".join(lines) + "\r\n").encode()


def _lines(data: bytes) -> list[tuple[str, str]]:
    """Return the lines after ``v=0`` as (type, value)."""
    if len(data) > MAX_SDP_BYTES:
        raise ParseError("SDP too large", 413)
    if b"\0" in data:
        raise ParseError("NUL in SDP")
    texts = [line for raw in _LINE_END.split(data.decode("utf-8", "replace")) if (line := raw.strip(_BLANKS))]
    if len(texts) > MAX_LINES:
        raise ParseError("too many lines in SDP", 413)
    found: list[tuple[str, str]] = []
    for text in texts:
        if len(text) > MAX_LINE_LENGTH:
            raise ParseError("SDP line too long", 413)
        if text[1:2] != "=":
            raise ParseError("SDP line is not type=value")
        found.append((text[0], text[2:].strip(_BLANKS)))
    if not found or found[0] != ("v", "0"):
        raise ParseError("SDP does not start with v=0")
    return found[1:]


def _origin(value: str) -> Origin:
    parts = value.split()
    if len(parts) != 6:
        raise ParseError("SDP o= line without six fields")
    username, session_id, version, network, address_type, address = parts
    return Origin(username, session_id, version, address, address_type, network)


def _connection(value: str) -> Connection:
    parts = value.split()
    if len(parts) != 3:
        raise ParseError("SDP c= line without three fields")
    network, address_type, address = parts
    return Connection(address, address_type, network)


def _media(value: str) -> MediaDescription:
    parts = value.split()
    if len(parts) < 3:
        raise ParseError("SDP m= line without media, port and protocol")
    port_text, slash, count_text = parts[1].partition("/")
    port = read_number(port_text, limit=65535)
    count = read_number(count_text, limit=65535) if slash else 1
    if port is None or not count:
        raise ParseError("SDP m= line with a broken port")
    return MediaDescription(parts[0], port, parts[2], tuple(parts[3:]), port_count=count)


def _finished(media: MediaDescription, section: _Section) -> MediaDescription:
    return MediaDescription(
        media.media,
        media.port,
        media.protocol,
        media.formats,
        media.port_count,
        section.title,
        section.connection,
        tuple(section.bandwidths),
        tuple(section.attributes),
    )


def _shared_lines(title: str | None, connection: Connection | None, bandwidths: tuple[str, ...]) -> list[str]:
    lines = [f"i={title}"] if title is not None else []
    if connection is not None:
        lines.append(f"c={connection.network} {connection.address_type} {connection.address}")
    return lines + [f"b={bandwidth}" for bandwidth in bandwidths]


def _attribute_lines(attributes: tuple[Attribute, ...]) -> list[str]:
    return [f"a={item.name}" if item.value is None else f"a={item.name}:{item.value}" for item in attributes]
