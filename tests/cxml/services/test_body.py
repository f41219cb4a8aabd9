import gzip
import zlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.services.body import read_body
from cxml.services.fault import FaultError


class Chunks(httpx.AsyncByteStream):
    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size, self.read = data, size, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), self.size):
            self.read += 1
            yield self.data[start : start + self.size]


def response(data: bytes, size: int = 7, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, headers=named, stream=Chunks(data, size))


async def code_of(answer: httpx.Response, limit: int) -> int:
    with pytest.raises(FaultError) as caught:
        await read_body(answer, limit)
    return caught.value.code


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    assert await read_body(response(b"x" * 100), 100) == b"x" * 100


async def test_one_byte_more_is_11750() -> None:
    assert await code_of(response(b"x" * 101), 100) == 11750


async def test_a_declared_length_is_enough_to_refuse() -> None:
    answer = response(b"x" * 500, content_length="500")
    assert await code_of(answer, 100) == 11750
    assert isinstance(answer.stream, Chunks)
    assert answer.stream.read == 0


async def test_an_endless_body_is_left_at_the_limit() -> None:
    answer = response(b"x" * 10_000, size=10)
    assert await code_of(answer, 100) == 11750
    assert isinstance(answer.stream, Chunks)
    assert answer.stream.read == 11


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP "])
async def test_compressed_bodies_are_decoded(encoding: str) -> None:
    packed = zlib.compress(b"<Response/>") if encoding == "deflate" else gzip.compress(b"<Response/>")
    assert await read_body(response(packed, content_encoding=encoding), 100) == b"<Response/>"


async def test_a_bare_deflate_stream_is_decoded() -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(b"<Response/>") + packer.flush()
    assert await read_body(response(packed, size=1000, content_encoding="deflate"), 100) == b"<Response/>"


async def test_a_compressed_bomb_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 65536
    assert await code_of(response(bomb, size=16384, content_encoding="gzip"), 65536) == 11750


@pytest.mark.parametrize(
    ("data", "encoding"), [(b"plain", "gzip"), (gzip.compress(b"x" * 50, mtime=0)[:-9], "gzip"), (b"?", "br"), (b"!!", "deflate")]
)
async def test_an_encoding_that_does_not_decode_is_11251(data: bytes, encoding: str) -> None:
    assert await code_of(response(data, content_encoding=encoding), 100) == 11251


async def test_an_empty_body_may_claim_any_known_encoding() -> None:
    assert await read_body(response(b"", content_encoding="gzip"), 100) == b""


def run_at_once(reading: Coroutine[Any, Any, bytes]) -> bytes:
    """Run a coroutine that never waits, without an event loop."""
    try:
        reading.send(None)
    except StopIteration as done:
        return bytes(done.value)
    raise AssertionError("it waited")


@given(st.binary(max_size=400), st.integers(1, 50), st.sampled_from(["gzip", "deflate", "identity"]))
def test_no_body_is_longer_than_the_limit_nor_raises_anything_else(data: bytes, size: int, encoding: str) -> None:
    with suppress(FaultError):
        assert len(run_at_once(read_body(response(data, size=size, content_encoding=encoding), 64))) <= 64


@given(st.binary(max_size=200), st.integers(1, 50))
def test_what_was_packed_is_unpacked_or_too_long(data: bytes, size: int) -> None:
    packed = response(zlib.compress(data), size=size, content_encoding="deflate")
    try:
        assert run_at_once(read_body(packed, 150)) == data
    except FaultError:
        assert len(data) > 130
