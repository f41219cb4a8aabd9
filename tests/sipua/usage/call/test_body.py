"""Which part of a message is the session description, and what would have to be understood (RFC 3261 §8.2.3, RFC 5621)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.message import Request
from sipua.usage.call.body import is_foreign_body, sdp_of
from tests.support.messages import request

SDP = b"v=0\r\n"


def part(content_type: str, body: bytes = SDP, *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"Content-Type: {content_type}", *headers))
    return b"--b1\r\n" + head.encode() + b"\r\n" + body + b"\r\n"


def made(content_type: str, body: bytes, **headers: str) -> Request:
    message = request("INVITE")
    message.set_body(body, content_type)
    for name, value in headers.items():
        message.headers.set(name.replace("_", "-"), value)
    return message


MIXED = "multipart/mixed;boundary=b1"
SDP_PART = part("application/sdp")
END = b"--b1--\r\n"
XML = part("application/rs-metadata+xml", b"<x/>")
ISUP = part("application/isup;version=itu-t92+", b"\x01\x02", "Content-Disposition: signal;handling=optional")
NESTED = b"--o\r\nContent-Type: multipart/alternative;boundary=b1\r\n\r\n" + XML + SDP_PART + END + b"\r\n--o--\r\n"


@pytest.mark.parametrize(
    ("message", "has_session", "is_foreign"),
    [
        (made("application/sdp", SDP), True, False),
        (made("Application/SDP;charset=utf-8", SDP), True, False),
        (made("application/sdp", b""), False, False),
        (made("application/sdp", SDP, Content_Disposition="session;handling=required"), True, False),
        (made("application/sdp", SDP, Content_Disposition="session;handling=optional"), True, False),
        (made("application/sdp", SDP, Content_Disposition="early-session"), False, True),
        (made("application/sdp", SDP, Content_Disposition="early-session;handling=optional"), False, False),
        (made("application/sdp", SDP, Content_Language="de"), True, False),
        (made("text/plain", b"hi"), False, True),
        (made("text/plain", b"hi", Content_Disposition="render;handling=optional"), False, False),
        (made(MIXED, SDP_PART + END), True, False),
        (made(MIXED, SDP_PART + ISUP + END), True, False),
        (made(MIXED, ISUP + SDP_PART + END), True, False),
        (made(MIXED, SDP_PART + XML + END), True, True),
        (made(MIXED, ISUP + END), False, False),
        (made(MIXED, part("application/sdp", SDP, "Content-Transfer-Encoding: base64") + END), False, True),
        (made(MIXED, part("application/sdp", SDP, "Content-Encoding: gzip") + END), False, True),
        (made("multipart/alternative;boundary=b1", XML + SDP_PART + END), True, False),
        (made("multipart/alternative;boundary=b1", XML + END), False, True),
        (made("multipart/mixed;boundary=o", NESTED), True, False),
        (made("multipart/unknown;boundary=b1", SDP_PART + XML + END), True, True),
    ],
)
def test_bodies_of_every_kind(message: Request, has_session: bool, is_foreign: bool) -> None:
    assert (sdp_of(message) == SDP) is has_session
    assert is_foreign_body(message) is is_foreign


def test_parts_in_parts_in_parts_are_not_searched() -> None:
    deep, boundary = SDP_PART + END, "b1"
    for outer in ("o1", "o2", "o3"):
        deep = f"--{outer}\r\nContent-Type: multipart/mixed;boundary={boundary}\r\n\r\n".encode() + deep + f"\r\n--{outer}--\r\n".encode()
        boundary = outer
    message = made(f"multipart/mixed;boundary={boundary}", deep)
    assert sdp_of(message) is None
    assert is_foreign_body(message)


@pytest.mark.parametrize("content_type", ["multipart/mixed", "multipart/mixed;boundary=zz", ";;"])
def test_a_broken_multipart_is_no_description_and_a_parse_error(content_type: str) -> None:
    message = made(content_type, SDP_PART + END)
    assert sdp_of(message) is None
    with pytest.raises(ParseError):
        is_foreign_body(message)


def test_a_body_without_a_type_is_foreign() -> None:
    message = request("INVITE")
    message.body = b"v=0\r\n"
    assert sdp_of(message) is None
    assert is_foreign_body(message)


@given(st.lists(st.sampled_from([SDP_PART, XML, ISUP, END, b"--b1", b"\r\n", b"x"]), max_size=12), st.text(max_size=20))
def test_any_body_is_judged_without_other_errors(pieces: list[bytes], extra: str) -> None:
    message = request("INVITE")
    message.body = b"".join(pieces)
    message.headers.add("Content-Type", MIXED if len(extra) % 2 else extra.replace("\r", "").replace("\n", ""))
    found = sdp_of(message)
    assert found is None or found.startswith(SDP)
    try:
        is_foreign_body(message)
    except ParseError:
        return
