"""A request that rests comes back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.message import Request, parse_message
from sipua.usage.call.packed import PackedRequest
from tests.support.messages import request as make_request

LINES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=60).map(str.strip)


def same(one: Request, other: Request) -> bool:
    return (
        one.encode() == other.encode() and list(one.headers) == list(other.headers) and (one.body, one.sender) == (other.body, other.sender)
    )


@given(values=st.lists(LINES, max_size=8), body=st.binary(max_size=300), sender=st.text(max_size=8))
def test_any_request_comes_back_as_it_was(values: list[str], body: bytes, sender: str) -> None:
    request = make_request("INVITE")
    for number, value in enumerate(values):
        request.headers.add(f"X-Any-{number}", value)
    request.body = body
    request.sender = sender
    assert same(PackedRequest(request).unpack(), request)


def test_octets_that_are_no_utf_8_come_back_as_they_were() -> None:
    data = make_request("INVITE").encode().replace(b"\r\n\r\n", b"\r\nX-Raw: \xff\xfe\r\n\r\n")
    request = parse_message(data)
    assert isinstance(request, Request)
    assert PackedRequest(request).unpack().headers.get("X-Raw") == request.headers.get("X-Raw")


@pytest.mark.parametrize("length", [10, 1000, 8000])
def test_a_long_head_comes_back_whole(length: int) -> None:
    request = make_request("INVITE")
    request.headers.add("X-Long", "".join(chr(33 + (number * number) % 90) for number in range(length)))
    assert same(PackedRequest(request).unpack(), request)


@pytest.mark.parametrize("lines", [[f"X-{number}: 1" for number in range(251)], ["s:" + "a" * 8188]])
def test_what_is_longer_in_full_than_a_peer_may_send_comes_back(lines: list[str]) -> None:
    """A request at the limits: compact names, and no Content-Length."""
    start = ["INVITE sip:a@b SIP/2.0", "v: SIP/2.0/UDP h;branch=z9hG4bKa", "f: <sip:a@b>;tag=1", "t: <sip:b@b>", "i: x", "CSeq: 1 INVITE"]
    request = parse_message("\r\n".join([*start, *lines, "", ""]).encode())
    assert isinstance(request, Request)
    assert same(PackedRequest(request).unpack(), request)


@pytest.mark.parametrize("uri", ["sip:a b@c", "sip:a SIP/2.0", "sip:\udcff@c"])
def test_any_request_uri_comes_back_as_it_was(uri: str) -> None:
    request = Request("INVITE", uri, make_request("INVITE").headers)
    assert PackedRequest(request).unpack().uri == uri


def test_the_head_of_an_invite_takes_less_than_half() -> None:
    request = make_request("INVITE")
    assert len(PackedRequest(request)._head) < len(request.encode()) / 2
