"""Bodies as real notifiers send them, broken ones, and noise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.usage.subscription.sipfrag import MAX_SIPFRAG_BYTES, Sipfrag, Unreadable, parse_sipfrag

SIPFRAG = "message/sipfrag;version=2.0"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"SIP/2.0 100 Trying\r\n", 100, "Trying"),
        (b"SIP/2.0 200 OK", 200, "OK"),
        (b"SIP/2.0 200 OK\n", 200, "OK"),
        (b"SIP/2.0 200 OK\r", 200, "OK"),
        (b"SIP/2.0 200", 200, ""),
        (b"SIP/2.0 200 ", 200, ""),
        (b"sip/2.0  486   Busy Here \r\n", 486, "Busy Here"),
        (b"SIP/2.0 486 486\r\n", 486, "486"),  # FreeSWITCH writes the code where the phrase belongs
        (b"\xef\xbb\xbfSIP/2.0 180 Ringing\r\n", 180, "Ringing"),
        (b"\r\n\r\nSIP/2.0 699 Last\r\n", 699, "Last"),
        (b"SIP/2.0 404 Not Found\r\n\r\nignored", 404, "Not Found"),
        (b"SIP/2.0 603 \xff\xfe\r\n", 603, "\\udcff\\udcfe"),
        (b"SIP/2.0 480 a\tb", 480, "a\\tb"),
    ],
)
def test_status_line_is_read(body: bytes, status: int, reason: str) -> None:
    assert parse_sipfrag(SIPFRAG, body) == Sipfrag(status, reason)


@pytest.mark.parametrize(
    "body",
    [
        b"SIP/2.0",
        b"SIP/2.0 ",
        b"404 Not Found",
        b"SIP/2.0 099 Low",
        b"SIP/2.0 42 Short",
        b"SIP/2.0 700 High",
        b"SIP/2.0 2000 Long",
        b"SIP/2.0 200OK",
        b"SIP/2.0 20\xd9\xa0 OK",
        b"SIP/3.0 200 OK",
        b"HTTP/1.1 200 OK",
        b"INVITE sip:a@b SIP/2.0\r\n",
        b"From: <sip:a@b>\r\n",
        b"\x00\x01\x02",
    ],
)
def test_body_without_status_line_is_answered_400(body: bytes) -> None:
    fragment = parse_sipfrag(SIPFRAG, body)
    assert isinstance(fragment, Unreadable)
    assert fragment.answer == 400


@pytest.mark.parametrize("content_type", [SIPFRAG, None, "image/png"])
@pytest.mark.parametrize("body", [b"", b"\r\n", b" \r\n\r\n"])
def test_empty_body_is_answered_200(content_type: str | None, body: bytes) -> None:
    assert parse_sipfrag(content_type, body) == Unreadable(200, "empty body")


@pytest.mark.parametrize(
    "content_type",
    ["message/sipfrag", "Message/SipFrag ; Version=1.0", "message/sip", "message / sipfrag", None, 'message/sipfrag;charset="utf-8"'],
)
def test_type_is_taken_in_any_spelling(content_type: str | None) -> None:
    assert parse_sipfrag(content_type, b"SIP/2.0 200 OK\r\n") == Sipfrag(200, "OK")


@pytest.mark.parametrize(
    ("content_type", "answer"),
    [("application/sdp", 415), ("text/plain", 415), ("message/sipfragment", 415), (";", 400), ("", 400), ("a b c", 400)],
)
def test_other_types_are_refused(content_type: str, answer: int) -> None:
    fragment = parse_sipfrag(content_type, b"SIP/2.0 200 OK\r\n")
    assert isinstance(fragment, Unreadable)
    assert fragment.answer == answer
    assert fragment.why.isprintable()


def test_body_without_type_must_be_plainly_a_status_line() -> None:
    assert parse_sipfrag(None, b"OK 200") == Unreadable(400, "body without Content-Type")


def test_headers_are_kept_for_the_log() -> None:
    body = b"SIP/2.0 302 Moved\r\nContact: <sip:x@y>\r\nrubbish\r\nWarning: 399 a\r\n  b\x07\r\n\r\nNot: read\r\n"
    assert parse_sipfrag(SIPFRAG, body) == Sipfrag(302, "Moved", (("Contact", "<sip:x@y>"), ("Warning", "399 a b\\x07")))


def test_long_texts_are_cut() -> None:
    fragment = parse_sipfrag(SIPFRAG, b"SIP/2.0 500 " + b"x" * 10_000 + b"\r\n" + b"A: b\r\n" * 1000)
    assert isinstance(fragment, Sipfrag)
    assert len(fragment.reason) <= 101
    many = parse_sipfrag(SIPFRAG, b"SIP/2.0 500 x\r\n" + b"A: b\r\n" * 1000)
    assert isinstance(many, Sipfrag)
    assert len(many.headers) == 32


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("boundary", ["frontier", '"a: b"'])
def test_first_sipfrag_of_a_multipart_body_is_read(end: bytes, boundary: str) -> None:
    mark = b"--" + boundary.strip('"').encode()
    lines = [
        b"preamble",
        mark,
        b"Content-Type: text/plain",
        b"",
        b"SIP/2.0 500 no",
        mark,
        b"content-type: message/sipfrag;version=2.0",
        b"Content-ID: 1",
        b"",
        b"SIP/2.0 486 Busy Here",
        mark,
        b"Content-Type: message/sipfrag",
        b"",
        b"SIP/2.0 200 OK",
        mark + b"--",
        b"",
    ]
    assert parse_sipfrag(f"multipart/mixed;boundary={boundary}", end.join(lines)) == Sipfrag(486, "Busy Here")


@pytest.mark.parametrize(
    ("content_type", "body", "answer"),
    [
        ("multipart/mixed", b"--x\r\nContent-Type: message/sipfrag\r\n\r\nSIP/2.0 200 OK\r\n--x--", 400),
        ("multipart/mixed;boundary=x", b"--x\r\nContent-Type: text/plain\r\n\r\nSIP/2.0 200 OK\r\n--x--", 415),
        ("multipart/mixed;boundary=x", b"--x--\r\n--x\r\nContent-Type: message/sipfrag\r\n\r\nSIP/2.0 200 OK", 415),
        ("multipart/mixed;boundary=x", b"--x\r\nContent-Type: message/sipfrag\r\n\r\nrubbish\r\n--x--", 400),
        ("multipart/mixed;boundary=x", b"--x\r\nContent-Type: message/sipfrag\r\n\r\n\r\n--x--", 200),
        ("multipart/mixed;boundary=x", b"--x\r\n\r\n" * 500 + b"--x\r\nContent-Type: message/sipfrag\r\n\r\nSIP/2.0 200 OK", 415),
    ],
)
def test_multipart_body_without_readable_sipfrag(content_type: str, body: bytes, answer: int) -> None:
    fragment = parse_sipfrag(content_type, body)
    assert isinstance(fragment, Unreadable)
    assert fragment.answer == answer


@given(st.none() | st.sampled_from([SIPFRAG, "multipart/mixed;boundary=x"]) | st.text(max_size=40), st.binary(max_size=200))
def test_noise_never_raises(content_type: str | None, body: bytes) -> None:
    fragment = parse_sipfrag(content_type, body)
    if isinstance(fragment, Sipfrag):
        assert 100 <= fragment.status <= 699
    else:
        assert fragment.answer in (200, 400, 415)


@given(st.integers(100, 699), st.text(max_size=120), st.sampled_from(["", "\r\n", "\n", "\r\n\r\n"]))
def test_every_status_with_any_reason_is_read(status: int, reason: str, end: str) -> None:
    fragment = parse_sipfrag(SIPFRAG, f"SIP/2.0 {status} {reason}{end}".encode("utf-8", "replace"))
    assert isinstance(fragment, Sipfrag)
    assert fragment.status == status
    assert fragment.reason.isprintable()


def test_size_is_bounded() -> None:
    assert parse_sipfrag(SIPFRAG, b"\r\n" * MAX_SIPFRAG_BYTES + b"SIP/2.0 200 OK") == Unreadable(200, "empty body")
