"""Torture messages: an index that says how each is to be treated, and a peer on real sockets that sends them to a daemon.

An index is a table with the columns file, section, kind, validity, uas_behaviour, notes, separated by tabs. The messages of the RFCs lie
outside the project, in the folder that the environment variable ``SIP_CORPORA`` names (default ``../shared``); our own are in
``tests/conformance/messages``.
"""

import asyncio
import contextlib
import csv
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.tree import ROOT

COLUMNS = ["file", "section", "kind", "validity", "uas_behaviour", "notes"]
ACCEPTED = frozenset({603})
"""The statuses of an accepted INVITE: the document of these tests rejects every call, so that the answer is certain to come from it."""

ANSWER_S = 1.0
"""How soon an OPTIONS must be answered."""
_NUMBERS = itertools.count(1)  # no two OPTIONS of a test may look like one that came twice
_FINAL_S = 4.0
_CLOSE_S = 1.0
_STATUS = re.compile(rb"SIP/2\.0 ([1-6][0-9][0-9]) [^\r\n]*\r\n")
_REGISTRAR = re.compile(r"\(?registrar:[^)]*\)?", re.IGNORECASE)
_CODE = re.compile(r"\b[1-6][0-9]{2}\b")
_VIA_PORT = re.compile(rb"[\w.\]]\s*:\s*([0-9]{4,5})\b")
_COMPACT = {b"f": b"from", b"t": b"to", b"i": b"call-id", b"v": b"via"}


@dataclass(frozen=True, slots=True)
class Torture:
    """One message of an index and how a user agent that is no registrar treats it."""

    rfc: str
    file: str
    section: str
    kind: str
    behaviour: str
    data: bytes

    @property
    def allowed(self) -> frozenset[int]:
        """The final statuses that the index allows; empty: no answer."""
        statuses = allowed_statuses(self.behaviour)
        to = next((value for name, value in lines_of(self.data) if name == b"to"), b"")
        # accepting an INVITE that names a dialog which is not here means 481 (RFC 3261 §12.2.2)
        return (statuses - ACCEPTED) | {481} if statuses & ACCEPTED and re.search(rb";\s*tag\s*=", to) else statuses

    @property
    def lacks_end(self) -> bool:
        """True for a message without the empty line that ends its header section."""
        return b"\r\n\r\n" not in self.data.lstrip()


def allowed_statuses(behaviour: str) -> frozenset[int]:
    """Read the column ``uas_behaviour``: ``drop``, or statuses and the word ``accept``; what a registrar would do does not count."""
    ours = _REGISTRAR.sub("", behaviour)
    codes = frozenset(int(code) for code in _CODE.findall(ours))
    if ours.startswith("drop"):
        return frozenset()
    if ours.startswith("accept"):
        return ACCEPTED | (codes if "tolerable" in ours or "limit" in ours else frozenset())
    if not codes:
        raise ValueError(f"no treatment in {behaviour!r}")
    return codes | (ACCEPTED if "accept" in ours.replace("acceptable", "") else frozenset())


def corpora() -> Path:
    """Return the folder with the messages of the RFCs; it need not exist."""
    return (ROOT / os.environ.get("SIP_CORPORA", "../shared")).resolve()


def read_index(folder: Path) -> list[Torture]:
    """Return the messages of *folder* in the order of its index."""
    with (folder / "index.tsv").open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        assert rows.fieldnames == COLUMNS
        return [
            Torture(folder.name, row["file"], row["section"], row["kind"], row["uas_behaviour"], (folder / row["file"]).read_bytes())
            for row in rows
        ]


def require_corpus(name: str) -> list[Torture]:
    """Return the messages of one RFC, or skip the test: the project may stand alone, its own messages cover the same rules."""
    folder = corpora() / name
    if not (folder / "index.tsv").is_file():
        pytest.skip(f"no torture messages in {name} of SIP_CORPORA (default ../shared): only our own are tested")
    return read_index(folder)


def status_of(data: bytes) -> int:
    """Return the status of a response, 0 for what is none."""
    match = _STATUS.match(data)
    return int(match[1]) if match else 0


def lines_of(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name (long, lower case) and value (white space made one blank) of each header line, read without our parser."""
    head = re.split(rb"\r?\n\r?\n", data.lstrip(b"\r\n"))[0]
    for line in re.split(rb"\r?\n(?![ \t])", head)[1:]:
        name, colon, value = line.partition(b":")
        name = name.strip().lower()
        if colon:
            yield _COMPACT.get(name, name), b" ".join(value.split())


def not_copied(request: bytes, response: bytes) -> list[str]:
    """Return which headers of *response* are not those of *request* (RFC 3261 §8.2.6.2): Via below the top, From, To, Call-ID, CSeq."""
    asked, told = list(lines_of(request)), list(lines_of(response))

    def first(lines: list[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
        return next((value for name, value in lines if name == wanted), None)

    wrong = []
    for name in (b"from", b"to", b"call-id", b"cseq"):
        mine, theirs = first(told, name), first(asked, name)
        same = mine == theirs or (name == b"to" and mine is not None and theirs is not None and mine.startswith(theirs + b";tag="))
        if not same:
            wrong.append(f"{name.decode()} {theirs!r} came back as {mine!r}")
    if sum(name == b"via" for name, _ in asked) != sum(name == b"via" for name, _ in told):
        wrong.append("Via lines are missing")
    return wrong


class _Inbox(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._take(data)


def options(host: str, port: int, number: int, transport: str = "UDP") -> bytes:
    """Return an OPTIONS of ours; *number* tells its answer from others."""
    return (
        f"OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} {host}:{port};branch=z9hG4bKalive{number};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:alive@{host}>;tag={host}\r\nTo: <sip:127.0.0.1>\r\nCall-ID: alive-{number}\r\n"
        f"CSeq: {number} OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()


@dataclass(slots=True)
class DatagramPeer:
    """Sockets at *host*: port 5060, from which it sends, and the ports that Via headers name."""

    host: str
    target: tuple[str, int]
    received: list[bytes] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _sockets: dict[int, asyncio.DatagramTransport] = field(default_factory=dict)

    async def open(self, ports: set[int]) -> None:
        """Bind."""
        for port in sorted({5060, 5061} | {port for port in ports if 1024 < port < 65536}):
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Inbox(self._take), local_addr=(self.host, port)
            )
            self._sockets[port] = transport

    def close(self) -> None:
        """Close all sockets."""
        for transport in self._sockets.values():
            transport.close()

    def _take(self, data: bytes) -> None:
        self.received.append(data)
        self._news.set()

    def send(self, data: bytes) -> None:
        """Send a datagram from port 5060."""
        self._sockets[5060].sendto(data, self.target)

    async def wait(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Return whether *holds* came true within *timeout_s*; it is asked whenever a datagram came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        return holds()

    async def is_answered(self, timeout_s: float = ANSWER_S) -> bool:
        """Send an OPTIONS and return whether 200 came in time; the answer is taken out of what was received."""
        number = next(_NUMBERS)
        mark = f"\r\nCall-ID: alive-{number}\r\n".encode()
        self.send(options(self.host, 5060, number))

        def answers() -> list[bytes]:
            return [data for data in self.received if mark in data]

        answered = await self.wait(lambda: bool(answers()), timeout_s) and status_of(answers()[0]) == 200
        self.received[:] = [data for data in self.received if mark not in data]
        return answered


async def wrong_over_udp(message: Torture, host: str, target: tuple[str, int]) -> list[str]:
    """Send *message* in a datagram and return what was wrong with the answer."""
    peer = DatagramPeer(host, target)
    await peer.open({int(port) for port in _VIA_PORT.findall(message.data[:1200])})
    try:
        peer.send(message.data)
        if message.allowed:
            await peer.wait(lambda: any(status_of(data) >= 200 for data in peer.received), _FINAL_S)
        wrong = [] if await peer.is_answered() else ["an OPTIONS afterwards was not answered"]
        return wrong + _judged(message, peer.received, message.allowed)
    finally:
        peer.close()


def _judged(message: Torture, answers: list[bytes], allowed: frozenset[int]) -> list[str]:
    wrong = [f"no response: {data[:60]!r}" for data in answers if not status_of(data)]
    finals = {status_of(data) for data in answers if status_of(data) >= 200}
    if not finals <= allowed or bool(finals) != bool(allowed):
        wrong.append(f"answered {sorted(finals)}, allowed {sorted(allowed)}")
    for data in answers:
        if status_of(data):
            wrong += not_copied(message.data, data)
    return wrong


@dataclass(frozen=True, slots=True)
class OnStream:
    """Where a stream differs from a datagram: the statuses allowed, and whether the connection is closed; None: either."""

    allowed: frozenset[int]
    closed: bool | None = None


def on_stream(message: Torture) -> OnStream:
    """Return what is right over TCP (RFC 3261 §18.3)."""
    if message.lacks_end:
        return OnStream(frozenset(), closed=False)  # the rest may still come; tests of the framing have the time-out
    match (message.rfc, message.section):
        case ("rfc4475", "3.1.2.2"):  # a Content-Length beyond what came: the rest may still come
            return OnStream(frozenset(), closed=False)
        case ("rfc4475", "3.1.2.3" | "3.3.9"):  # no trusted length: the boundary is lost
            return OnStream(message.allowed, closed=True)
        case ("rfc4475", "3.1.1.8"):  # on a stream the octets behind are the next message
            return OnStream(message.allowed | ACCEPTED)
        case ("rfc4475", "3.4.1"):  # a body without Content-Length: nobody knows where it ends
            return OnStream(frozenset({400}), closed=True)
        case _:
            return OnStream(message.allowed)


async def wrong_over_tcp(message: Torture, host: str, target: tuple[str, int]) -> list[str]:
    """Send *message* on a connection of its own and return what was wrong with the answer."""
    rule = on_stream(message)
    stream = await StreamPeer.connected(host, target)
    try:
        stream.send(message.data)
        if rule.allowed:
            await stream.read_until(lambda: any(status_of(data) >= 200 for data in stream.messages), _FINAL_S)
        if rule.closed:
            await stream.read_until(lambda: stream.is_closed, _CLOSE_S)
        else:
            await stream.read_until(lambda: stream.is_closed, 0.05)
        wrong = _judged_stream(message, stream, rule)
        if not stream.is_closed and not message.lacks_end and message.section != "3.1.2.2" and not await stream.is_answered():
            wrong.append("an OPTIONS on the connection was not answered")
    finally:
        await stream.close()
    other = await StreamPeer.connected(host, target)
    try:
        return wrong if await other.is_answered() else [*wrong, "an OPTIONS on a new connection was not answered"]
    finally:
        await other.close()


def _judged_stream(message: Torture, stream: "StreamPeer", rule: OnStream) -> list[str]:
    answers = stream.messages
    if message.section == "3.1.1.8":
        answers = answers[:1]
    wrong = _judged(message, answers, rule.allowed)
    if rule.closed is not None and stream.is_closed != rule.closed:
        wrong.append(f"the connection is {'closed' if stream.is_closed else 'open'}")
    return wrong


class StreamPeer:
    """A TCP connection that keeps what comes; its messages are cut by Content-Length."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host = host
        self.is_closed = False
        self._reader, self._writer = reader, writer
        self._bytes = b""

    @classmethod
    async def connected(cls, host: str, target: tuple[str, int]) -> "StreamPeer":
        """Connect from *host*."""
        reader, writer = await asyncio.open_connection(*target, local_addr=(host, 0))
        return cls(host, reader, writer)

    def send(self, data: bytes) -> None:
        """Write."""
        self._writer.write(data)

    async def close(self) -> None:
        """Close; the peer may have done so."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def read_until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Read until *holds* is true, the peer closes or *timeout_s* is over; return whether it holds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not holds() and not self.is_closed:
                    try:
                        data = await self._reader.read(65536)
                    except OSError:
                        data = b""
                    self._bytes += data
                    self.is_closed = not data
        return holds()

    @property
    def messages(self) -> list[bytes]:
        """The complete messages that came."""
        found, rest = [], self._bytes.lstrip(b"\r\n")
        while (end := rest.find(b"\r\n\r\n")) >= 0:
            length = next((int(value) for name, value in lines_of(rest) if name == b"content-length"), 0)
            found.append(rest[: end + 4 + length])
            rest = rest[end + 4 + length :].lstrip(b"\r\n")
        return found

    async def is_answered(self, timeout_s: float = ANSWER_S) -> bool:
        """Send an OPTIONS and return whether 200 came in time."""
        number = next(_NUMBERS)
        mark = f"\r\nCall-ID: alive-{number}\r\n".encode()
        self.send(options(self.host, 5060, number, "TCP"))
        return await self.read_until(lambda: any(mark in data and status_of(data) == 200 for data in self.messages), timeout_s)
