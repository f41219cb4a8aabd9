"""The answer to a broken request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.message import Headers, MessageError, Request, Response, parse_message
from sipua.transport.reject import error_response
from sipua.transport.udp import is_keepalive

VIA = ("Via", "SIP/2.0/UDP h;branch=z9hG4bKx")


def answer(*lines: tuple[str, str], method: str = "OPTIONS") -> Response | None:
    return error_response(Request(method, "sip:b", Headers(lines)), 400, "broken", "new")


def test_what_the_request_has_is_copied_and_to_gets_a_tag() -> None:
    response = answer(VIA, ("Via", "SIP/2.0/UDP g"), ("From", "<sip:a>;tag=1"), ("To", "<sip:b>"), ("CSeq", "x"), ("Subject", "no"))
    assert response is not None
    assert list(response.headers) == [VIA, ("Via", "SIP/2.0/UDP g"), ("From", "<sip:a>;tag=1"), ("To", "<sip:b>;tag=new"), ("CSeq", "x")]
    assert (response.status, response.reason) == (400, "Broken")


@pytest.mark.parametrize("to", ["<sip:b>;tag=old", '"unbalanced <sip:b>', ""])
def test_a_to_with_a_tag_or_that_cannot_be_read_goes_back_as_it_came(to: str) -> None:
    response = answer(VIA, ("To", to))
    assert response is not None
    assert response.headers.get("To") == to


def test_acks_responses_and_messages_without_via_get_no_answer() -> None:
    assert answer(VIA, method="ACK") is None
    assert answer(("To", "<sip:b>")) is None
    assert error_response(Response(200, "OK", Headers([VIA])), 400, "broken", "t") is None
    assert error_response(None, 400, "broken", "t") is None


@given(st.binary(max_size=120))
def test_every_answer_can_be_written_on_the_wire(data: bytes) -> None:
    try:
        parse_message(b"OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nTo: " + data)
    except MessageError as error:
        response = error_response(error.message, error.status, error.reason, "t")
        if response is not None:
            assert response.encode().startswith(b"SIP/2.0 ")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", True),
        (b"\r\n\r\n", True),
        (b"\r\n" * 10, True),
        (bytes(4), True),
        (bytes(8), False),
        (b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), True),
        (b"\r\nOPTIONS", False),
        (b"BYE ", False),
    ],
)
def test_keepalives_are_told_from_messages(data: bytes, expected: bool) -> None:
    assert is_keepalive(data) is expected
