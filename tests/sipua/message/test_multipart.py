"""Bodies of several parts (RFC 5621 §3, RFC 2046 §5.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.message import Value
from sipua.message.multipart import MAX_PARTS, split_parts

MIXED = Value.parse("multipart/mixed;boundary=b1")
BODY = (
    b"a preamble\r\n--b1\r\nContent-Type: application/sdp\r\nContent-Disposition: session\r\n\r\nv=0\r\n\r\n"
    b"--b1 \t\r\ncontent-type: text/plain\r\nX-Folded: a\r\n b\r\n\r\nhello\r\n--b1x is no delimiter\r\n--b1--\r\n"
    b"an epilogue\r\n--b1\r\n\r\nno"
)


def test_parts_have_headers_and_a_body() -> None:
    sdp, text = split_parts(BODY, MIXED)
    assert (sdp.type.value, sdp.body) == ("application/sdp", b"v=0\r\n")
    assert sdp.disposition == Value.parse("session")
    assert (text.headers.get("Content-Type"), text.headers.get("X-Folded")) == ("text/plain", "a b")
    assert text.disposition is None


def test_a_part_without_headers_is_plain_text() -> None:
    (part,) = split_parts(b"--b1\r\n\r\nhi\r\n--b1--", MIXED)
    assert (part.type.value, part.body) == ("text/plain", b"hi")


def test_a_missing_last_delimiter_is_forgiven() -> None:
    (part,) = split_parts(b"--b1\r\n\r\nhi", MIXED)
    assert part.body == b"hi"


def test_a_quoted_boundary() -> None:
    (part,) = split_parts(b"--a b:c\r\n\r\nhi\r\n--a b:c--", Value.parse('multipart/mixed;boundary="a b:c"'))
    assert part.body == b"hi"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (BODY, "multipart/mixed"),
        (BODY, "multipart/mixed;boundary="),
        (BODY, f"multipart/mixed;boundary={'b' * 71}"),
        (BODY, "multipart/mixed;boundary=other"),
        (b"", "multipart/mixed;boundary=b1"),
        (b"--b1--", "multipart/mixed;boundary=b1"),
        (b"--b1\r\nno colon\r\n\r\nx", "multipart/mixed;boundary=b1"),
        (b"--b1\r\na: b\nc: d\r\n\r\nx", "multipart/mixed;boundary=b1"),
        (b"--b1\r\n" + b"a: b\r\n" * 40 + b"\r\nx", "multipart/mixed;boundary=b1"),
        (b"--b1\r\n\r\nx\r\n" * (MAX_PARTS + 1), "multipart/mixed;boundary=b1"),
    ],
)
def test_broken_bodies(body: bytes, content_type: str) -> None:
    with pytest.raises(ParseError):
        split_parts(body, Value.parse(content_type))


@given(st.lists(st.sampled_from([b"--b1", b"--", b"\r\n", b"\n", b"a: b", b"Content-Type: x", b"\x00\xff", b" "]), max_size=40))
def test_any_octets_are_parts_or_a_parse_error(pieces: list[bytes]) -> None:
    try:
        parts = split_parts(b"".join(pieces), MIXED)
    except ParseError:
        return
    assert 1 <= len(parts) <= MAX_PARTS


@given(st.lists(st.binary(max_size=30).filter(lambda body: b"--b1" not in body), min_size=1, max_size=MAX_PARTS))
def test_what_was_put_in_comes_out(bodies: list[bytes]) -> None:
    whole = b"".join(b"--b1\r\nContent-Type: a/b\r\n\r\n" + body + b"\r\n" for body in bodies) + b"--b1--\r\n"
    assert [part.body for part in split_parts(whole, MIXED)] == bodies
