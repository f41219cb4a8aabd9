"""Datagrams and their addresses: by Python's socket and by the C library, with the same results."""

import contextlib
import errno
import select
import socket
import sys
import types
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.transport.datagram_calls import DatagramCalls, DirectCalls, PlainCalls, datagram_calls
from sipua.transport.datagrams import bound_socket
from sipua.transport.socket_address import octets_of, read_octets
from tests.support.loopback_hosts import HOSTS

LARGEST = 65_507  # of IPv4
WAIT_S = 5.0


@pytest.fixture(params=[PlainCalls, DirectCalls])
def calls(request: pytest.FixtureRequest) -> DatagramCalls:
    made: DatagramCalls = request.param()
    return made


@pytest.fixture(params=HOSTS)
def sockets(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(bound_socket(request.param, 0)) for _ in range(2))
        yield first, second


def arrived(calls: DatagramCalls, sock: socket.socket) -> tuple[bytes, tuple[str, int]] | None:
    """Return what has come once something has."""
    assert select.select([sock], [], [], WAIT_S)[0]
    return calls.receive(sock)


def address(sock: socket.socket) -> tuple[str, int]:
    host, port = sock.getsockname()[:2]
    return host, port


@pytest.mark.parametrize("data", [b"OPTIONS sip:a SIP/2.0\r\n", b"", b"\0" * LARGEST], ids=["a request", "nothing", "the largest"])
def test_a_datagram_comes_with_its_source(calls: DatagramCalls, sockets: tuple[socket.socket, socket.socket], data: bytes) -> None:
    first, second = sockets
    for _ in range(2):  # an address that is known by now is no other
        calls.send(first, data, address(second))
        assert arrived(calls, second) == (data, address(first))
    assert calls.receive(second) is None


def test_a_short_datagram_has_nothing_of_a_longer_one_before_it(calls: DatagramCalls, sockets: tuple[socket.socket, socket.socket]) -> None:
    first, second = sockets
    for data in (b"longer", b"ab"):
        calls.send(first, data, address(second))
    assert [arrived(calls, second), arrived(calls, second)] == [(b"longer", address(first)), (b"ab", address(first))]


def test_more_addresses_than_are_remembered(calls: DatagramCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipua.transport.datagram_calls.MAX_KNOWN", 2)
    with contextlib.ExitStack() as stack:
        hub, *others = (stack.enter_context(bound_socket("127.0.0.1", 0)) for _ in range(6))
        for other in [*others, *others]:
            calls.send(other, b"ping", address(hub))
            assert arrived(calls, hub) == (b"ping", address(other))
            calls.send(hub, b"pong", address(other))
            assert arrived(calls, other) == (b"pong", address(hub))
    if isinstance(calls, DirectCalls):
        assert calls.known <= 4


def test_nothing_of_a_zone_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interface that is made anew has another number, and one may be renamed: a VPN comes back, and its peers are reached."""
    calls, asked = DirectCalls(), []
    numbers, names = iter((901, 902)), iter(("v0", "v1"))

    def number_of(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET6, socket.SOCK_DGRAM, 0, "", ("fe80::b", 5060, 0, next(numbers)))]

    monkeypatch.setattr(socket, "getaddrinfo", number_of)
    monkeypatch.setattr(socket, "if_indextoname", lambda _: next(names))
    with bound_socket("127.0.0.1", 0) as sock, bound_socket("127.0.0.1", 0) as other:
        for _ in range(2):
            with pytest.raises(OSError, match=r"."):  # no IPv6 on this socket
                calls.send(sock, b"x", ("fe80::b%v0", 5060))
        assert (calls.known, asked) == (0, ["fe80::b%v0", "fe80::b%v0"])
        monkeypatch.setattr("sipua.transport.datagram_calls.read_octets", lambda _: read_octets(octets_of("fe80::b", 5060, 0, 7)))
        for name in ("v0", "v1"):
            calls.send(other, b"x", address(sock))
            assert arrived(calls, sock) == (b"x", (f"fe80::b%{name}", 5060))
        assert calls.known == 1


@pytest.mark.parametrize(
    ("interpreter", "system", "expected"),
    [("pypy", "linux", DirectCalls), ("pypy", "darwin", PlainCalls), ("cpython", "linux", PlainCalls)],
)
def test_the_c_library_is_asked_where_it_is_faster(interpreter: str, system: str, expected: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "implementation", types.SimpleNamespace(name=interpreter))
    monkeypatch.setattr(sys, "platform", system)
    assert type(datagram_calls()) is expected


def test_what_is_too_long_is_refused(calls: DatagramCalls, sockets: tuple[socket.socket, socket.socket]) -> None:
    first, second = sockets
    with pytest.raises(OSError, match=r"[Mm]essage too long") as refused:
        calls.send(first, bytes(LARGEST + 30), address(second))
    assert refused.value.errno == errno.EMSGSIZE


def test_what_the_receiver_has_no_room_for_is_lost_and_blocks_nobody() -> None:
    calls = DirectCalls()
    with bound_socket("127.0.0.1", 0) as first, bound_socket("127.0.0.1", 0) as second:
        second.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for sock in (first, second):
            sock.setblocking(True)  # as another process may set it that has the same one
        for _ in range(50):
            calls.send(first, bytes(1400), address(second))
        count = 0
        while calls.receive(second) is not None:
            count += 1
        assert 0 < count < 50


def test_an_icmp_error_is_raised_by_the_next_call(calls: DatagramCalls) -> None:
    with bound_socket("127.0.0.1", 0) as gone:
        nowhere = address(gone)
    with bound_socket("127.0.0.1", 0) as sock:
        sock.connect(nowhere)  # only then does Linux tell without a queue of errors
        calls.send(sock, b"x", nowhere)
        with pytest.raises(ConnectionRefusedError):
            arrived(calls, sock)
        assert calls.receive(sock) is None


def test_a_closed_socket_is_an_error(calls: DatagramCalls) -> None:
    sock = bound_socket("127.0.0.1", 0)
    destination = address(sock)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        calls.receive(sock)
    with pytest.raises(OSError, match="Bad file descriptor"):
        calls.send(sock, b"x", destination)


@pytest.mark.parametrize("host", ["", "pbx.example", "1.2.3", "1.2.3.4.5", "300.1.1.1", "::1::", "fe80::1%nosuch"])
def test_what_is_no_address_is_an_error(host: str) -> None:
    with bound_socket("127.0.0.1", 0) as sock, pytest.raises((OSError, ValueError)):
        DirectCalls().send(sock, b"x", (host, 5060))


@pytest.mark.parametrize("host", ["127.0.0.1", "fe80::1%lo"])
@pytest.mark.parametrize("port", [-1, 65_536])
def test_what_is_no_port_is_an_error(calls: DatagramCalls, host: str, port: int) -> None:
    with bound_socket("127.0.0.1", 0) as sock, pytest.raises(OSError, match="Invalid argument"):
        calls.send(sock, b"x", (host, port))


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_an_address_is_read_as_it_was_written(host: IPv4Address | IPv6Address, port: int) -> None:
    written = socket.inet_ntop(socket.AF_INET6 if host.version == 6 else socket.AF_INET, host.packed)
    assert read_octets(octets_of(str(host), port)) == (written, port)


@given(st.binary(max_size=40))
def test_any_octets_are_an_address_or_an_error(octets: bytes) -> None:
    with contextlib.suppress(OSError):
        host, port = read_octets(octets)
        assert octets_of(host, port)[2:4] == octets[2:4]
