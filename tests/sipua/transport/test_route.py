"""Where requests and responses go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError, TransportError
from sipua.message import Headers, Request, Uri, Via
from sipua.transport.base import Endpoint
from sipua.transport.route import (
    is_unicast,
    next_hop,
    parse_endpoint,
    response_address,
    response_sent_by,
    same_host,
    sent_by_key,
    stamp_request,
    stamp_via,
    target_of,
)


def request(uri: str, *lines: tuple[str, str]) -> Request:
    return Request("OPTIONS", uri, Headers(lines))


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ([], "sip:bob@b"),
        ([("Route", "<sip:p1;lr>"), ("Route", "<sip:p2;lr>")], "sip:p1;lr"),
        ([("Route", "<sip:p1;lr=on>, <sip:p2>")], "sip:p1;lr=on"),
        ([("Route", "<sip:p2>")], "sip:bob@b"),
    ],
)
def test_the_next_hop_is_a_loose_routers_uri_or_the_request_uri(route: list[tuple[str, str]], expected: str) -> None:
    assert str(next_hop(request("sip:bob@b", *route))) == expected


def test_the_next_hop_of_a_strictly_routed_request_is_its_request_uri() -> None:
    """RFC 3261 §12.2.1.1: the strict router's URI, although a loose router's Route follows."""
    strict = request("sip:strict", ("Route", "<sip:loose;lr>"), ("Route", "<sip:bob@b>"))
    strict.is_strictly_routed = True
    assert str(next_hop(strict.copy())) == "sip:strict"


@pytest.mark.parametrize(
    ("uri", "transport", "host", "port", "endpoint"),
    [
        ("sip:bob@example.com", "UDP", "example.com", 5060, None),
        ("sip:example.com:5080;transport=TCP", "TCP", "example.com", 5080, None),
        ("sip:192.0.2.1", "UDP", "192.0.2.1", 5060, Endpoint("UDP", "192.0.2.1", 5060)),
        ("sip:b@[2001:db8::1]:5070;transport=tcp", "TCP", "2001:db8::1", 5070, Endpoint("TCP", "2001:db8::1", 5070)),
        ("sip:b@example.com;maddr=192.0.2.7", "UDP", "192.0.2.7", 5060, Endpoint("UDP", "192.0.2.7", 5060)),
        ("sips:b@192.0.2.1", "TLS", "192.0.2.1", 5061, Endpoint("TLS", "192.0.2.1", 5061, "192.0.2.1")),
        ("sips:b@[2001:db8::1];transport=tcp", "TLS", "2001:db8::1", 5061, Endpoint("TLS", "2001:db8::1", 5061, "2001:db8::1")),
        ("sip:b@Example.com;transport=tls;maddr=192.0.2.7", "TLS", "192.0.2.7", 5061, Endpoint("TLS", "192.0.2.7", 5061, "example.com")),
        ("sips:b@example.com:5080", "TLS", "example.com", 5080, None),
        ("sip:b@example.com;maddr=[::1]", "UDP", "::1", 5060, Endpoint("UDP", "::1", 5060)),
    ],
)
def test_a_uri_says_transport_host_and_port(uri: str, transport: str, host: str, port: int, endpoint: Endpoint | None) -> None:
    target = target_of(Uri.parse(uri))
    assert (target.transport, target.host, target.port_or_default, target.endpoint) == (transport, host, port, endpoint)


@pytest.mark.parametrize("uri", ["sips:b@b;transport=udp", "sips:b;transport=ws", "tel:+49", "sip:b;transport=sctp", "sip:b;transport=ws"])
def test_what_cannot_be_reached_is_a_transport_error(uri: str) -> None:
    with pytest.raises(TransportError):
        target_of(Uri.parse(uri))


@pytest.mark.parametrize(
    ("via", "stamped"),
    [
        # sent-by equals the source: nothing to add (RFC 3261 §18.2.1)
        ("SIP/2.0/UDP 192.0.2.1:5060;branch=z", "SIP/2.0/UDP 192.0.2.1:5060;branch=z"),
        ("SIP/2.0/UDP [2001:DB8:0:0::1];branch=z", "SIP/2.0/UDP [2001:DB8:0:0::1];branch=z;received=192.0.2.1"),
        ("SIP/2.0/UDP host;branch=z", "SIP/2.0/UDP host;branch=z;received=192.0.2.1"),
        ("SIP/2.0/UDP 10.0.0.1;branch=z", "SIP/2.0/UDP 10.0.0.1;branch=z;received=192.0.2.1"),
        # rport: both, even when nothing differs (RFC 3581 §4)
        ("SIP/2.0/UDP 192.0.2.1:4444;rport;branch=z", "SIP/2.0/UDP 192.0.2.1:4444;rport=4444;branch=z;received=192.0.2.1"),
        # what a client wrote there itself does not count
        ("SIP/2.0/UDP 192.0.2.1;received=10.6.6.6", "SIP/2.0/UDP 192.0.2.1"),
        ("SIP/2.0/UDP host;rport=1;received=10.6.6.6", "SIP/2.0/UDP host;rport=4444;received=192.0.2.1"),
    ],
)
def test_received_and_rport_are_written_into_the_top_via(via: str, stamped: str) -> None:
    assert str(stamp_via(Via.parse(via), "192.0.2.1", 4444)) == stamped


def test_an_ipv6_source_is_compared_by_value_and_written_without_brackets() -> None:
    assert "received" not in stamp_via(Via.parse("SIP/2.0/UDP [2001:DB8::0:1]"), "2001:db8::1", 5060).params
    assert str(stamp_via(Via.parse("SIP/2.0/UDP h;rport"), "2001:db8::1", 9)) == "SIP/2.0/UDP h;rport=9;received=2001:db8::1"


def test_only_the_first_of_several_via_values_is_stamped() -> None:
    message = request("sip:b", ("To", "<sip:b>"), ("Via", "SIP/2.0/UDP a;rport;branch=1, SIP/2.0/UDP b;branch=2"), ("Via", "SIP/2.0/TCP c"))
    stamp_request(message, "192.0.2.1", 7)
    assert message.headers.values("Via") == [
        "SIP/2.0/UDP a;rport=7;branch=1;received=192.0.2.1",
        "SIP/2.0/UDP b;branch=2",
        "SIP/2.0/TCP c",
    ]
    assert message.via == Via.parse(message.headers.values("Via")[0])
    assert len(message.vias) == 3
    with pytest.raises(ParseError):
        stamp_request(request("sip:b", ("Via", "nonsense")), "192.0.2.1", 7)


@pytest.mark.parametrize(
    ("via", "reliable", "port"),
    [
        # RFC 3261 §18.2.2, unreliable
        ("SIP/2.0/UDP 192.0.2.1:5080", False, 5080),
        ("SIP/2.0/UDP 192.0.2.1", False, 5060),
        ("SIP/2.0/UDP host:5080;received=192.0.2.1", False, 5080),
        ("SIP/2.0/UDP host;received=192.0.2.1", False, 5060),
        ("SIP/2.0/UDP host:5080;received=192.0.2.1;rport=9999", False, 9999),
        ("SIP/2.0/UDP host:5080;rport=9999;x=<q;received=192.0.2.1", False, 9999),
        ("SIP/2.0/UDP host:5080;x=<q;rport=9999;received=192.0.2.1", False, 5080),
        ("SIP/2.0/UDP host:5080;received=192.0.2.1;maddr=192.0.2.9", False, 5080),
        ("SIP/2.0/UDP host:5080;received=192.0.2.1;rport=9999;maddr=192.0.2.9", False, 9999),
        ("SIP/2.0/UDP host:5080;received=192.0.2.1;maddr=224.0.1.75", False, 5080),
        ("SIP/2.0/UDP host:5080;received=192.0.2.1;maddr=255.255.255.255", False, 5080),
        ("SIP/2.0/UDP host:5080;received=192.0.2.1;maddr=[ff02::1]", False, 5080),
        ("SIP/2.0/UDP host:5080;received=192.0.2.1;maddr=evil.example", False, 5080),
        ("SIP/2.0/UDP 203.0.113.9:5080", False, 5080),
        ("SIP/2.0/UDP host;received=203.0.113.9", False, 5060),
        # reliable, for a new connection: the sent-by port, not rport; maddr does not count
        ("SIP/2.0/TCP host:5080;received=192.0.2.1;rport=9999", True, 5080),
        ("SIP/2.0/TCP 192.0.2.1;maddr=192.0.2.9", True, 5060),
        ("SIP/2.0/TLS 192.0.2.1", True, 5061),
        ("SIP/2.0/TCP 203.0.113.9:53;x=<q;received=192.0.2.1", True, 53),
    ],
)
@pytest.mark.parametrize("source", ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
def test_a_response_goes_to_the_source_at_the_port_that_its_top_via_says(via: str, reliable: bool, port: int, source: str) -> None:
    assert response_address(Via.parse(via), source, 9999, reliable=reliable) == (source, port)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
        ("a.example", False),
    ],
)
def test_one_machine_is_told_from_groups_and_names(host: str, expected: bool) -> None:
    assert is_unicast(host) is expected


def test_sent_by_is_compared_with_default_port_case_and_address_value() -> None:
    assert sent_by_key("PBX1", None, "UDP") == sent_by_key("pbx1", 5060, "TCP")
    assert sent_by_key("[2001:DB8::1]", None, "TLS") == sent_by_key("2001:db8:0::1", 5061, "TLS")
    assert sent_by_key("a", 5061, "UDP") != sent_by_key("a", None, "UDP")
    assert same_host("[::1]", "0:0:0:0:0:0:0:1")
    assert same_host("Example.COM", "example.com")


def test_a_response_with_two_vias_or_a_broken_one_has_no_sent_by() -> None:
    assert response_sent_by(["SIP/2.0/UDP A:5060;branch=z"]) == sent_by_key("a", 5060, "UDP")
    assert response_sent_by(["SIP/2.0/UDP a", "SIP/2.0/UDP b"]) is None
    assert response_sent_by([]) is None
    assert response_sent_by(["nonsense"]) is None


@pytest.mark.parametrize("text", ["udp:127.0.0.1:5060", "tcp:[::1]:0", "tls:0.0.0.0:5061"])
def test_an_endpoint_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_endpoint(text)) == text


@pytest.mark.parametrize(
    "text", ["", "udp", "udp:127.0.0.1", "udp:localhost:5060", "sctp:1.2.3.4:5", "udp:1.2.3.4:65536", "udp:::1:5060", "udp:[1.2.3.4]:5"]
)
def test_what_is_no_endpoint_is_refused_with_the_text_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not of the form|unknown transport|is not an IP address"):
        parse_endpoint(text)


@given(st.text('SIP/2.0UDTC hotabc:5;=[]rportmadviecl,"\\ 19%', max_size=80), st.booleans())
def test_no_via_makes_routing_raise(text: str, reliable: bool) -> None:
    try:
        via = Via.parse(f"SIP/2.0/UDP {text}")
    except ParseError:
        return
    stamped = stamp_via(via, "192.0.2.1", 5060)
    assert Via.parse(str(stamped)) == stamped
    host, port = response_address(stamped, "192.0.2.1", 5060, reliable=reliable)
    assert host == "192.0.2.1"
    assert 0 <= port <= 99999
