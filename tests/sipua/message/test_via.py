"""Via and CSeq (RFC 3261 §20.42, §20.16; RFC 3581)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.message import CSeq, Via
from tests.support.strategies import vias


def test_all_parts_are_read() -> None:
    via = Via.parse("SIP / 2.0 / udp  first.example.com : 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1")
    assert (via.transport, via.host, via.port) == ("UDP", "first.example.com", 4000)
    assert via.branch == "z9hG4bKa7c6a8dlze.1"
    assert via.has_cookie
    assert via.params.get("maddr") == "224.2.0.1"


def test_what_is_absent_is_empty() -> None:
    via = Via.parse("SIP/2.0/TLS pbx1")
    assert (via.port, via.branch, via.has_cookie, via.received, via.rport) == (None, "", False, "", None)


@pytest.mark.parametrize(
    ("text", "received", "rport"),
    [
        ("SIP/2.0/UDP h;rport;received=192.0.2.9", "192.0.2.9", None),
        ("SIP/2.0/UDP h;rport=5070;received=[2001:db8::1]", "2001:db8::1", 5070),
        ("SIP/2.0/UDP h;rport=x;received=2001:db8::1", "2001:db8::1", None),
        ("SIP/2.0/UDP h;rport=999999", "", None),
        ("SIP/2.0/UDP h;rport=٣", "", None),
    ],
)
def test_received_and_rport(text: str, received: str, rport: int | None) -> None:
    via = Via.parse(text)
    assert (via.received, via.rport) == (received, rport)


@pytest.mark.parametrize(
    ("text", "sent_by"),
    [("SIP/2.0/UDP H.example:5060", "h.example:5060"), ("SIP/2.0/UDP h", "h"), ("SIP/2.0/UDP [2001:DB8::1]:5060", "[2001:db8::1]:5060")],
)
def test_sent_by_is_in_lower_case(text: str, sent_by: str) -> None:
    assert Via.parse(text).sent_by == sent_by


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/3.0/UDP h",
        "SIP/2.0 h",
        "SIP/2.0/UDP h:99999",
        "SIP/2.0/UDP h:x",
        "SIP/2.0/UDP h x",
        "SIP/2.0/UDP ;branch=1",
        "SIP/2.0/UDP 2001:db8::1",
        "HTTP/2.0/UDP h",
    ],
)
def test_a_broken_via_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        Via.parse(text)


def test_with_param_and_text() -> None:
    via = Via.parse("SIP/2.0/UDP h:5060;branch=z9hG4bK1;rport")
    assert (
        str(via.with_param("rport", "5070").with_param("received", "::1")) == "SIP/2.0/UDP h:5060;branch=z9hG4bK1;rport=5070;received=::1"
    )
    assert str(via) == "SIP/2.0/UDP h:5060;branch=z9hG4bK1;rport"
    assert str(Via("TCP", "h")) == "SIP/2.0/TCP h"


@given(vias(), st.text('<>";=a ', max_size=6), st.booleans())
def test_what_was_written_reads_as_it_would_anyway(via: Via, odd: str, has_rport: bool) -> None:
    text = f"{via};x{odd}"
    try:
        read = Via.parse(text)
    except ParseError:
        return
    written = read.with_params(received="192.0.2.1", **({"rport": "5"} if has_rport else {})).written()
    assert Via.parse(written) == Via.parse_any(written)


def test_cseq() -> None:
    assert CSeq.parse(" 0009  INVITE ") == (9, "INVITE")
    assert str(CSeq(9, "INVITE")) == "9 INVITE"
    for text in ("", "1", "INVITE", "1INVITE", "4294967296 A", "1 A B", "1.5 A", "-1 A", "٣ A"):
        with pytest.raises(ParseError):
            CSeq.parse(text)


@given(st.text(max_size=60))
def test_any_text_gives_a_value_or_a_parse_error(text: str) -> None:
    for candidate in (text, "SIP/2.0/UDP " + text, "SIP/2.0/UDP h" + text):
        try:
            via = Via.parse(candidate)
        except ParseError:
            continue
        assert Via.parse(str(via)) == via
        _ = via.received, via.rport, via.sent_by
    try:
        cseq = CSeq.parse(text)
    except ParseError:
        return
    assert CSeq.parse(str(cseq)) == cseq
