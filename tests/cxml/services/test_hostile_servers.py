"""Servers that break off, trickle, flood, say too much or lie: each costs its own request, and no other."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cxml.interpreter.ports import FetchedDocument, WebhookError
from cxml.services.settings import WebhookSettings
from cxml.services.transport import PooledTransport
from cxml.services.webhook import WebhookClient
from tests.support.web import DOCUMENT, FACTS, Received, read_request, reply, serving

QUICK = WebhookSettings(connect_timeout_s=0.2, read_timeout_s=0.1, total_timeout_s=0.3)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"

Writing = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Does to each request what comes next in *scripts*; then it answers well. Notes the connection of each request."""

    def __init__(self, *scripts: bytes | Writing) -> None:
        self.scripts = list(scripts)
        self.seen: list[Received] = []
        self.connections = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        while True:
            self.seen.append(await read_request(reader, number))
            script = self.scripts.pop(0) if self.scripts else reply()
            if isinstance(script, bytes):
                writer.write(script)
            else:
                await script(writer)
            await writer.drain()


async def fetch(client: WebhookClient, port: int, path: str = "") -> FetchedDocument:
    return await client.for_call(FACTS, lambda: "ringing").fetch(f"http://127.0.0.1:{port}/{path}", "POST", {})


async def fetches(server: Server, count: int, settings: WebhookSettings = QUICK) -> list[FetchedDocument | WebhookError]:
    """Fetch *count* times in turn with one client."""
    found: list[FetchedDocument | WebhookError] = []
    async with serving(server.handle) as port, WebhookClient(settings) as client:
        for _ in range(count):
            try:
                found.append(await fetch(client, port))
            except WebhookError as error:
                found.append(error)
            await asyncio.sleep(0.01)  # what the server still says arrives
    return found


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (OK + b"Content-Length: 100\r\n\r\nabc", 11200),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", 11200),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 11251),
        (OK + b"Content-Len", 11200),
        (b"HTTP/1.1 100 Continue\r\n\r\n", 11200),
        (b"garbage\r\n\r\n", 11251),
        (OK + b"X: y\r\n" * 1000, 11251),
        (OK + b"Content-Length: 99999999999\r\n\r\n" + b"x" * 300_000, 11750),
    ],
)
async def test_a_bad_answer_costs_one_request_and_one_connection(data: bytes, code: int) -> None:
    server = Server(reply(), data)
    first, second, third = await fetches(server, 3)
    assert isinstance(second, WebhookError)
    assert second.code == code
    assert all(isinstance(found, FetchedDocument) and found.body == DOCUMENT for found in (first, third))
    assert [received.connection for received in server.seen] == [1, 1, 2]


@pytest.mark.parametrize(
    "data",
    [
        reply() + b"garbage",
        reply() + reply(b"<Response><Reject/></Response>"),
        reply() + b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
        reply(DOCUMENT, "Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%b" % (len(DOCUMENT), DOCUMENT),
    ],
)
async def test_an_answer_with_more_behind_it_or_the_last_one_is_taken_and_the_connection_is_not(data: bytes) -> None:
    server = Server(data)
    found = await fetches(server, 2)
    assert [answer.body for answer in found if isinstance(answer, FetchedDocument)] == [DOCUMENT] * 2
    assert [received.connection for received in server.seen] == [1, 2]


async def test_what_a_server_says_unasked_on_an_idle_connection_answers_nothing() -> None:
    async def twice(writer: asyncio.StreamWriter) -> None:
        writer.write(reply())
        await writer.drain()
        await asyncio.sleep(0.005)
        writer.write(reply(b"<Response><Reject/></Response>"))

    server = Server(twice)
    found = await fetches(server, 2)
    assert [answer.body for answer in found if isinstance(answer, FetchedDocument)] == [DOCUMENT] * 2
    assert [received.connection for received in server.seen] == [1, 2]


async def test_interim_answers_are_passed_over() -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        for interim in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"):
            writer.write(interim)
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(reply())

    server = Server(slowly)
    assert all(isinstance(found, FetchedDocument) for found in await fetches(server, 2))
    assert server.connections == 1


@pytest.mark.parametrize("drop", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n"])
async def test_interim_answers_without_end_are_bounded_by_time_and_by_size(drop: bytes) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.02)

    async def pour(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(drop * 100)
            await writer.drain()

    slow, fast = await fetches(Server(drip, pour), 2)
    assert isinstance(slow, WebhookError)
    assert (slow.code, slow.detail) == (11200, "no complete answer within 0.3 s")
    assert isinstance(fast, WebhookError)
    assert fast.code == 11251


async def test_a_trickle_is_read_in_pieces_as_long_as_the_time_lasts() -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        data = reply()
        for at in range(0, len(data), 8):
            writer.write(data[at : at + 8])
            await writer.drain()
            await asyncio.sleep(0.001)

    (found,) = await fetches(Server(trickle), 1, WebhookSettings(read_timeout_s=1, total_timeout_s=5))
    assert isinstance(found, FetchedDocument)
    assert found.body == DOCUMENT


async def test_silence_in_the_middle_of_an_answer_is_ended_by_the_read_time_out() -> None:
    async def stops(writer: asyncio.StreamWriter) -> None:
        for part in (OK, b"Content-Length: 10\r\n\r\n", b"abc"):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.06)
        await asyncio.Event().wait()

    (found,) = await fetches(Server(stops), 1, WebhookSettings(read_timeout_s=0.1, total_timeout_s=5))
    assert isinstance(found, WebhookError)
    assert (found.code, found.detail) == (11200, "no data within the read time-out")


@pytest.mark.parametrize("is_trailer", [False, True])
async def test_framing_without_end_is_11251(is_trailer: bool) -> None:
    async def pour(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n" + (b"0\r\n" if is_trailer else b""))
        while True:
            writer.write(b"X-Trailer: y\r\n" * 500 if is_trailer else b"1;" + b"e" * 16_000 + b"\r\nx\r\n")
            await writer.drain()

    (found,) = await fetches(Server(pour), 1, WebhookSettings(max_body_bytes=1000))
    assert isinstance(found, WebhookError)
    assert found.code == 11251


async def test_an_error_with_a_body_that_never_comes_is_told_at_once() -> None:
    (found,) = await fetches(Server(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n\r\n"), 1, WebhookSettings(read_timeout_s=60))
    assert isinstance(found, WebhookError)
    assert (found.code, found.detail) == (11217, "status 503")


async def test_the_cookies_of_an_answer_whose_body_fails_are_kept() -> None:
    server = Server(OK + b"Set-Cookie: id=1\r\nContent-Length: 99999999\r\n\r\n")
    async with serving(server.handle) as port, WebhookClient(QUICK) as client:
        hooks = client.for_call(FACTS, lambda: "ringing")
        with pytest.raises(WebhookError):
            await hooks.fetch(f"http://localhost:{port}/", "POST", {})
        await hooks.fetch(f"http://localhost:{port}/", "POST", {})
    assert [received.headers.get("cookie") for received in server.seen] == [None, "id=1"]


async def test_a_control_character_in_a_cookie_or_a_location_makes_no_header_of_its_own() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /x\x0b\x00y\r\nSet-Cookie: id=1\x0bX-Evil:1\x00; Path=/\r\nContent-Length: 0\r\n\r\n"
    server = Server(moved)
    async with serving(server.handle) as port, WebhookClient(QUICK) as client:
        await client.for_call(FACTS, lambda: "ringing").fetch(f"http://localhost:{port}/", "POST", {})
    assert [received.target for received in server.seen] == ["/", "/x%20y"]
    assert set(server.seen[1].headers) <= {
        "host", "accept", "accept-encoding", "user-agent", "cookie", "x-cxmld-idempotency-key",
    }  # fmt: skip


async def test_one_slow_server_holds_no_other_up() -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    slow, good = Server(silent), Server()
    async with serving(slow.handle) as slow_port, serving(good.handle) as port, WebhookClient(transport=PooledTransport()) as client:
        waiting = asyncio.get_running_loop().create_task(fetch(client, slow_port))
        for _ in range(3):
            assert (await fetch(client, port)).body == DOCUMENT
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
