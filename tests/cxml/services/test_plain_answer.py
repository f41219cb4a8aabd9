"""The short way for ordinary answers, held against the parser that reads any."""

from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cxml.services import answer as module
from cxml.services.answer import MAX_HEADERS, AnswerReader
from cxml.services.fault import FaultError
from cxml.services.plain_answer import MAX_HEAD_BYTES, plain_answer

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 2\r\n\r\nab"
UVICORN = OK + b"date: Thu, 26 Nov 2026 12:00:00 GMT\r\nserver: uvicorn\r\ncontent-type: application/xml\r\n" + LENGTH
NGINX = OK + b"Server: nginx/1.22.1\r\nContent-Type: text/xml; charset=utf-8\r\nConnection: keep-alive\r\nVary: Accept\r\n" + LENGTH

PLAIN = [UVICORN, NGINX, OK + LENGTH, b"HTTP/1.1 200\r\n" + LENGTH, b"HTTP/1.1 200 \r\n" + LENGTH, OK + b"content-length:0\r\n\r\n"]

LONG_WAY = [
    OK + LENGTH[:-1],
    OK + LENGTH + b"x",
    OK + b"Connection: close\r\n" + LENGTH,
    OK + b"Connection: keep-alive, close\r\n" + LENGTH,
    OK + b"Connection: upgrade\r\nUpgrade: h2c\r\n" + LENGTH,
    OK + b"Proxy-Connection: close\r\n" + LENGTH,
    OK + b"Transfer-Encoding: chunked\r\n" + LENGTH,
    OK + b"Content-Length: 2\r\n" + LENGTH,
    OK + b"Set-Cookie: a=b\r\n" + LENGTH,
    OK + b"X: a\r\nx: b\r\n" + LENGTH,
    OK + b"X: a\r\n b\r\n" + LENGTH,
    OK + b"X: \xc3\xa9\r\n" + LENGTH,
    OK + b"X: a\tb\r\n" + LENGTH,
    OK + b"X: a\x00b\r\n" + LENGTH,
    OK + b"X : a\r\n" + LENGTH,
    OK + b": a\r\n" + LENGTH,
    OK + b"X\r\n" + LENGTH,
    OK + b"X: a\n" + LENGTH,
    OK + b"X: " + b"a" * MAX_HEAD_BYTES + b"\r\n" + LENGTH,
    OK + b"".join(b"X-%d: a\r\n" % number for number in range(40)) + LENGTH,
    OK + b"".join(b"%x:\r\n" % number for number in range(MAX_HEADERS + 1)) + LENGTH,
    OK + b"\r\nab",
    *(OK + b"Content-Length: " + length + b"\r\n\r\nab" for length in (b"", b"+2", b"-2", b"0x2", b"2,2", b"2 2", b"\xb2", b"2" * 30)),
    *(
        line + LENGTH
        for line in (b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 404 X\r\n", b"http/1.1 200 OK\r\n", b"\r\n" + OK)
    ),
    b"HTTP/1.1 100 Continue\r\n\r\n" + UVICORN,
    b"",
]


@pytest.mark.parametrize("data", PLAIN)
def test_an_ordinary_answer_is_plain(data: bytes) -> None:
    assert plain_answer(data) is not None


@pytest.mark.parametrize("data", LONG_WAY)
def test_anything_else_takes_the_long_way(data: bytes) -> None:
    assert plain_answer(data) is None


def test_who_changes_the_fields_of_one_answer_changes_no_other() -> None:
    first = plain_answer(UVICORN)
    assert first is not None
    first[0].clear()
    second = plain_answer(UVICORN)
    assert second is not None
    assert second == (
        {"date": "Thu, 26 Nov 2026 12:00:00 GMT", "server": "uvicorn", "content-type": "application/xml", "content-length": "2"},
        b"ab",
    )


def outcome(data: bytes, limit: int = 100, *, long_way: bool) -> object:
    """Return all that a caller can see of a reader that was fed *data*, and an ordinary answer behind it."""
    reader = AnswerReader()
    seen: list[object] = []
    with patch.object(module, "plain_answer", (lambda _: None) if long_way else plain_answer):
        for part in (data, UVICORN):
            reader.start(limit)
            try:
                seen += [reader.feed(part), reader.end(), reader.is_reusable, reader.has_head]
            except FaultError as fault:
                return [*seen, fault.code, str(fault)]
            response = reader.response()
            trouble = response.trouble
            seen += [response.status, response.headers, response.cookies, response.body, trouble and (type(trouble), str(trouble))]
            if not reader.is_reusable:
                break
    return seen


@pytest.mark.parametrize("data", PLAIN + LONG_WAY)
@pytest.mark.parametrize("limit", [0, 1, 2, 100])
def test_both_ways_say_the_same(data: bytes, limit: int) -> None:
    assert outcome(data, limit, long_way=False) == outcome(data, limit, long_way=True)


_PIECES = [
    b"\r\n",
    b"\n",
    b" ",
    b":",
    b": ",
    b"\t",
    b"\x00",
    b"\xff",
    b"close",
    b"Connection: ",
    b"Content-Length: 1\r\n",
    b"X: y\r\n",
    b"0",
    b"2",
    OK,
]


@given(st.sampled_from(PLAIN + LONG_WAY), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), st.sampled_from(_PIECES)), max_size=4))
@example(UVICORN, [])
def test_both_ways_say_the_same_of_damaged_answers(data: bytes, damages: list[tuple[int, int, bytes]]) -> None:
    for at, gone, piece in damages:
        data = data[:at] + piece + data[at + gone :]
    assert outcome(data, long_way=False) == outcome(data, long_way=True)
