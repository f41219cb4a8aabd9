"""Messages that follow from others (RFC 3261 §8.2.6, §9.1, §17.1.1.3)."""

import pytest

from sipua.message import copy_record_route, make_ack, make_cancel, make_response, parse_message
from sipua.transport.route import stamp_request
from tests.support.messages import request


def test_a_response_copies_what_it_must_in_order() -> None:
    invite = request("INVITE")
    invite.headers.add("Via", "SIP/2.0/TCP proxy;branch=z9hG4bKp, SIP/2.0/UDP far")
    invite.headers.add("Record-Route", "<sip:p1;lr>")
    invite.headers.add("Record-Route", "<sip:p2;lr>")
    answer = make_response(invite, 180, to_tag="b1")
    assert answer.headers.lines("Via") == invite.headers.lines("Via")
    for name in ("From", "Call-ID", "CSeq"):
        assert answer.headers.get(name) == invite.headers.get(name)
    assert answer.headers.get("To") == f"{invite.headers.get('To')};tag=b1"
    assert "Record-Route" not in answer.headers
    copy_record_route(invite, answer)
    assert answer.headers.lines("Record-Route") == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert parse_message(answer.encode()).headers == answer.headers


@pytest.mark.parametrize("via", ["SIP/2.0/UDP h;branch=z9hG4bK1", "SIP/2.0/UDP h;branch=z9hG4bK1, SIP/2.0/TCP far;branch=z9hG4bK0"])
def test_a_response_has_the_via_of_its_request_as_it_was_stamped(via: str) -> None:
    made = request("INVITE")
    made.headers.set("Via", via)
    for stamped in (False, True):
        if stamped:
            stamp_request(made, "192.0.2.9", 1234)
        assert made.via.received == ("192.0.2.9" if stamped else "")
        answer = make_response(made, 200)
        known = answer.via
        again = parse_message(answer.encode())
        assert (known, answer.vias) == (again.via, again.vias) == (made.via, made.vias)


def test_a_100_has_no_tag_and_carries_the_timestamp() -> None:
    invite = request("INVITE")
    invite.headers.add("Timestamp", "54")
    trying = make_response(invite, 100, to_tag="b1")
    assert trying.to.tag == ""
    assert trying.headers.get("Timestamp") == "54"
    assert "Timestamp" not in make_response(invite, 200, to_tag="b1").headers


def test_a_tag_of_the_request_stays() -> None:
    assert make_response(request("BYE", to_tag="old"), 200, to_tag="new").to.tag == "old"


def test_a_reason_may_be_given() -> None:
    assert make_response(request(), 400, "Two To headers").start_line == "SIP/2.0 400 Two To headers"


@pytest.mark.parametrize("routes", [[], ["<sip:p1;lr>", "<sip:p2;lr>"]])
def test_ack_and_cancel_follow_their_invite(routes: list[str]) -> None:
    invite = request("INVITE", cseq=7)
    invite.headers.add("Via", "SIP/2.0/UDP lower;branch=z9hG4bKlower")
    for route in routes:
        invite.headers.add("Route", route)
    invite.headers.add("Require", "100rel")
    invite.set_body(b"v=0", "application/sdp")
    ack = make_ack(invite, make_response(invite, 486, to_tag="busy"))
    cancel = make_cancel(invite)
    assert (ack.to.tag, cancel.to.tag) == ("busy", "")
    for message, method in ((ack, "ACK"), (cancel, "CANCEL")):
        assert (message.method, message.uri, message.body) == (method, invite.uri, b"")
        assert message.cseq == (7, method)
        assert message.headers.lines("Via") == [str(invite.via)]
        assert message.headers.lines("Route") == routes
        assert message.headers.get("From") == invite.headers.get("From")
        assert message.call_id == invite.call_id
        assert message.max_forwards == 70
        assert "Require" not in message.headers
        assert parse_message(message.encode()).headers == message.headers


def test_a_quoted_parameter_of_a_via_is_no_obstacle() -> None:
    made = request("INVITE")
    made.headers.set("Via", 'SIP/2.0/UDP 203.0.113.5:53;x="<a;b>";rport;branch=z9hG4bK1, SIP/2.0/UDP far')
    stamp_request(made, "192.0.2.9", 1234)
    answer = parse_message(make_response(made, 200).encode())
    assert (answer.via.received, answer.via.rport, len(answer.vias)) == ("192.0.2.9", 1234, 2)
