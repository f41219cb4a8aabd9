"""Who may call: longest prefix, both families, mapped addresses."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from cxml.access.peers import LOOPBACK, Network, Peer, Peers
from sipua.transport.base import Endpoint


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


PEERS = Peers(
    [
        Peer("wide", networks("10.0.0.0/8", "2001:db8::/32")),
        Peer("narrow", networks("10.1.0.0/16")),
        Peer("one", networks("10.1.2.3", "2001:db8::5")),
        Peer("late", networks("10.1.0.0/16")),
    ]
)


def name(host: str, peers: Peers = PEERS) -> str:
    peer = peers.find(Endpoint("UDP", host, 5060))
    return "" if peer is None else peer.name


def test_the_longest_prefix_decides_and_the_first_of_equals() -> None:
    assert [name(host) for host in ("10.9.9.9", "10.1.9.9", "10.1.2.3")] == ["wide", "narrow", "one"]


def test_ipv6_and_ipv4_in_ipv6_are_known() -> None:
    assert [name(host) for host in ("2001:db8::9", "2001:db8::5", "::ffff:10.1.2.3")] == ["wide", "one", "one"]


def test_a_zone_does_not_matter() -> None:
    assert name("fe80::1%eth0", Peers([Peer("link", networks("fe80::/10"))])) == "link"


def test_strangers_are_nobody() -> None:
    assert [name(host) for host in ("11.0.0.1", "2001:db9::1", "::1", "127.0.0.1")] == ["", "", "", ""]


def test_without_peers_this_machine_may_call() -> None:
    local = Peers([Peer("loopback", LOOPBACK)])
    assert [name(host, local) for host in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")] == ["loopback"] * 4
    assert name("10.0.0.1", local) == ""


@given(st.ip_addresses())
def test_what_is_found_contains_the_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    found = PEERS.find(Endpoint("UDP", str(address), 1))
    plain = address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
    inside = any(plain.version == network.version and plain in network for peer in PEERS.all for network in peer.networks)
    assert (found is not None) == inside
