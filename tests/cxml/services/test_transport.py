"""The pooled transport on real loopback sockets, against servers that behave, and servers that don't."""

import asyncio
import gzip
import socket
from collections.abc import Awaitable, Callable

import pytest

from cxml.interpreter.ports import WebhookError
from cxml.services.settings import WebhookSettings
from cxml.services.transport import PooledTransport
from cxml.services.webhook import CallWebhooks, WebhookClient
from tests.support.web import DOCUMENT, FACTS, Received, WebServer, read_request, reply, serving, web_server

QUICK = WebhookSettings(connect_timeout_s=0.2, read_timeout_s=0.1, total_timeout_s=0.3)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"

Writing = Callable[[asyncio.StreamWriter], Awaitable[None]]


def hooks_of(client: WebhookClient) -> CallWebhooks:
    return client.for_call(FACTS, lambda: "in-progress")


async def failure_of(url: str, settings: WebhookSettings = QUICK, method: str = "POST") -> WebhookError:
    async with WebhookClient(settings) as client:
        with pytest.raises(WebhookError) as caught:
            await hooks_of(client).fetch(url, method, {})
    return caught.value


async def failure_against(write: Writing, method: str = "POST") -> WebhookError:
    """Fetch from a server that reads one request and then does what *write* does."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await write(writer)
        await writer.drain()

    async with serving(handle) as port:
        return await failure_of(f"http://127.0.0.1:{port}/", method=method)


async def test_two_calls_share_one_connection() -> None:
    async with web_server() as server, WebhookClient() as client:
        for hooks in (hooks_of(client), hooks_of(client)):
            await hooks.fetch(f"{server.base}/voice", "POST", {})
            await hooks.fetch(f"{server.base}/voice", "GET", {})
    assert [request.connection for request in server.requests] == [1, 1, 1, 1]


async def test_the_request_on_the_wire_is_what_was_asked_for() -> None:
    async with web_server() as server, WebhookClient(WebhookSettings(user_agent="cxmld/test")) as client:
        await hooks_of(client).fetch(f"http://u:p@127.0.0.1:{server.port}/a%2fb?x=%7E#ct=500", "POST", {})
    [request] = server.requests
    assert request.target == "/a%2fb?x=%7E"
    assert set(request.headers) == {
        "host", "accept", "accept-encoding", "user-agent", "authorization", "content-type", "content-length",
        "x-cxmld-idempotency-key",
    }  # fmt: skip
    assert (request.headers["user-agent"], request.headers["host"]) == ("cxmld/test", f"127.0.0.1:{server.port}")


async def test_cookies_do_not_leak_through_the_pool() -> None:
    async with web_server(lambda _: reply(DOCUMENT, "Set-Cookie: id=1")) as server, WebhookClient() as client:
        one, two = hooks_of(client), hooks_of(client)
        url = f"http://localhost:{server.port}/"  # a jar may refuse cookies of a bare address
        await one.fetch(url, "POST", {})
        await one.fetch(url, "POST", {})
        await two.fetch(url, "POST", {})
    assert [request.headers.get("cookie") for request in server.requests] == [None, "id=1", None]


async def test_closing_the_client_closes_every_connection() -> None:
    async with web_server() as server:
        async with WebhookClient() as client:
            await asyncio.gather(*(hooks_of(client).fetch(server.base, "POST", {}) for _ in range(5)))
            assert server.open_connections > 1
        await asyncio.wait_for(server.idle.wait(), 1)
    assert server.open_connections == 0


async def test_a_client_that_sent_nothing_closes_and_closes_twice() -> None:
    client = WebhookClient()
    await client.aclose()
    await client.aclose()


@pytest.mark.parametrize("answered_before", [0, 1])
async def test_requests_under_way_fail_when_the_client_closes(answered_before: int) -> None:
    started = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(answered_before):
            await read_request(reader)
            writer.write(reply())
        await read_request(reader)
        started.set()
        await asyncio.Event().wait()

    async with serving(handle) as port:
        client = WebhookClient()
        for _ in range(answered_before):
            await hooks_of(client).fetch(f"http://127.0.0.1:{port}/", "POST", {})
        fetching = asyncio.get_running_loop().create_task(hooks_of(client).fetch(f"http://127.0.0.1:{port}/", "POST", {}))
        await started.wait()
        await client.aclose()
        with pytest.raises(WebhookError) as caught:
            await fetching
    assert caught.value.code == 11200


class Forgetful(WebServer):
    """Answers the first request of each connection, reads what follows and closes without an answer."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.requests.append(await read_request(reader, self.connections))
        writer.write(reply())
        await writer.drain()
        self.requests.append(await read_request(reader, self.connections))


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_request_that_the_server_may_have_acted_on_is_never_sent_again(method: str) -> None:
    server = Forgetful(lambda _: reply())
    async with serving(server.handle) as port, WebhookClient() as client:
        url = f"http://127.0.0.1:{port}"
        await asyncio.gather(*(hooks_of(client).fetch(f"{url}/voice", method, {}) for _ in range(3)))
        with pytest.raises(WebhookError) as caught:
            await hooks_of(client).fetch(f"{url}/done", method, {})
    assert (caught.value.code, caught.value.detail) == (11200, "the connection was lost before the answer was complete")
    assert len([request for request in server.requests if request.target.startswith("/done")]) == 1


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_idle_connections_that_the_server_closed_meanwhile_are_replaced(method: str) -> None:
    seen: list[Received] = []
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while True:
            seen.append(await read_request(reader))
            writer.write(reply())

    async with serving(handle) as port, WebhookClient() as client:
        url = f"http://127.0.0.1:{port}/"
        await asyncio.gather(*(hooks_of(client).fetch(url, method, {}) for _ in range(3)))
        for writer in writers:  # the ends arrive at the client's sockets, but its loop has had no turn to see them
            writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        assert (await hooks_of(client).fetch(url, method, {})).body == DOCUMENT
    assert (len(seen), len(writers)) == (4, 4)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_new_connection_closed_without_an_answer_is_an_error_and_the_request_is_not_repeated(method: str) -> None:
    async with web_server(lambda _: b"") as server:
        assert (await failure_of(server.base, method=method)).code == 11200
    assert len(server.requests) == 1


async def test_a_refused_connection_is_11200() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        error = await failure_of(f"http://127.0.0.1:{bound.getsockname()[1]}/")
    assert error.code == 11200
    assert error.detail == "can't connect: Connection refused"


async def test_a_connect_that_hangs_is_11200(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*args: object, **named: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", hang)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", hang)
    error = await failure_of("http://127.0.0.1:9/", WebhookSettings(connect_timeout_s=0.1))
    assert (error.code, error.detail) == (11200, "no connection within the connect time-out")


async def test_an_unknown_name_is_11210(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*args: object, **named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    assert (await failure_of("http://nobody.invalid/")).code == 11210


@pytest.mark.parametrize("host", ["app..example", ".x", f"{'a' * 64}.test", ".127.0.0.1"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_name_with_an_empty_or_too_long_label_is_11210(scheme: str, host: str) -> None:
    error = await failure_of(f"{scheme}://{host}/", WebhookSettings())
    assert (error.code, error.detail) == (11210, "the host name can't be resolved")


async def test_a_request_that_can_t_be_sent_as_http_takes_no_connection() -> None:
    async with web_server() as server:
        error = await failure_of(server.base, WebhookSettings(user_agent="cxmld €"))
        assert (error.code, server.connections) == (11251, 0)


async def test_a_tls_handshake_that_fails_is_11220() -> None:
    async def not_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with serving(not_tls) as port:
        error = await failure_of(f"https://127.0.0.1:{port}/")
    assert (error.code, error.detail) == (11220, "the TLS handshake failed")


async def test_a_server_that_says_nothing_is_11200_by_the_read_time_out() -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    error = await failure_against(silent)
    assert (error.code, error.detail) == (11200, "no data within the read time-out")


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    while True:
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_slow_headers_are_11200_by_the_total_time_out() -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await drip(writer, b"X-A: b\r\n")

    error = await failure_against(slow)
    assert (error.code, error.detail) == (11200, "no complete answer within 0.3 s")


async def test_a_slow_body_is_11200_by_the_total_time_out() -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 1000\r\n\r\n")
        await drip(writer, b"x")

    assert (await failure_against(slow)).detail == "no complete answer within 0.3 s"


async def test_a_body_that_stops_is_11200_by_the_read_time_out() -> None:
    async def stops(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 1000\r\n\r\nabc")
        await writer.drain()
        await asyncio.Event().wait()

    assert (await failure_against(stops)).detail == "no data within the read time-out"


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked\r\n\r\n", b"Connection: close\r\n\r\n"])
async def test_an_endless_body_is_11750(framing: bytes) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + framing)
        chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n" if b"chunked" in framing else b"x" * 4096
        while True:
            writer.write(chunk)
            await writer.drain()

    assert (await failure_against(endless)).code == 11750


async def test_a_gzip_bomb_is_11750() -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    async with web_server(lambda _: reply(bomb, "Content-Encoding: gzip")) as server:
        assert (await failure_of(server.base)).code == 11750


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\nContent-Length: 0\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: ten\r\n\r\n0123456789",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n012345",
        OK + b"no colon\r\n\r\n",
        OK + b"X-Big: " + b"x" * 20_000 + b"\r\n\r\n",
        OK + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    ],
)
async def test_what_is_not_http_is_11251(data: bytes) -> None:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.Event().wait()

    assert (await failure_against(send)).code == 11251


@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/1.1 200", OK + b"Content-Length: 100\r\n\r\nshort", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_an_answer_cut_off_is_an_error(data: bytes, reset: bool) -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if reset:
            writer.transport.abort()

    assert (await failure_against(cut)).code in {11200, 11251}


@pytest.mark.parametrize("data", [OK + b"Content-Length: 100\r\n\r\nshort", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"])
async def test_an_answer_whose_body_ends_early_is_a_lost_connection_not_bad_http(data: bytes) -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    failure = await failure_against(cut)
    assert (failure.code, failure.detail) == (11200, "the connection was lost before the answer was complete")


async def test_a_redirect_loop_is_11215() -> None:
    async with web_server(lambda request: reply(b"", f"Location: {request.target}x", status="302 Found")) as server:
        error = await failure_of(f"{server.base}/a")
    assert (error.code, error.url) == (11215, f"{server.base}/axxx")
    assert len(server.requests) == 4
    assert {request.connection for request in server.requests} == {1}


async def test_an_answer_that_is_not_read_to_its_end_does_not_spoil_the_next_one() -> None:
    def answer(request: Received) -> bytes:
        return reply(b"x" * 100_000) if request.target == "/big" else reply()

    async with web_server(answer) as server, WebhookClient() as client:
        for _ in range(3):
            with pytest.raises(WebhookError):
                await hooks_of(client).fetch(f"{server.base}/big", "POST", {})
            assert (await hooks_of(client).fetch(server.base, "POST", {})).body == DOCUMENT


async def test_a_cancelled_fetch_gives_its_connection_back_or_closes_it() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.Event().wait()

    async with serving(handle) as port, WebhookClient(transport=PooledTransport(max_connections=1)) as client:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await hooks_of(client).fetch(f"http://127.0.0.1:{port}/", "POST", {})


async def test_a_full_pool_counts_as_connecting() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.Event().wait()

    settings = WebhookSettings(connect_timeout_s=0.1, read_timeout_s=1, total_timeout_s=0.2)
    async with serving(handle) as port, WebhookClient(settings, transport=PooledTransport(max_connections=1)) as client:
        url = f"http://127.0.0.1:{port}/"
        fetches = (hooks_of(client).fetch(url, "POST", {}) for _ in range(2))
        errors = await asyncio.gather(*fetches, return_exceptions=True)
    details = {error.detail for error in errors if isinstance(error, WebhookError)}
    # The one that got the connection is ended by the total time-out, the one that waits for it by the connect time-out.
    assert details == {"no connection within the connect time-out", "no complete answer within 0.2 s"}


async def test_requests_that_wait_for_a_connection_fail_when_the_client_closes() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(handle) as port:
        client = WebhookClient(transport=PooledTransport(max_connections=1))
        url = f"http://127.0.0.1:{port}/"
        loop = asyncio.get_running_loop()
        fetches = [loop.create_task(hooks_of(client).fetch(url, "POST", {})) for _ in range(3)]
        await asyncio.sleep(0.05)
        await client.aclose()
        errors = await asyncio.gather(*fetches, return_exceptions=True)
    assert {error.code for error in errors if isinstance(error, WebhookError)} == {11200}
    assert len(errors) == 3


async def test_a_hundred_calls_at_once_leave_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with web_server() as server:
        async with WebhookClient(transport=PooledTransport(max_connections=8)) as client:
            fetches = (hooks_of(client).fetch(f"{server.base}/{n}", "POST", {}) for n in range(100))
            documents = await asyncio.gather(*fetches)
        await asyncio.wait_for(server.idle.wait(), 1)
    assert [document.body for document in documents] == [DOCUMENT] * 100
    assert server.connections <= 8
    assert asyncio.all_tasks() == before
