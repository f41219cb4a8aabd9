"""A network in memory for tests and examples: seeded loss, duplication, delay and reordering, on real or virtual loop time.

::

    network = MemoryNetwork(random.Random(7), loss=0.1, delay=(0.01, 0.05))
    alice = TransportLayer(network.host("10.0.0.1"), ...)
    bob = TransportLayer(network.host("10.0.0.2", "bob.example"), ...)
    network.drop_next(lambda packet: packet.data.startswith(b"ACK"))
"""

import asyncio
import errno
import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sipua.transport.network import DatagramReceiver, HostPort, Opened, StreamReceiver
from sipua.transport.route import is_wildcard
from sipua.transport.unreachable import UnreachableError

FIRST_FREE_PORT = 40000
"""Where port 0 begins."""

MAX_DATAGRAM_BYTES = 65507
"""The largest UDP payload over IPv4; more is refused as the kernel does."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A datagram, or one write on a stream: ``time`` is the loop's when it was sent, ``fate`` what became of it."""

    time: float
    transport: str
    source: HostPort
    destination: HostPort
    data: bytes
    fate: str = "delivered"


QUOTED_BYTES = 520
"""What an ICMP message quotes of a datagram's payload: 576 octets with all headers (RFC 1122 §3.2.2)."""

Predicate = Callable[[Packet], bool]


class MemoryNetwork:
    """Links between hosts.

    *loss*, *duplicate* and *reorder* are probabilities of a datagram to be dropped, sent twice, or overtaken by later ones;
    *delay* is the range of seconds that a packet travels (datagrams of one link keep their order unless reordered). Streams are reliable
    and ordered; *chunk* is the range of octets that one read gives, None gives each write whole. All may be changed at any time.
    """

    def __init__(
        self,
        rng: random.Random | None = None,
        *,
        loss: float = 0.0,
        duplicate: float = 0.0,
        delay: tuple[float, float] = (0.0, 0.0),
        reorder: float = 0.0,
        chunk: tuple[int, int] | None = None,
        record: bool = False,
    ) -> None:
        self.rng = rng or random.Random(0)
        self.loss = loss
        self.duplicate = duplicate
        self.delay = delay
        self.reorder = reorder
        self.chunk = chunk
        self.record = record
        self.packets: list[Packet] = []
        self.names: dict[str, list[str]] = {}
        self.refusing: set[str] = set()
        self.unreachable: set[str] = set()
        self.silent: set[str] = set()
        self._hosts: dict[str, MemoryHost] = {}
        self._drops: list[Predicate] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._link_times: dict[object, float] = {}

    def host(self, address: str, *names: str) -> "MemoryHost":
        """Return the host with IP *address*, made when new; *names* resolve to it. It is the ``Network`` of a transport layer."""
        host = self._hosts.get(address)
        if host is None:
            host = self._hosts[address] = MemoryHost(self, address)
        for name in names:
            self.names.setdefault(name.lower(), []).append(address)
        return host

    def drop(self, predicate: Predicate) -> Callable[[], None]:
        """Lose every datagram for which *predicate* is true; the returned function ends that."""
        self._drops.append(predicate)

        def undo() -> None:
            if predicate in self._drops:
                self._drops.remove(predicate)

        return undo

    def drop_next(self, predicate: Predicate, count: int = 1) -> None:
        """Lose the next *count* datagrams for which *predicate* is true."""
        left = count

        def once(packet: Packet) -> bool:
            nonlocal left
            if left <= 0 or not predicate(packet):
                return False
            left -= 1
            return True

        self._drops.append(once)

    def reset_streams(self, address: str = "") -> None:
        """Reset all TCP connections, or those with one end at *address*."""
        for host in list(self._hosts.values()):
            for stream in list(host.streams):
                if not address or address in (stream.local[0], stream.remote[0]):
                    stream.abort()

    def refuse_tcp(self, address: str) -> None:
        """Refuse TCP connections to *address* from now on."""
        self.refusing.add(address)

    def refuse_udp(self, address: str) -> None:
        """Answer datagrams to *address* by ICMP, as a machine without that socket does, from now on."""
        self.unreachable.add(address)

    def silence_tcp(self, address: str) -> None:
        """Leave TCP connection attempts to *address* without an answer from now on."""
        self.silent.add(address)

    def find(self, address: str) -> "MemoryHost | None":
        """Return the host at *address*."""
        return self._hosts.get(address)

    def note(self, packet: Packet) -> None:
        """Record *packet* when recording is on."""
        if self.record:
            self.packets.append(packet)

    def travel_time(self) -> float:
        """Draw the delay of a packet."""
        low, high = self.delay
        return low if low == high else self.rng.uniform(low, high)

    def send_datagram(self, source: HostPort, destination: HostPort, data: bytes) -> None:
        """Carry a datagram, or not."""
        packet = Packet(asyncio.get_running_loop().time(), "UDP", source, destination, data)
        if self._is_lost(packet):
            self.note(Packet(packet.time, "UDP", source, destination, data, "lost"))
            return
        self.note(packet)
        copies = 2 if self.duplicate and self.rng.random() < self.duplicate else 1
        for _ in range(copies):
            when = packet.time + self.travel_time()
            if self.reorder and self.rng.random() < self.reorder:
                when += max(self.delay[1], 0.001) * self.rng.uniform(1, 4)
            else:
                when = self.after_link((source, destination), when)
            self.at(when, lambda: self._arrive(source, destination, data))

    def _is_lost(self, packet: Packet) -> bool:
        verdicts = [predicate(packet) for predicate in self._drops]  # each sees each packet: they may count
        return any(verdicts) or (self.loss > 0 and self.rng.random() < self.loss)

    def after_link(self, link: object, when: float) -> float:
        """Return *when*, or the last delivery on *link* if that is later, and remember it: a link keeps its order."""
        when = max(when, self._link_times.get(link, 0.0))
        self._link_times[link] = when
        return when

    def forget_link(self, link: object) -> None:
        """Nothing more goes over *link*."""
        self._link_times.pop(link, None)

    def _arrive(self, source: HostPort, destination: HostPort, data: bytes) -> None:
        if destination[0] in self.unreachable:
            sender = self.find(source[0])
            if sender is not None and source[1] in sender.udp:
                error = UnreachableError(errno.ECONNREFUSED, "Connection refused", destination, data[:QUOTED_BYTES])
                sender.udp[source[1]].receiver.on_datagram_error(error)
            return
        host = self.find(destination[0])
        sock = host.udp.get(destination[1]) if host is not None else None
        if sock is not None:
            sock.receiver.on_datagram(data, source)

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do *action* at loop time *when*; those of one time keep their order, which a loop's heap of timers does not promise."""
        self._sequence += 1
        heapq.heappush(self._queue, (when, self._sequence, action))
        asyncio.get_running_loop().call_at(when, self._run_one)

    def _run_one(self) -> None:
        _, _, action = heapq.heappop(self._queue)
        action()


class MemoryHost:
    """One machine on a :class:`MemoryNetwork`; has the methods of :class:`sipua.transport.network.Network`."""

    def __init__(self, network: MemoryNetwork, address: str) -> None:
        self.network = network
        self.address = address
        self.udp: dict[int, MemoryUdp] = {}
        self.tcp: dict[int, MemoryListener] = {}
        self.streams: set[MemoryStream] = set()
        self._free_ports = iter(range(FIRST_FREE_PORT, 65536))

    def _bind(self, host: str, port: int, taken: Iterator[int]) -> HostPort:
        if not is_wildcard(host) and host != self.address:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        used = set(taken)
        if port in used:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        if port == 0:
            port = next(free for free in self._free_ports if free not in used)
        return host, port

    async def open_udp(self, host: str, port: int, receiver: DatagramReceiver) -> "MemoryUdp":
        """Bind a UDP socket."""
        address = self._bind(host, port, iter(self.udp))
        sock = self.udp[address[1]] = MemoryUdp(self, address, receiver)
        return sock

    async def listen_tcp(self, host: str, port: int, opened: Opened) -> "MemoryListener":
        """Accept TCP connections."""
        address = self._bind(host, port, iter(self.tcp))
        listener = self.tcp[address[1]] = MemoryListener(self, address, opened)
        return listener

    async def connect_tcp(self, host: str, port: int, opened: Opened, source: str = "") -> "MemoryStream":  # noqa: ARG002  # one address
        """Connect; takes one travel time."""
        network = self.network
        if host in network.silent:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(network.travel_time())
        peer = network.find(host)
        if peer is None:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        listener = peer.tcp.get(port)
        if listener is None or host in network.refusing:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        mine = MemoryStream(self, (self.address, next(self._free_ports)), (host, port))
        theirs = MemoryStream(peer, (host, port), mine.local)
        mine.peer, theirs.peer = theirs, mine
        theirs.receiver = listener.opened(theirs)
        mine.receiver = opened(mine)
        for stream in (mine, theirs):
            if stream.receiver is None:
                stream.abort()
        return mine

    def source_for(self, host: str) -> str:  # noqa: ARG002  # one address serves all
        """Return this host's address."""
        return self.address

    async def lookup(self, name: str) -> list[str]:
        """Return the addresses that the network knows under *name*."""
        addresses = self.network.names.get(name.lower())
        if not addresses:
            raise OSError(errno.ENOENT, "Name or service not known")
        return list(addresses)


class MemoryUdp:
    """A UDP socket of a :class:`MemoryHost`."""

    def __init__(self, host: MemoryHost, address: HostPort, receiver: DatagramReceiver) -> None:
        self._host = host
        self.address = address
        self.receiver = receiver

    def send(self, data: bytes, destination: HostPort) -> None:
        """Send a datagram."""
        if self._host.udp.get(self.address[1]) is not self:
            raise OSError(errno.EBADF, "Bad file descriptor")
        if len(data) > MAX_DATAGRAM_BYTES:
            raise OSError(errno.EMSGSIZE, "Message too long")
        if (":" in destination[0]) != (":" in self._host.address):
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        self._host.network.send_datagram((self._host.address, self.address[1]), destination, data)

    def close(self) -> None:
        """Close the socket."""
        if self._host.udp.get(self.address[1]) is self:
            del self._host.udp[self.address[1]]


class MemoryListener:
    """A listening socket of a :class:`MemoryHost`."""

    def __init__(self, host: MemoryHost, address: HostPort, opened: Opened) -> None:
        self._host = host
        self.address = address
        self.opened = opened

    async def aclose(self) -> None:
        """Stop listening."""
        self._host.tcp.pop(self.address[1], None)


class MemoryStream:
    """One end of a TCP-like connection."""

    transport = "TCP"
    identity: tuple[str, ...] = ()

    def __init__(self, host: MemoryHost, local: HostPort, remote: HostPort) -> None:
        self._host = host
        self.local = local
        self.remote = remote
        self.receiver: StreamReceiver | None = None
        self.peer: MemoryStream | None = None
        self.unsent = 0
        self._is_open = True
        host.streams.add(self)

    def write(self, data: bytes) -> None:
        """Queue bytes."""
        if not self._is_open or not data:
            return
        network = self._host.network
        now = asyncio.get_running_loop().time()
        network.note(Packet(now, "TCP", self.local, self.remote, data))
        self.unsent += len(data)
        start = 0
        while start < len(data):
            size = len(data) if network.chunk is None else max(1, network.rng.randint(*network.chunk))
            part = data[start : start + size]
            network.at(network.after_link(self, now + network.travel_time()), lambda part=part: self._arrive(part))  # type: ignore[misc]
            start += size

    def _arrive(self, part: bytes) -> None:
        self.unsent -= len(part)
        if self.peer is not None and self.peer._is_open and self.peer.receiver is not None:  # noqa: SLF001  # the other end
            self.peer.receiver.on_data(part)

    def close(self) -> None:
        """Close behind what is queued; our end hears of it when that has arrived, as with a socket whose buffer must drain first."""
        if not self._is_open:
            return
        self._is_open = False
        network = self._host.network
        network.at(network.after_link(self, asyncio.get_running_loop().time() + network.travel_time()), self._end)
        if not self.unsent:
            self._shut()

    def abort(self) -> None:
        """Reset both ends; what travels is lost."""
        self._end()

    def _end(self) -> None:
        for stream in (self.peer, self):
            if stream is not None:
                stream._shut()  # noqa: SLF001  # the other end

    def _shut(self) -> None:
        self._is_open = False
        if self in self._host.streams:
            self._host.streams.remove(self)
            self._host.network.forget_link(self)
            if self.receiver is not None:
                asyncio.get_running_loop().call_soon(self.receiver.on_closed)
