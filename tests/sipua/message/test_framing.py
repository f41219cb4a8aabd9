"""A byte stream to messages (RFC 3261 §18.3, RFC 5626 §4.4.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.message import Broken, Frame, Message, Ping, Request, StreamFramer
from sipua.message.parser import MAX_LINE_BYTES

HEAD = (
    b"Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bKb1\r\n"
    b"From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.net>;tag=b1\r\nCall-ID: c1\r\n"
)


def info(body: bytes = b"", cseq: int = 1, length: bytes | None = None) -> bytes:
    size = b"Content-Length: " + (str(len(body)).encode() if length is None else length) + b"\r\n"
    return b"INFO sip:bob@192.0.2.2 SIP/2.0\r\n" + HEAD + f"CSeq: {cseq} INFO\r\n".encode() + size + b"\r\n" + body


def bodies(frames: list[Frame]) -> list[bytes]:
    return [frame.body for frame in frames if isinstance(frame, Message)]


def test_two_messages_in_one_read_are_two() -> None:
    frames = StreamFramer().feed(info(b"one") + info(b"two", 2))
    assert bodies(frames) == [b"one", b"two"]


def test_a_message_in_single_bytes_is_complete_with_the_last() -> None:
    framer = StreamFramer()
    data = info(b"body")
    for index in range(len(data) - 1):
        assert framer.feed(data[index : index + 1]) == []
        assert framer.is_partial
    assert bodies(framer.feed(data[-1:])) == [b"body"]
    assert not framer.is_partial


def test_a_body_may_look_like_a_message_and_hold_line_ends() -> None:
    inner = b"\r\n\r\n" + info(b"x")
    assert bodies(StreamFramer().feed(info(inner) + info(b"after", 2))) == [inner, b"after"]


def test_without_content_length_the_body_is_empty() -> None:
    data = info(b"").replace(b"Content-Length: 0\r\n", b"")
    assert bodies(StreamFramer().feed(data + info(b"next", 2))) == [b"", b"next"]


def test_a_double_line_end_is_a_ping_also_between_messages() -> None:
    frames = StreamFramer().feed(b"\r\n\r\n" + info(b"a") + b"\r\n\r\n" + info(b"b", 2) + b"\r\n\r\n")
    assert [type(frame) for frame in frames] == [Ping, Request, Ping, Request, Ping]


def test_a_ping_may_come_in_pieces() -> None:
    framer = StreamFramer()
    assert [framer.feed(piece) for piece in (b"\r", b"\n", b"\r", b"\n")] == [[], [], [], [Ping()]]


def test_a_single_line_end_is_swallowed() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r\n") == []
    assert not framer.is_partial  # a pong must not look like the begin of a message that never comes
    assert bodies(framer.feed(info(b"a"))) == [b"a"]


@pytest.mark.parametrize("length", [b"x", b"-1", b"99999999", b""])
def test_a_broken_content_length_loses_the_boundary(length: bytes) -> None:
    frames = StreamFramer().feed(info(b"body", length=length) + info(b"next", 2))
    assert len(frames) == 1
    assert isinstance(frames[0], Broken)
    assert frames[0].fatal
    assert frames[0].error.message is not None
    assert frames[0].error.message.call_id == "c1"


def test_a_fault_with_a_good_content_length_costs_only_its_message() -> None:
    bad = info(b"body").replace(b"1 INFO", b"1 BYE")
    frames = StreamFramer().feed(bad + info(b"next", 2))
    assert isinstance(frames[0], Broken)
    assert not frames[0].fatal
    assert frames[0].error.status == 400
    assert bodies(frames[1:]) == [b"next"]


def test_a_head_without_end_is_refused_at_the_limit() -> None:
    framer = StreamFramer(1000)
    frames: list[Frame] = []
    for _ in range(20):
        frames += framer.feed(b"X: " + b"y" * 97)
        if frames:
            break
    assert isinstance(frames[0], Broken)
    assert frames[0].fatal
    assert frames[0].error.status == 513


def test_a_message_above_the_limit_is_refused_before_its_body_comes() -> None:
    frames = StreamFramer(1000).feed(info(length=b"900"))
    assert isinstance(frames[0], Broken)
    assert frames[0].error.status == 513
    assert frames[0].error.message is not None


def test_junk_is_fatal() -> None:
    frames = StreamFramer().feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert isinstance(frames[0], Broken)
    assert frames[0].fatal


@given(st.lists(st.one_of(st.just(b"\r\n\r\n"), st.binary(max_size=30)), min_size=1, max_size=5), st.data())
def test_the_frames_do_not_depend_on_the_reads(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(part if part == b"\r\n\r\n" else info(part, number) for number, part in enumerate(parts))
    whole = StreamFramer().feed(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    framer = StreamFramer()
    pieces: list[Frame] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        pieces += framer.feed(stream[start:end])
    assert [frame.encode() if isinstance(frame, Message) else frame for frame in pieces] == [
        frame.encode() if isinstance(frame, Message) else frame for frame in whole
    ]
    assert len(whole) == len(parts)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_raise_nothing(chunks: list[bytes]) -> None:
    framer = StreamFramer(200)
    for chunk in chunks:
        if any(isinstance(frame, Broken) and frame.fatal for frame in framer.feed(chunk)):
            break


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"\x16\x03\x01\x02", b"SIP/2.0 99999 OK", b"INVITE sip:a@b HTTP/1.1", b" "])
def test_a_first_line_that_begins_no_message_is_not_waited_on(line: bytes) -> None:
    framer = StreamFramer()
    assert framer.feed(line) == []
    (frame,) = framer.feed(b"\r\nVia: SIP/2.0/TCP 192.0.2.1\r\n")
    assert isinstance(frame, Broken)
    assert frame.fatal


def test_a_first_line_is_judged_once_and_for_each_message_anew() -> None:
    framer = StreamFramer()
    assert framer.feed(b"INFO sip:a@b SIP/2.0\r\n") == []
    (broken,) = framer.feed(b"junk\r\n\r\n")
    assert isinstance(broken, Broken)
    framer = StreamFramer()
    assert bodies(framer.feed(info(b"one"))) == [b"one"]
    (frame,) = framer.feed(b"junk\r\nmore")
    assert isinstance(frame, Broken)


def test_a_body_without_a_length_loses_the_boundary() -> None:
    """RFC 3261 §20.14: on a stream Content-Length is mandatory."""
    (frame,) = StreamFramer().feed(info(b"body").replace(b"Content-Length: 4", b"Content-Type: text/plain"))
    assert isinstance(frame, Broken)
    assert (frame.fatal, frame.error.status) == (True, 400)
    assert frame.error.message is not None


def test_a_first_line_without_end_is_refused_at_the_limit_of_a_line() -> None:
    framer = StreamFramer()
    assert framer.feed(b"INVITE sip:" + b"a" * (MAX_LINE_BYTES - 11)) == []
    (frame,) = framer.feed(b"a")
    assert isinstance(frame, Broken)
    assert (frame.fatal, frame.error.status) == (True, 513)
