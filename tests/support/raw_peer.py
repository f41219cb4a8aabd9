"""A scripted SIP endpoint on the in-memory network: it sends exactly what a test says, and keeps everything that comes, with its time.

The user agent under test is real, from the sockets of :class:`MemoryNetwork` up; it lives on ``10.0.0.1``, the peer on ``10.0.0.2``.
:func:`raw_stage` checks at its end that a quiet 70 s later nothing is left of any call.
"""

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sipua.agent import UserAgent
from sipua.alarms import Alarms
from sipua.auth import Credential
from sipua.message import Address, Headers, Message, Request, Response, make_response
from sipua.message.framing import StreamFramer
from sipua.message.parser import parse_message
from sipua.transport.memory import MemoryNetwork
from sipua.transport.network import HostPort, Stream
from sipua.usage.call.call import Call
from sipua.usage.call.core import CallSettings

AGENT = "10.0.0.1"
PEER = "10.0.0.2"
SDP = "application/sdp"
OFFER = b"v=0\r\no=- 7 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0 8\r\n"
VIDEO = OFFER.replace(b"audio 20000 RTP/AVP 0 8", b"video 20000 RTP/AVP 31")
QUIET_S = 70.0
"""Longer than 64*T1 twice over: every transaction, dialog and timer has to be gone."""

T = TypeVar("T")
Pairs = tuple[tuple[str, str], ...]


def summary(message: Message) -> str:
    """Return ``INVITE`` for a request and ``200 INVITE`` for a response."""
    return message.method if isinstance(message, Request) else f"{getattr(message, 'status', '?')} {message.cseq.method}"


@dataclass(slots=True)
class Arrival:
    """One message that the peer got: when (loop time), how, the message, and whether a test has looked at it."""

    time: float
    transport: str
    message: Message
    stream: Stream | None = None
    is_read: bool = False


class _Stream:
    """The peer's half of one TCP connection."""

    def __init__(self, peer: "RawPeer", stream: Stream) -> None:
        self._peer = peer
        self._stream = stream
        self._framer = StreamFramer()
        peer.streams.append(stream)

    def on_data(self, data: bytes) -> None:
        for frame in self._framer.feed(data):
            if isinstance(frame, Request | Response):
                self._peer.took("TCP", frame, self._stream)

    def on_closed(self) -> None:
        if self._stream in self._peer.streams:
            self._peer.streams.remove(self._stream)


class RawPeer:
    """The endpoint: UDP and TCP port 5060 of *address*."""

    def __init__(self, network: MemoryNetwork, address: str = PEER, *, use_tcp: bool = False) -> None:
        self.network = network
        self.address = address
        self.use_tcp = use_tcp
        self.arrivals: list[Arrival] = []
        self.streams: list[Stream] = []
        self._host = network.host(address)
        self._news = asyncio.Event()
        self._branch = 0
        self.answers: dict[str, int] = {}
        """Methods that are answered at once, with their status."""

    async def open(self) -> None:
        """Bind the ports."""
        self._udp = await self._host.open_udp(self.address, 5060, self)
        self._tcp = await self._host.listen_tcp(self.address, 5060, lambda stream: _Stream(self, stream))

    async def aclose(self) -> None:
        """Close them."""
        for stream in tuple(self.streams):
            stream.abort()
        self._udp.close()
        await self._tcp.aclose()

    # -- what comes -------------------------------------------------------------------------------------------------------------------

    def on_datagram(self, data: bytes, source: HostPort) -> None:
        """Take a datagram of the agent."""
        assert source == (AGENT, 5060)
        self.took("UDP", parse_message(data), None)

    def on_datagram_error(self, error: OSError) -> None:
        """Not used by this network."""

    def took(self, transport: str, message: Message, stream: Stream | None) -> None:
        """Keep a message."""
        arrival = Arrival(asyncio.get_running_loop().time(), transport, message, stream)
        self.arrivals.append(arrival)
        if isinstance(message, Request) and message.method in self.answers:
            arrival.is_read = True
            self.reply(message, self.answers[message.method])
        self._news.set()

    async def expect(self, what: str, within_s: float = 40.0) -> Message:
        """Return the first message not looked at yet that is *what* (see :func:`summary`); others stay unread."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            for arrival in self.arrivals:
                if not arrival.is_read and summary(arrival.message) == what:
                    arrival.is_read = True
                    return arrival.message
            self._news.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                raise AssertionError(f"no {what} within {within_s:g} s; unread: {self.unread()}") from None

    async def request(self, method: str, within_s: float = 40.0) -> Request:
        """Return the next request *method*."""
        message = await self.expect(method, within_s)
        assert isinstance(message, Request)
        return message

    async def response(self, what: str, within_s: float = 40.0) -> Response:
        """Return the next response *what*, such as ``200 INVITE``."""
        message = await self.expect(what, within_s)
        assert isinstance(message, Response)
        return message

    def unread(self) -> list[str]:
        """Summaries of what no test has asked for."""
        return [summary(arrival.message) for arrival in self.arrivals if not arrival.is_read]

    def times(self, what: str) -> list[float]:
        """When each message *what* came, seconds, rounded to milliseconds."""
        return [round(arrival.time, 3) for arrival in self.arrivals if summary(arrival.message) == what]

    def all(self, what: str) -> list[Message]:
        """Every message *what*, read or not."""
        return [arrival.message for arrival in self.arrivals if summary(arrival.message) == what]

    def transport_of(self, message: Message) -> str:
        """By which transport *message* came."""
        return next(arrival.transport for arrival in self.arrivals if arrival.message is message)

    # -- what goes --------------------------------------------------------------------------------------------------------------------

    def via(self, branch: str = "") -> str:
        """Return a Via value, with a new branch by default."""
        if not branch:
            self._branch += 1
            branch = f"z9hG4bKraw{self._branch}"
        return f"SIP/2.0/{'TCP' if self.use_tcp else 'UDP'} {self.address}:5060;branch={branch};rport"

    def send(self, message: Message | bytes) -> None:
        """Send to the agent, by UDP or by the newest open connection."""
        data = message if isinstance(message, bytes) else message.encode()
        if self.use_tcp:
            self.streams[-1].write(data)
        else:
            self._udp.send(data, (AGENT, 5060))

    async def connect(self) -> None:
        """Open a connection to the agent."""
        await self._host.connect_tcp(AGENT, 5060, lambda stream: _Stream(self, stream))

    def reply(self, request: Request, status: int, *headers: tuple[str, str], body: bytes = b"", tag: str = "peer") -> Response:
        """Answer a request of the agent by the way it came."""
        response = make_response(request, status, to_tag=tag)
        for name, value in headers:
            response.headers.add(name, value)
        if body:
            response.set_body(body, SDP)
        arrival = next((arrival for arrival in self.arrivals if arrival.message is request), None)
        if arrival is not None and arrival.stream is not None:
            arrival.stream.write(response.encode())
        else:
            self._udp.send(response.encode(), (AGENT, 5060))
        return response

    @property
    def contact(self) -> str:
        """The peer's Contact value."""
        return f"<sip:peer@{self.address}:5060{';transport=tcp' if self.use_tcp else ''}>"

    def new(
        self, method: str, *headers: tuple[str, str], call_id: str = "c1", cseq: int = 1, body: bytes = b"", uri: str = f"sip:100@{AGENT}"
    ) -> Request:
        """Make a request outside a dialog; *headers* replace those of the same name, an empty value removes one."""
        fields = Headers()
        fields.add("Via", self.via())
        fields.add("Max-Forwards", "70")
        fields.add("From", f"<sip:peer@{self.address}>;tag=theirs-{call_id}")
        fields.add("To", f"<{uri}>")
        fields.add("Call-ID", call_id)
        fields.add("CSeq", f"{cseq} {method}")
        fields.add("Contact", self.contact)
        request = Request(method, uri, fields)
        if body:
            request.set_body(body, SDP)
        change(request, headers)
        return request


def change(message: Message, headers: Pairs) -> None:
    """Set, or with an empty value remove, headers."""
    for name, value in headers:
        if value:
            message.headers.set(name, value)
        else:
            message.headers.remove(name)


class RawDialog:
    """The peer's side of one dialog with the agent."""

    def __init__(self, peer: RawPeer, local: str, remote: str, call_id: str, target: str, cseq: int, routes: tuple[str, ...] = ()) -> None:
        """*local* and *remote* are From and To values with tags."""
        self.peer, self.local, self.remote, self.call_id, self.target = peer, local, remote, call_id, target
        self.cseq = cseq
        self.routes = routes

    @classmethod
    def as_caller(cls, peer: RawPeer, invite: Request, ok: Response) -> "RawDialog":
        """The dialog of an INVITE of the peer."""
        contact = ok.contact
        assert contact is not None
        routes = tuple(ok.headers.values("Record-Route"))[::-1]
        return cls(
            peer,
            invite.headers.get("From") or "",
            ok.headers.get("To") or "",
            invite.call_id,
            contact.uri.text,
            invite.cseq.number,
            routes,
        )

    @classmethod
    def as_callee(cls, peer: RawPeer, invite: Request, ok: Response) -> "RawDialog":
        """The dialog of an INVITE of the agent."""
        contact = invite.contact
        assert contact is not None
        return cls(peer, ok.headers.get("To") or "", invite.headers.get("From") or "", invite.call_id, contact.uri.text, 1000, ())

    def request(self, method: str, *headers: tuple[str, str], body: bytes = b"", cseq: int | None = None, branch: str = "") -> Request:
        """Make a request in the dialog, with the next number unless *cseq* is given."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        fields = Headers()
        fields.add("Via", self.peer.via(branch))
        for route in self.routes:
            fields.add("Route", route)
        fields.add("Max-Forwards", "70")
        fields.add("From", self.local)
        fields.add("To", self.remote)
        fields.add("Call-ID", self.call_id)
        fields.add("CSeq", f"{cseq} {method}")
        if method not in ("ACK", "BYE"):
            fields.add("Contact", self.peer.contact)
        request = Request(method, self.target, fields)
        if body:
            request.set_body(body, SDP)
        change(request, headers)
        return request

    def send(self, method: str, *headers: tuple[str, str], body: bytes = b"", cseq: int | None = None) -> Request:
        """Make a request and send it."""
        request = self.request(method, *headers, body=body, cseq=cseq)
        self.peer.send(request)
        return request

    def ack(self, cseq: int, body: bytes = b"", *headers: tuple[str, str]) -> None:
        """Send the ACK of the 2xx to INVITE number *cseq*."""
        self.send("ACK", *headers, body=body, cseq=cseq)

    def notify(
        self, status: int | bytes | None, state: str, *headers: tuple[str, str], event: str = "refer", cseq: int | None = None
    ) -> Request:
        """Send a NOTIFY of a transfer; *status* is the one in its sipfrag, or its body."""
        body = status if isinstance(status, bytes) else b"" if status is None else f"SIP/2.0 {status} X\r\n".encode()
        request = self.request("NOTIFY", ("Event", event), ("Subscription-State", state), cseq=cseq)
        if body:
            request.set_body(body, "message/sipfrag;version=2.0")
        change(request, headers)
        self.peer.send(request)
        return request

    async def bye(self) -> None:
        """Hang up and see 200."""
        self.send("BYE")
        await self.peer.response("200 BYE")


class RawStage:
    """The agent, the peer, and the calls that came in."""

    def __init__(self, network: MemoryNetwork, agent: UserAgent, peer: RawPeer) -> None:
        self.network, self.agent, self.peer = network, agent, peer
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self._tasks: list[asyncio.Task[Any]] = []

    def soon(self, coroutine: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run *coroutine* beside the test; the end of the stage cancels it."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.append(task)
        return task

    async def aclose(self) -> None:
        """Cancel what :meth:`soon` started."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def handle(self, call: Call) -> None:
        """Take a call: the test does the rest."""
        self.calls.put_nowait(call)
        await call.wait_ended()

    async def incoming(self, *headers: tuple[str, str], body: bytes = OFFER, call_id: str = "c1") -> tuple[Call, Request]:
        """Let the peer call; return the call, unanswered, and the INVITE."""
        invite = self.peer.new("INVITE", *headers, body=body, call_id=call_id)
        self.peer.send(invite)
        return await self.calls.get(), invite

    async def established(self, *headers: tuple[str, str], body: bytes = OFFER, call_id: str = "c1") -> tuple[Call, RawDialog]:
        """Let the peer call and the agent answer."""
        call, invite = await self.incoming(*headers, body=body, call_id=call_id)
        answering = self.soon(call.answer())
        ok = await self.peer.response("200 INVITE")
        dialog = RawDialog.as_caller(self.peer, invite, ok)
        dialog.ack(invite.cseq.number, b"" if body else OFFER)
        await answering
        return call, dialog

    async def dialed(self, **options: object) -> tuple[Call, RawDialog]:
        """Let the agent call and the peer answer."""
        call = await self.agent.call(f"sip:bob@{PEER}", **options)  # type: ignore[arg-type]
        invite = await self.peer.request("INVITE")
        ok = self.peer.reply(invite, 200, ("Contact", self.peer.contact), body=OFFER)
        await self.peer.request("ACK")
        await call.wait_answered()
        return call, RawDialog.as_callee(self.peer, invite, ok)

    async def still_serves(self) -> None:
        """Check that the agent answers OPTIONS."""
        self.peer.send(self.peer.new("OPTIONS", call_id=f"alive-{self.peer.via()}".replace(" ", "")))
        await self.peer.response("200 OPTIONS", 1.0)

    def leftovers(self) -> dict[str, int]:
        """Count what is alive in the agent."""
        agent = self.agent
        return {
            "dialogs": len(agent.dialogs),
            "client transactions": agent.transactions.client_count,
            "server transactions": agent.transactions.server_count,
            "calls": len(agent.calls),
            "stray": len(agent.dialogs.stray_2xx),
            "tasks": len(agent.core.tasks),
        }


def armed_timers() -> list[str]:
    """Return the loop's timers that are armed, and in place of the one for all alarms the alarms that are set."""
    loop = asyncio.get_running_loop()
    alarms = Alarms.of(loop)
    scheduled: list[asyncio.TimerHandle] = loop._scheduled  # type: ignore[attr-defined]
    timers = [handle for handle in scheduled if not handle.cancelled() and handle is not alarms._handle]
    alarmed = [(when, callback) for when, _, callback, _ in alarms._heap if callback is not None]
    return [re.sub(r" at 0x\w+", "", repr(each)) for each in (*timers, *alarmed)]


class Complaints(logging.Handler):
    """Keeps log records of errors: a peer must not be able to cause one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.name}: {record.getMessage()} {record.exc_info[1]!r}" if record.exc_info else record.getMessage())


@asynccontextmanager
async def raw_stage(
    *,
    settings: CallSettings | None = None,
    use_tcp: bool = False,
    credentials: tuple[Credential, ...] = (),
    delay: tuple[float, float] = (0.0, 0.0),
    is_quiet: bool = True,
    faults: bool = False,
) -> AsyncIterator[RawStage]:
    """Open agent and peer. At the end, with *is_quiet*, let :data:`QUIET_S` pass and check that nothing is left; without *faults* also

    that nothing was logged as an error.
    """
    network = MemoryNetwork(random.Random(1), delay=delay, record=True)
    agent = UserAgent(
        listen=[f"udp:{AGENT}:5060", f"tcp:{AGENT}:5060"],
        network=network.host(AGENT),
        rng=random.Random(2),
        settings=settings,
        credentials=credentials,
        identity=f"<sip:agent@{AGENT}>",
    )
    peer = RawPeer(network, use_tcp=use_tcp)
    await peer.open()
    await agent.start()
    if use_tcp:
        await peer.connect()
    stage = RawStage(network, agent, peer)
    agent.on_call = stage.handle
    complaints = Complaints()
    logging.getLogger("sipua").addHandler(complaints)
    try:
        yield stage
        if is_quiet:
            peer.answers.setdefault("BYE", 200)
            await asyncio.sleep(QUIET_S)
            assert stage.leftovers() == dict.fromkeys(stage.leftovers(), 0)
            if not agent.transports.connections:  # an open connection has a timer of its own
                assert armed_timers() == []
    finally:
        await stage.aclose()
        logging.getLogger("sipua").removeHandler(complaints)
        await agent.aclose()
        await peer.aclose()
    assert armed_timers() == []
    assert faults or complaints.texts == []


def header(message: Message, name: str) -> str:
    """Return a header's value, ``""`` when absent."""
    return message.headers.get(name) or ""


def tag_of(message: Message, name: str = "To") -> str:
    """Return the tag in To or From."""
    return Address.parse(header(message, name)).tag
