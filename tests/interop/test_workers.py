"""Several user agents behind one UDP port, on the real kernel: one source's calls are spread, what is misdelivered is handed over."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from sipua.agent import UserAgent
from sipua.message import Request, Response, make_response, parse_message
from sipua.transport.base import Channel
from sipua.transport.group import bound_group, steer
from sipua.transport.inherited import WorkerNetwork
from sipua.transport.lending import Lending
from sipua.transport.relay import MAX_WAITING, Kind, Relay, make_pair, pack, unpack
from sipua.transport.sharing import Sharing, call_hash, owner_by_hash
from sipua.usage.call.call import Call
from tests.support.daemon import until
from tests.support.peers import free_port, require_ipv6

pytestmark = pytest.mark.interop

HOST = "127.0.0.1"
CALLS = 24


@dataclass
class Group:
    """Agents that share a port."""

    port: int
    agents: list[UserAgent] = field(default_factory=list)
    relays: list[Relay] = field(default_factory=list)
    lendings: list[Lending] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)
    live: tuple[int, ...] = ()
    calls: list[tuple[int, Call]] = field(default_factory=list)

    def handed_over(self) -> int:
        return sum(relay.counters["sent"] for relay in self.relays)

    def of(self, worker: int) -> int:
        return sum(1 for number, _ in self.calls if number == worker)


@asynccontextmanager
async def group_of(count: int, *, is_steered: bool = True) -> AsyncIterator[Group]:
    sockets = bound_group(HOST, free_port(), count)
    port = sockets[0].getsockname()[1]
    group = Group(port, sockets=sockets, live=tuple(range(count)))
    if is_steered:
        assert steer(sockets, group.live)
    pairs = [make_pair() for _ in range(count)]
    for number in range(count):
        relay = Relay(pairs[number][0], [outbox for _, outbox in pairs], number)
        relay.open()
        sharing = Sharing(number, count, lambda: group.live)
        network = WorkerNetwork(sharing, relay, {(HOST, port): sockets[number]}, {})
        agent = UserAgent(listen=[f"udp:{HOST}:{port}", f"tcp:{HOST}:0"], network=network, worker=number)
        agent.on_call = answering(group, number)
        await agent.start()
        lending = Lending(sharing, relay, agent.transports.adopt)
        lending.stand_before(agent.transports)
        group.lendings.append(lending)
        group.agents.append(agent)
        group.relays.append(relay)
    try:
        yield group
    finally:
        for agent, relay in zip(group.agents, group.relays, strict=True):
            await agent.aclose()
            relay.close()
        for end in (end for pair in pairs for end in pair):
            end.close()


def answering(group: Group, number: int):  # type: ignore[no-untyped-def]  # a handler of calls
    async def handle(call: Call) -> None:
        group.calls.append((number, call))
        await call.ring()
        await call.answer()
        await call.wait_ended()

    return handle


@pytest.mark.parametrize("is_steered", [True, False])
async def test_calls_of_one_source_are_spread_and_all_of_a_call_reaches_its_worker(is_steered: bool) -> None:
    async with group_of(2, is_steered=is_steered) as group, UserAgent(listen=[f"udp:{HOST}:0"]) as caller:
        made = await asyncio.gather(*(caller.dial(f"sip:{HOST}:{group.port}", timeout_s=5) for _ in range(CALLS)))
        assert len(group.calls) == CALLS
        assert min(group.of(0), group.of(1)) >= 3
        for number, call in group.calls:
            assert owner_by_hash(call_hash(call.id.encode()), 2, (0, 1)) == number
        await asyncio.gather(*(call.hangup() for call in made[: CALLS // 2]), *(call.hangup() for _, call in group.calls))
        await asyncio.gather(*(call.wait_ended() for call in made))
        assert (group.handed_over() == 0) is is_steered
        assert sum(agent.transactions.statistics.responses_stray for agent in group.agents) == 0


async def test_a_call_that_a_stand_in_took_stays_with_it_when_its_worker_is_back() -> None:
    async with group_of(2) as group, UserAgent(listen=[f"udp:{HOST}:0"]) as caller:
        group.live = (0,)
        assert steer(group.sockets, group.live)
        made = await asyncio.gather(*(caller.dial(f"sip:{HOST}:{group.port}", timeout_s=5) for _ in range(CALLS)))
        assert group.of(0) == CALLS
        group.live = (0, 1)
        assert steer(group.sockets, group.live)
        await asyncio.gather(*(call.hangup() for call in made))
        async with asyncio.timeout(5):
            await asyncio.gather(*(call.wait_ended() for _, call in group.calls))
        assert group.relays[1].counters["sent"] >= 3
        assert group.relays[0].counters["received"] == group.relays[1].counters["sent"]


async def test_the_contact_of_a_call_names_its_worker_and_leads_to_it() -> None:
    async with group_of(2) as group, UserAgent(listen=[f"udp:{HOST}:0"]) as caller:
        answers: list[Response] = []

        def note(direction: str, data: bytes, _channel: Channel) -> None:
            if direction == "in" and isinstance(message := parse_message(data), Response) and message.status == 200:
                answers.append(message)

        caller.transports.trace.append(note)
        made = await asyncio.gather(*(caller.dial(f"sip:{HOST}:{group.port}", timeout_s=5) for _ in range(6)))
        for answer in answers[:6]:
            owner = next(number for number, call in group.calls if call.id == answer.call_id)
            assert answer.contact is not None
            assert answer.contact.uri.params.get("worker") == str(owner)
            before = group.agents[owner].transports.counters["received"]
            assert (await caller.options(answer.contact.uri.text)).status in (200, 404)
            assert group.agents[owner].transports.counters["received"] == before + 1
        await asyncio.gather(*(call.hangup() for call in made))


@dataclass(frozen=True)
class Opened:
    """A call: how requests in it are addressed."""

    call_id: str
    target: str
    to: str

    @property
    def tag(self) -> str:
        return self.to.partition("tag=")[2]


class Line:
    """A TCP connection to the worker of that number; the phone behind it is reached by this connection alone."""

    def __init__(self, group: Group, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, worker: int) -> None:
        self.group = group
        self.worker = worker
        self.address = "{}:{}".format(*writer.get_extra_info("sockname"))
        self._reader = reader
        self._writer = writer

    def send(self, text: str) -> None:
        self._writer.write(text.replace("\n", "\r\n").encode())

    async def read(self) -> Request | Response:
        async with asyncio.timeout(5):
            head = await self._reader.readuntil(b"\r\n\r\n")
            body = await self._reader.readexactly(int(header(head, "Content-Length")))
        return parse_message(head + body)

    async def ask(self, method: str, uri: str, to: str, call_id: str, cseq: int, *, body: str = "", more: str = "") -> Response:
        """Send a request and return its final response."""
        self.request(method, uri, to, call_id, cseq, body=body, more=more)
        while True:
            answer = await self.read()
            assert isinstance(answer, Response)
            if answer.status >= 200:
                return answer

    def request(self, method: str, uri: str, to: str, call_id: str, cseq: int, *, body: str = "", more: str = "") -> None:
        via = f"Via: SIP/2.0/TCP {self.address};branch=z9hG4bK{call_id}{cseq}{method}"
        contact = f"Contact: <sip:1@{self.address};transport=tcp>"
        start = f"{method} {uri} SIP/2.0\n{via}\nMax-Forwards: 70\nFrom: <sip:1@{HOST}>;tag=a\nTo: {to}\nCall-ID: {call_id}"
        kind = "Content-Type: application/sdp\n" if body else ""
        self.send(f"{start}\nCSeq: {cseq} {method}\n{contact}\n{more}{kind}Content-Length: {len(body) + body.count(chr(10))}\n\n{body}")

    async def opened(self, call_id: str, more: str = "") -> Opened:
        """Open a call."""
        answer = await self.ask("INVITE", f"sip:2@{HOST}", f"<sip:2@{HOST}>", call_id, 1, body=OFFER, more=more)
        assert answer.status == 200
        assert answer.contact is not None
        made = Opened(call_id, answer.contact.uri.text, answer.headers.get("To") or "")
        self.request("ACK", made.target, made.to, call_id, 1)
        return made

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


OFFER = f"v=0\no=- 1 1 IN IP4 {HOST}\ns=-\nc=IN IP4 {HOST}\nt=0 0\nm=audio 9 RTP/AVP 0\n"


def header(head: bytes, name: str) -> str:
    return next(line.partition(":")[2].strip() for line in head.decode().splitlines() if line.startswith(f"{name}:"))


def call_id_of(worker: int, salt: str = "") -> str:
    """Return a Call-ID that says *worker*, of two."""
    return next(text for text in (f"tcp{salt}{n}" for n in range(100)) if owner_by_hash(call_hash(text.encode()), 2, (0, 1)) == worker)


@asynccontextmanager
async def lines_of(count: int = 2) -> AsyncIterator[tuple[Group, list[Line]]]:
    """A group and a connection of each worker. Here each has a port of its own: of one that they share the kernel chooses who accepts."""
    async with group_of(count) as group:
        lines = []
        for number, agent in enumerate(group.agents):
            reader, writer = await asyncio.open_connection(HOST, agent.endpoints[1].port)
            lines.append(Line(group, reader, writer, number))
        try:
            yield group, lines
        finally:
            for line in lines:
                await line.close()


async def ended(group: Group) -> None:
    async with asyncio.timeout(5):
        await asyncio.gather(*(call.wait_ended() for _, call in group.calls))


async def test_calls_of_one_connection_are_spread_and_what_their_workers_send_leaves_by_it() -> None:
    async with lines_of() as (group, (line, _)):
        calls = [await line.opened(f"spread-{number}") for number in range(12)]
        assert min(group.of(0), group.of(1)) >= 3
        for number, (opened, (_, call)) in enumerate(zip(calls, group.calls, strict=True)):
            assert call.id == opened.call_id
            if number % 2:
                assert (await line.ask("BYE", opened.target, opened.to, opened.call_id, 2)).status == 200
                continue
            hanging_up = asyncio.create_task(call.hangup())
            bye = await line.read()
            assert isinstance(bye, Request)
            assert (bye.method, bye.call_id) == ("BYE", opened.call_id)
            line.send(make_response(bye, 200).encode().decode().replace("\r\n", "\n"))
            await hanging_up
        await ended(group)
        assert group.agents[1].transports.counters["opened"] == 0


async def test_a_lent_connection_is_closed_for_the_borrower_when_it_is_closed() -> None:
    async with lines_of() as (group, (line, other)):
        await other.close()
        await line.opened(call_id_of(1))
        await until(lambda: [agent.transports.connections for agent in group.agents] == [1, 1], "the connection and a lent one")
        await line.close()
        await until(lambda: [agent.transports.connections for agent in group.agents] == [0, 0], "both are closed")


async def test_a_request_for_another_worker_is_answered_on_the_connection_that_it_came_by() -> None:
    async with lines_of() as (group, (first, second)):
        for number in range(4):
            opened = await first.opened(call_id_of(0, f"-{number}-"))
            told = await second.ask("OPTIONS", opened.target, opened.to, opened.call_id, 2)
            assert (told.status, told.headers.get("CSeq")) == (200, "2 OPTIONS")
            target = opened.target if number % 2 else f"sip:{HOST}"  # the tag is enough
            assert (await second.ask("BYE", target, opened.to, opened.call_id, 3)).status == 200
        await ended(group)
        assert [group.of(0), group.of(1)] == [4, 0]
        assert group.relays[1].counters["sent"] == 8 == group.relays[0].counters["sent"]


async def test_a_call_that_replaces_one_of_another_worker_is_that_workers() -> None:
    async with lines_of() as (group, (first, second)):
        former = await first.opened(call_id_of(0))
        again = await second.opened(call_id_of(1, "new"), f"Replaces: {former.call_id};to-tag={former.tag};from-tag=a\n")
        assert again.target.endswith(";worker=0")
        assert (await second.ask("BYE", again.target, again.to, again.call_id, 2)).status == 200
        await ended(group)


async def test_a_request_by_the_connection_of_a_dead_worker_fails_at_once() -> None:
    async with lines_of() as (group, (line, _)):
        await line.opened(call_id_of(1))
        group.live = (1,)
        group.lendings[1].forget(0)
        began = asyncio.get_running_loop().time()
        await group.calls[0][1].hangup()
        await ended(group)
        assert asyncio.get_running_loop().time() - began < 5


async def test_what_a_dead_worker_has_borrowed_is_given_back_and_its_successor_can_borrow_it() -> None:
    async with lines_of() as (group, (line, _)):
        await line.opened(call_id_of(1))
        connection = next(iter(group.lendings[0]._numbers))
        group.lendings[0].forget(1)
        assert not group.lendings[0]._numbers
        opened = await line.opened(call_id_of(1, "again"))
        assert next(iter(group.lendings[0]._numbers)) is connection
        assert (await line.ask("BYE", opened.target, opened.to, opened.call_id, 2)).status == 200


async def test_an_answer_whose_connection_was_closed_is_given_up_and_the_call_ends() -> None:
    async with lines_of() as (group, (first, second)):
        opened = await first.opened(call_id_of(0))
        second.request("BYE", opened.target, opened.to, opened.call_id, 2)
        await second.close()
        await ended(group)


async def test_icmp_reaches_the_worker_that_sent_the_request() -> None:
    async with group_of(2) as group:
        dead = f"sip:{HOST}:{free_port()}"
        began = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(agent.options(dead) for agent in group.agents))
        assert [answer.status for answer in answers] == [503, 503]
        assert asyncio.get_running_loop().time() - began < 2


@pytest.mark.parametrize("host", [HOST, "::1"])
@pytest.mark.parametrize("live", [(0, 1, 2), (0, 2), (1,)])
def test_the_kernel_delivers_as_the_program_says(host: str, live: tuple[int, ...]) -> None:
    if ":" in host:
        require_ipv6()
    group = bound_group(host, free_port(), 3)
    sharing = Sharing(live[0], 3, lambda: live)
    assert steer(group, live)
    requests = [f"OPTIONS sip:a SIP/2.0\r\nFrom: <sip:a>\r\nCall-ID: {n:x}@pbx\r\nMax-Forwards: 70\r\n\r\n".encode() for n in range(30)]
    with socket.socket(group[0].family, socket.SOCK_DGRAM) as sender:
        for data in requests:
            sender.sendto(data, (host, group[0].getsockname()[1]))
    got = [read_all(sock) for sock in group]
    for sock in group:
        sock.close()
    assert got == [[data for data in requests if sharing.owner_of(data) == number] for number in range(3)]
    assert [bool(some) for some in got] == [number in live for number in range(3)]


def read_all(sock: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(sock.recv(65535))
        except BlockingIOError:
            return found


def test_a_port_that_somebody_has_is_not_joined() -> None:
    first = bound_group(HOST, free_port(), 2)
    try:
        with pytest.raises(OSError, match="in use") as caught:
            bound_group(HOST, first[0].getsockname()[1], 2)
        assert caught.value.errno == errno.EADDRINUSE
    finally:
        for sock in first:
            sock.close()


async def test_what_finds_a_full_inbox_waits_and_what_is_too_much_is_lost_and_counted() -> None:
    (inbox, outbox), spare = make_pair(), make_pair()
    sender, receiver = Relay(spare[0], [outbox], 1), Relay(inbox, [outbox], 0)
    sender.open()
    for number in range(3000):
        sender.send(0, Kind.TOLD, 1, ("", 0), b"%06d" % number + b"x" * 60000)
    kept = 3000 - sender.counters["lost"]
    assert MAX_WAITING < kept < 3000
    got: list[int] = []
    receiver.handlers[Kind.TOLD] = lambda _number, _address, data, _error: got.append(int(data[:6]))
    receiver.open()
    async with asyncio.timeout(5):
        while len(got) < kept:
            await asyncio.sleep(0.01)
    assert got == list(range(kept))  # in order
    sender.send(0, Kind.TOLD, 1, ("", 0), b"004711")
    await asyncio.sleep(0.05)
    assert got[-1] == 4711
    for each in (sender, receiver):
        each.close()
    for end in (inbox, outbox, *spare):
        end.close()


def test_a_frame_keeps_what_it_was_made_of() -> None:
    frame = pack(Kind.UNREACHABLE, 3, ("fe80::1%eth0", 65535), b"REFER", 111)
    assert unpack(frame) == (Kind.UNREACHABLE, 3, ("fe80::1%eth0", 65535), b"REFER", 111)
