"""Datagrams to messages (RFC 3261 §7, §18.3)."""

import contextlib
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.message import MAX_MESSAGE_BYTES, MessageError, Request, Response, parse_message
from sipua.message.parser import MAX_BODY_BYTES, MAX_HEADER_LINES, MAX_LINE_BYTES

HEAD = (
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKb1\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: <sip:alice@example.com>;tag=a1\r\n"
    b"To: <sip:bob@example.net>\r\n"
    b"Call-ID: c1@192.0.2.1\r\n"
)
INVITE = b"INVITE sip:bob@example.net SIP/2.0\r\n" + HEAD + b"CSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nbody"
OK = b"SIP/2.0 200 OK\r\n" + HEAD + b"CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"


def invite(extra: bytes = b"", body: bytes = b"", length: bytes | None = None) -> bytes:
    size = str(len(body)).encode() if length is None else length
    end = b"Content-Length: " + size + b"\r\n\r\n"
    return b"INVITE sip:bob@example.net SIP/2.0\r\n" + HEAD + b"CSeq: 1 INVITE\r\n" + extra + end + body


def error(data: bytes) -> MessageError:
    with pytest.raises(MessageError) as caught:
        parse_message(data)
    return caught.value


def parse_request(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def test_a_request_is_read() -> None:
    message = parse_request(INVITE)
    assert (message.method, message.uri, message.body) == ("INVITE", "sip:bob@example.net", b"body")
    assert message.request_uri.host == "example.net"
    assert message.via.branch == "z9hG4bKb1"
    assert message.cseq == (1, "INVITE")
    assert message.from_.tag == "a1"
    assert message.to.tag == ""
    assert "Content-Length" not in message.headers


def test_a_response_is_read() -> None:
    message = parse_message(OK)
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (200, "OK")


@pytest.mark.parametrize(
    ("line", "reason"), [(b"SIP/2.0 180 ", ""), (b"SIP/2.0 180", ""), ("SIP/2.0 180 Läutet".encode(), "Läutet"), (b"sip/2.0 180 x", "x")]
)
def test_a_reason_phrase_may_be_empty_missing_or_utf_8(line: bytes, reason: str) -> None:
    message = parse_message(OK.replace(b"SIP/2.0 200 OK", line))
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (180, reason)


@pytest.mark.parametrize(
    "line", [b"SIP/2.0 700 x", b"SIP/2.0 099 x", b"SIP/2.0 20 x", b"SIP/2.0 2000 x", b"SIP/2.0  200 OK", b"", b"junk", b"SIP/2.0"]
)
def test_a_broken_status_line_cannot_be_answered(line: bytes) -> None:
    assert error(OK.replace(b"SIP/2.0 200 OK", line)).message is None


def test_white_space_behind_the_request_line_is_passed_over() -> None:
    """RFC 4475 §3.1.2.10: a lenient reader may take it."""
    assert parse_message(INVITE.replace(b" SIP/2.0\r\n", b" SIP/2.0  \r\n", 1)) is not None


@pytest.mark.parametrize(
    "line",
    [
        b"INVITE sip:bob@example.net",
        b"INVITE  SIP/2.0",
        b"INV{ITE sip:b@c SIP/2.0",
        b" INVITE sip:b@c SIP/2.0",
        b"INVITE sip:b@c HTTP/1.1",
        b"INVITE sip:b@c\r\n SIP/2.0",
        b"INVITE sip:b@c SIP/2.0\r\n ",
    ],
)
def test_a_broken_request_line_is_refused(line: bytes) -> None:
    assert error(INVITE.replace(b"INVITE sip:bob@example.net SIP/2.0", line)).status == 400


@pytest.mark.parametrize("uri", [b"<sip:bob@example.net>", b"sip:bob@example.net; lr", b"sip:bob@example.net ", b"bob", b"sip:"])
def test_a_request_uri_with_brackets_or_white_space_is_refused_with_400(uri: bytes) -> None:
    fault = error(INVITE.replace(b"INVITE sip:bob@example.net", b"INVITE " + uri, 1))
    assert fault.status == 400
    assert isinstance(fault.message, Request)


def test_another_version_is_refused_with_505() -> None:
    fault = error(INVITE.replace(b"SIP/2.0", b"SIP/7.0", 1))
    assert fault.status == 505
    assert fault.message is not None


def test_folded_lines_become_one() -> None:
    message = parse_message(invite(b"Subject: one\r\n two\r\n\t three \r\n"))
    assert message.headers.get("Subject") == "one two three"


def test_bare_line_feeds_and_mixed_line_ends_are_read() -> None:
    assert parse_message(INVITE.replace(b"\r\n", b"\n")).headers == parse_message(INVITE).headers
    assert parse_message(INVITE.replace(b"70\r\n", b"70\n")).headers == parse_message(INVITE).headers


def test_line_ends_before_the_start_line_are_skipped() -> None:
    assert parse_message(b"\r\n\r\n" + INVITE).body == b"body"


def test_white_space_before_the_colon_and_compact_names_are_read() -> None:
    data = INVITE.replace(b"Via:", b"v  :").replace(b"From:", b"F\t:").replace(b"Call-ID:", b"i:").replace(b"Content-Length:", b"L :")
    assert parse_message(data).headers == parse_message(INVITE).headers


def test_octets_behind_the_body_are_dropped() -> None:
    assert parse_message(INVITE + b"more").body == b"body"


def test_without_content_length_the_body_is_the_rest() -> None:
    assert parse_message(INVITE.replace(b"Content-Length: 4\r\n", b"") + b"more").body == b"bodymore"


@pytest.mark.parametrize(
    ("length", "status"),
    [(b"5", 400), (b"-1", 400), (b"+4", 400), (b"4.0", 400), (b"", 400), (b"\xd9\xa4", 400), (b"99999999999", 513), (b"65536", 513)],
)
def test_a_content_length_that_is_wrong_is_refused(length: bytes, status: int) -> None:
    fault = error(invite(body=b"body", length=length))
    assert fault.status == status
    assert isinstance(fault.message, Request)
    assert fault.message.call_id == "c1@192.0.2.1"


def test_two_content_lengths_are_refused_even_when_they_agree() -> None:
    assert error(invite(b"l: 4\r\n", b"body")).status == 400


@pytest.mark.parametrize("name", [b"Via", b"From", b"To", b"Call-ID", b"CSeq"])
def test_a_message_without_a_mandatory_header_is_refused(name: bytes) -> None:
    for message in (INVITE, OK):
        assert error(message.replace(name + b":", b"X-Gone:")).status == 400


def test_max_forwards_may_be_missing() -> None:
    assert parse_message(INVITE.replace(b"Max-Forwards: 70\r\n", b"")).max_forwards is None


@pytest.mark.parametrize(
    "line",
    [
        b"Call-ID: c2",
        b"To: <sip:x@example.com>",
        b"f: <sip:x@example.com>",
        b"CSeq: 1 INVITE",
        b"Max-Forwards: 70",
        b"Refer-To: <sip:x@example.com>\r\nRefer-To: <sip:y@example.com>",
        b"Event: refer\r\no: refer",
        b"Subscription-State: active\r\nSubscription-State: active",
    ],
)
def test_a_second_line_of_a_header_that_stands_once_is_refused(line: bytes) -> None:
    assert error(invite(line + b"\r\n")).status == 400


@pytest.mark.parametrize("value", [b"2 INVITE", b"4294967295 INVITE", b"0 INVITE", b"  7\t INVITE"])
def test_a_cseq_below_2_to_32_is_read(value: bytes) -> None:
    assert parse_message(INVITE.replace(b"1 INVITE", value)).cseq.method == "INVITE"


@pytest.mark.parametrize(
    "value", [b"4294967296 INVITE", b"-1 INVITE", b"INVITE", b"1", b"1 INVITE x", b"1 BYE", b"1 invite", b"99999999999999999999 INVITE"]
)
def test_a_broken_or_foreign_cseq_is_refused(value: bytes) -> None:
    assert error(INVITE.replace(b"1 INVITE", value)).status == 400


def test_a_response_may_carry_any_cseq_method() -> None:
    assert parse_message(OK.replace(b"1 INVITE", b"1 NOTIFY")).cseq.method == "NOTIFY"


@pytest.mark.parametrize("line", [b"no colon", b": no name", b"two words: x", b"X-\xc3\xa4: x", b"X: a\rb"])
def test_a_line_that_is_no_header_is_refused_but_can_be_answered(line: bytes) -> None:
    fault = error(invite(line + b"\r\n"))
    assert fault.status == 400
    assert fault.message is not None
    assert fault.message.via.branch == "z9hG4bKb1"


def test_undecodable_bytes_survive_a_round_trip() -> None:
    message = parse_message(invite(b"Subject: \xff\xfe\r\n"))
    assert b"Subject: \xff\xfe\r\n" in message.encode()


def test_unknown_headers_keep_order_and_values() -> None:
    message = parse_message(invite(b"x-a: 1\r\nX-B:2\r\nX-A:  3 \r\n"))
    assert message.headers.lines("X-A") == ["1", "3"]
    assert message.headers.get("X-B") == "2"


def test_a_broken_header_that_the_parser_does_not_need_is_left_alone() -> None:
    message = parse_message(invite(b"Contact: <broken\r\nExpires: soon\r\nDate: yesterday\r\n"))
    assert message.headers.get("Contact") == "<broken"


def test_limits() -> None:
    assert error(b"x" * (MAX_MESSAGE_BYTES + 1)).status == 513
    fault = error(invite(b"X: y\r\n" * MAX_HEADER_LINES))
    assert fault.status == 513
    assert fault.message is not None
    assert fault.message.call_id == "c1@192.0.2.1"
    assert error(invite(b"X: " + b"y" * MAX_LINE_BYTES + b"\r\n")).status == 513
    assert error(INVITE.replace(b"bob", b"b" * MAX_LINE_BYTES, 1)).status == 513
    assert MAX_BODY_BYTES <= MAX_MESSAGE_BYTES


def test_what_is_read_is_written_again() -> None:
    assert parse_message(INVITE).encode() == INVITE
    assert parse_message(OK).encode() == OK


def parsed_or_refused(data: bytes) -> Request | Response | None:
    status = 400
    message = None
    try:
        message = parse_message(data)
    except MessageError as fault:
        status = fault.status
    assert 400 <= status < 600
    return message


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_a_message_error(data: bytes) -> None:
    parsed_or_refused(data)


@given(st.data())
def test_a_valid_message_with_damage_gives_a_message_or_a_message_error(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from([INVITE, OK]))
    start = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(start, min(len(original), start + 20)))
    damaged = original[:start] + data.draw(st.binary(max_size=12)) + original[end:]
    message = parsed_or_refused(damaged)
    if message is not None:
        again = parse_message(message.encode())
        assert again.headers == message.headers
        assert again.body == message.body
        assert again.start_line == message.start_line


@pytest.mark.cpython
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Content-Length: 4", b"Content-Length: four"),
        (b"Content-Length: 4", b"Content-Length: 99999"),
        (b"Content-Length: 4", b"Content-Length: 5"),
        (b"CSeq: 1 INVITE", b"CSeq 1 INVITE"),
        (b"CSeq: 1 INVITE", b"CSeq: 1 BYE"),
        (b"CSeq: 1 INVITE", b"CSeq: one"),
        (b"CSeq: 1 INVITE", b"X: " + b"x" * MAX_LINE_BYTES),
        (b"INVITE sip:bob", b"INVITE bob"),
        (b"SIP/2.0\r\n", b"SIP/3.0\r\n"),
        (b"SIP/2.0\r\n", b"SIP\r\n"),
    ],
)
def test_a_refused_message_leaves_no_circle(old: bytes, new: bytes) -> None:
    data = INVITE.replace(old, new, 1)
    with pytest.raises(MessageError):
        parse_message(data)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with contextlib.suppress(MessageError):
                parse_message(data)
        assert gc.collect() == 0
    finally:
        gc.enable()
