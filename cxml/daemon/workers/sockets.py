"""The sockets of all workers: the parent opens them, and keeps them open whatever becomes of a worker."""

import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import structlog

from sipua.transport.base import Endpoint
from sipua.transport.group import bound_group, steer
from sipua.transport.network import HostPort
from sipua.transport.relay import Kind, Relay, make_pair
from sipua.transport.route import parse_endpoint
from sipua.transport.sharing import Sharing
from sipua.transport.socket_address import host_port

log = structlog.get_logger(__name__)

BACKLOG = 128
"""Connections that wait for a worker to accept them."""

MAX_RESCUED = 10_000
"""Datagrams that are taken from a dead worker's socket: more than its buffer holds."""

_MAX_DATAGRAM = 65535
_NOBODY = -1


@dataclass(slots=True)
class Sockets:
    """UDP sockets by address, one for each worker; listening sockets by address; and the inboxes of the workers with their other ends."""

    count: int
    udp: dict[HostPort, list[socket.socket]] = field(default_factory=dict)
    tcp: dict[HostPort, socket.socket] = field(default_factory=dict)
    inboxes: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)
    listen: tuple[str, ...] = ()
    """The addresses as the setting has them, with their real ports."""

    @property
    def outboxes(self) -> list[socket.socket]:
        """What messages for each worker go into."""
        return [outbox for _, outbox in self.inboxes]

    def steer(self, live: Sequence[int]) -> None:
        """Let the kernel give datagrams to the workers in *live* only; while there is none they wait where they are."""
        if not live:
            return
        for address, group in self.udp.items():
            if not steer(group, live):
                log.warning(
                    "workers_not_steered",
                    address=Endpoint("UDP", *address).hostport,
                    detail="most messages are handed over; Linux has it since 4.5",
                )

    def rescue(self, worker: int, live: Sequence[int]) -> int:
        """Give what waits for *worker*, which is dead, to those in *live*; return how many datagrams that were."""
        if not live:
            return 0
        relay = Relay(self.inboxes[worker][0], self.outboxes, _NOBODY)
        sharing = Sharing(live[0], self.count, lambda: tuple(live))
        for number, group in enumerate(self.udp.values()):
            for _ in range(MAX_RESCUED):
                try:
                    data, source = group[worker].recvfrom(_MAX_DATAGRAM)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # an ICMP error about what the dead one sent
                relay.send(sharing.owner_of(data), Kind.DATAGRAM, number, host_port(source), data)
        return relay.counters["sent"]


def open_sockets(listen: Sequence[str], count: int, stack: ExitStack) -> Sockets:
    """Open everything for *count* workers at the endpoints *listen*; *stack* closes it. Raises OSError that names the endpoint."""
    sockets = Sockets(count)
    texts = []
    for text in listen:
        endpoint = parse_endpoint(text)
        try:
            address = _open(sockets, endpoint, stack)
        except OSError as error:
            raise OSError(error.errno, f"can't listen at {endpoint}: {error.strerror or error}") from error
        texts.append(str(Endpoint(endpoint.transport, *address)))
    sockets.listen = tuple(texts)
    sockets.steer(range(count))  # what comes before they are ready waits where it belongs
    for _ in range(count):
        pair = make_pair()
        sockets.inboxes.append(pair)
        for end in pair:
            stack.enter_context(end)
    return sockets


def _open(sockets: Sockets, endpoint: Endpoint, stack: ExitStack) -> HostPort:
    if endpoint.transport == "UDP":
        group = [stack.enter_context(sock) for sock in bound_group(endpoint.host, endpoint.port, sockets.count)]
        address = host_port(group[0].getsockname())
        sockets.udp[address] = group
    else:
        sock = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET, socket.SOCK_STREAM))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((endpoint.host, endpoint.port))
        sock.listen(BACKLOG)
        address = host_port(sock.getsockname())
        sockets.tcp[address] = sock
    return address
