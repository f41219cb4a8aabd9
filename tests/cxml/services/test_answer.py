"""What is read out of the bytes of one answer, however they are cut."""

import contextlib
import gc
import gzip
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.services.answer import MAX_HEAD_BYTES, MAX_HEADERS, AnswerReader
from cxml.services.fault import FaultError
from cxml.services.http import HttpResponse

OK = b"HTTP/1.1 200 OK\r\n"
PACKED = gzip.compress(b"x" * 101, mtime=0)
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(*parts: bytes, limit: int = 100, ends: bool = False) -> tuple[HttpResponse | None, bool]:
    """Feed *parts*; return the answer (None: not there yet), and whether the connection may be used again."""
    reader = AnswerReader()
    reader.start(limit)
    for part in parts:
        if reader.feed(part):
            return reader.response(), reader.is_reusable
    if ends and reader.end():
        return reader.response(), reader.is_reusable
    return None, False


def body_of(*parts: bytes, limit: int = 100) -> bytes | None:
    answer, _ = read(*parts, limit=limit)
    return None if answer is None else answer.body


GOOD = [
    (OK + b"Content-Length: 2\r\n\r\nab", True),
    (OK + b"X-Empty:\r\nContent-Length: 2 \r\n\r\nab", True),
    (b"HTTP/1.1 200\r\ncontent-length:2\r\n\r\nab", True),
    (OK.replace(b"\r", b"") + b"Content-Length: 2\n\nab", True),
    (OK + b"X-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\nab", True),
    (b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nab", True),
    (CHUNKED + b"1\r\na\r\n1;x=y\r\nb\r\n0\r\nTrailer: x\r\n\r\n", True),
    (CHUNKED + b"2 \r\nab\r\n0\r\n\r\n", True),
    (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nab", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", False),
    (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nab", True),
]


@pytest.mark.parametrize(("data", "is_reusable"), GOOD)
def test_an_answer_is_read_and_its_connection_kept_as_the_server_says(data: bytes, is_reusable: bool) -> None:
    answer, reusable = read(data)
    assert answer is not None
    assert (answer.status, answer.body, answer.cookies, answer.trouble) == (200, b"ab", [], None)
    assert reusable is is_reusable


@given(st.sampled_from([data for data, _ in GOOD]), st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_it_makes_no_difference_how_the_bytes_are_cut(data: bytes, sizes: list[int]) -> None:
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        size = sizes[len(parts) % len(sizes)]
        parts.append(data[at : at + size])
        at += size
    assert read(*parts) == read(data)


@pytest.mark.parametrize("surplus", [b"x", b"garbage\r\n\r\n", OK, OK + b"Content-Length: 1\r\n\r\nx", b"\x00"])
def test_what_follows_an_answer_is_not_part_of_it_and_spoils_the_connection(surplus: bytes) -> None:
    answer, is_reusable = read(OK + b"Content-Length: 2\r\n\r\nab" + surplus)
    assert answer is not None
    assert (answer.status, answer.body, is_reusable) == (200, b"ab", False)


@pytest.mark.parametrize("status", [101, 300, 302, 404, 500, 600])
def test_the_body_of_what_is_no_success_is_not_waited_for(status: int) -> None:
    answer, is_reusable = read(b"HTTP/1.1 %d X\r\nLocation: /x\r\nContent-Length: 1000\r\n\r\n" % status)
    assert answer is not None
    assert (answer.status, answer.headers["location"], answer.body, is_reusable) == (status, "/x", b"", False)


def test_a_small_body_of_an_error_leaves_the_connection_in_use() -> None:
    assert read(b"HTTP/1.1 404 X\r\nContent-Length: 4\r\n\r\ngone")[1]


def test_a_body_without_length_ends_with_the_connection_and_one_with_a_length_does_not() -> None:
    answer, is_reusable = read(OK + b"\r\nab", b"c", ends=True)
    assert answer is not None
    assert (answer.body, is_reusable) == (b"abc", False)
    assert read(OK + b"Content-Length: 9\r\n\r\nab", ends=True) == (None, False)
    assert read(CHUNKED + b"2\r\nab\r\n", ends=True) == (None, False)
    assert read(OK, ends=True) == (None, False)


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 101\r\n\r\n",
        OK + b"\r\n" + b"x" * 101,
        CHUNKED + b"65\r\n" + b"x" * 101,
        OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(PACKED), PACKED),
    ],
)
def test_a_body_over_the_limit_is_11750_and_the_head_is_there(data: bytes) -> None:
    answer, is_reusable = read(data)
    assert answer is not None
    assert isinstance(answer.trouble, FaultError)
    assert (answer.trouble.code, answer.body, is_reusable and "content-encoding" not in answer.headers) == (11750, b"", False)


def test_a_body_of_exactly_the_limit_is_read() -> None:
    assert body_of(OK + b"Content-Length: 100\r\n\r\n" + b"x" * 100) == b"x" * 100
    assert body_of(CHUNKED + b"1\r\nx\r\n" * 100 + b"0\r\n\r\n") == b"x" * 100


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity"])
def test_a_transfer_coding_other_than_chunked_is_11251(coding: bytes) -> None:
    answer, _ = read(OK + b"Transfer-Encoding: " + coding + b"\r\n\r\n2\r\nab\r\n0\r\n\r\n")
    assert answer is not None
    assert isinstance(answer.trouble, FaultError)
    assert answer.trouble.code == 11251


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nab",
        OK + b"Content-Length: +2\r\n\r\nab",
        OK + b"Content-Length: 2, 2\r\n\r\nab",
        OK + b"Content-Length: 99999999999999999999\r\n\r\nab",
        OK + b"X-A : b\r\n\r\n",
        OK + b"X-A: a\rb\r\n\r\n",
        CHUNKED + b"ffffffffffffffffff\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"2\r\nabXX0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_HEAD_BYTES // 25 + 1),
        OK + b"X: y\r\n" * (MAX_HEADERS + 1),
        OK + b"X: y\r\n" * (MAX_HEADERS + 1) + b"Content-Length: 2\r\n\r\nab",
        OK + b"X: " + b"y" * MAX_HEAD_BYTES,
        OK + b"X: " + b"y" * MAX_HEAD_BYTES + b"\r\nContent-Length: 2\r\n\r\nab",
        CHUNKED + b"1;" + b"x" * MAX_HEAD_BYTES,
        CHUNKED + b"0\r\n" + b"X: y\r\n" * MAX_HEADERS,
    ],
)
def test_what_is_not_http_or_has_no_end_is_11251(data: bytes) -> None:
    with pytest.raises(FaultError) as caught:
        read(data, b"x" * 1000)
    assert caught.value.code == 11251


def test_a_reader_reads_one_answer_after_the_other() -> None:
    reader = AnswerReader()
    for body in (b"ab", b"", b"c" * 50):
        reader.start(100)
        assert not reader.has_head
        assert reader.feed(OK + b"Set-Cookie: a\r\nSet-Cookie: b\r\nX: 1\r\nx: 2\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        answer = reader.response()
        assert (answer.body, answer.cookies, answer.headers["x"], reader.is_reusable) == (body, ["a", "b"], "1, 2", True)


def test_header_values_are_utf8_or_latin1_and_have_no_controls() -> None:
    answer, _ = read(OK + b"X-A: \xc3\xbc\r\nX-B: \xfc\r\nX-C: a\x00\x0bb\xe2\x80\xa8c\r\nContent-Length: 0\r\n\r\n")
    assert answer is not None
    assert [answer.headers[name] for name in ("x-a", "x-b", "x-c")] == ["ü", "ü", "a b c"]


@pytest.mark.cpython
@pytest.mark.parametrize("data", [b"garbage", OK + b"Content-Length: 2\r\n\r\nabgarbage", OK + b"Content-Length: 0\r\n\r\n"])
def test_a_reader_that_is_done_waits_for_no_garbage_collector(data: bytes) -> None:
    reader = AnswerReader()
    reader.start(100)
    gone = weakref.ref(reader)
    gc.disable()
    try:
        with contextlib.suppress(FaultError):
            reader.feed(data)
        reader.close()
        del reader
        assert gone() is None
    finally:
        gc.enable()


_PIECES = [
    OK, b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 302 Found\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n",
    b"2\r\nab\r\n", b"0\r\n\r\n", b"Set-Cookie: a=b\r\n", b"Content-Encoding: gzip\r\n", b"abc", b"X-Long: " + b"x" * 9000 + b"\r\n",
    b"Upgrade: x\r\nConnection: upgrade\r\n", b"Connection: close\r\n", b"\x00\xff", b"x" * 200,
]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=40)), max_size=30), st.booleans())
def test_no_bytes_make_it_raise_anything_else_or_keep_more_than_the_limits(parts: list[bytes], ends: bool) -> None:
    try:
        answer, is_reusable = read(*parts, ends=ends)
    except FaultError as fault:
        answer, is_reusable = None, fault.code != 11251
    if answer is None:
        assert not is_reusable
        return
    assert len(answer.body) <= 100
    assert sum(len(name) + len(value) for name, value in answer.headers.items()) <= 2 * MAX_HEAD_BYTES
    assert all(value.isprintable() for value in (*answer.headers.values(), *answer.cookies))
    assert answer.trouble is None or not answer.body
