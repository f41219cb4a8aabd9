"""The pool on the loop that the daemon runs on: its transports and sockets are others than those of asyncio's own loop."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trustme

from cxml.interpreter.ports import WebhookError
from cxml.services.settings import WebhookSettings
from cxml.services.transport import PooledTransport
from cxml.services.webhook import WebhookClient
from tests.support.loops import daemon_loop
from tests.support.web import DOCUMENT, FACTS, WebServer, read_request, reply, serving

Scene = Callable[[], Awaitable[None]]


async def fetch(client: WebhookClient, url: str) -> bytes:
    return (await client.for_call(FACTS, lambda: "ringing").fetch(url, "POST", {})).body


async def a_connection_is_kept() -> None:
    server = WebServer(lambda _: reply())
    async with serving(server.handle) as port:
        async with WebhookClient() as client:
            for _ in range(3):
                assert await fetch(client, f"http://localhost:{port}/") == DOCUMENT
        await asyncio.wait_for(server.idle.wait(), 1)
    assert server.connections == 1


async def one_that_the_server_has_closed_is_replaced_though_the_loop_has_not_seen_it() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while True:
            await read_request(reader)
            writer.write(reply())

    async with serving(handle) as port, WebhookClient() as client:
        await asyncio.gather(*(fetch(client, f"http://127.0.0.1:{port}/") for _ in range(3)))
        for writer in writers:
            with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as same:
                same.shutdown(socket.SHUT_WR)
        assert await fetch(client, f"http://127.0.0.1:{port}/") == DOCUMENT
    assert len(writers) == 4


async def tls_is_spoken_and_a_wrong_name_refused() -> None:
    authority = trustme.CA()
    server_side, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server_side)
    authority.configure_trust(client_side)
    server = WebServer(lambda _: reply())
    async with (
        serving(server.handle, tls=server_side) as port,
        WebhookClient(transport=PooledTransport(ssl_context=client_side)) as client,
    ):
        for _ in range(3):
            assert await fetch(client, f"https://localhost:{port}/") == DOCUMENT
        with pytest.raises(WebhookError) as caught:
            await fetch(client, f"https://127.0.0.1:{port}/")
        assert caught.value.code == 11220
    assert server.connections == 1


async def time_outs_and_lost_connections_are_told() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await read_request(reader)
        if received.target == "/lost":
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        if received.target == "/cut":
            await writer.drain()
            return
        await asyncio.Event().wait()

    settings = WebhookSettings(connect_timeout_s=1, read_timeout_s=0.1, total_timeout_s=2)
    details = []
    async with serving(handle) as port, WebhookClient(settings) as client:
        for path in ("lost", "cut", "silent"):
            with pytest.raises(WebhookError) as caught:
                await fetch(client, f"http://127.0.0.1:{port}/{path}")
            details.append((caught.value.code, caught.value.detail))
    lost = (11200, "the connection was lost before the answer was complete")
    assert details == [lost, lost, (11200, "no data within the read time-out")]


async def nothing_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with WebhookClient() as client:
            with pytest.raises(WebhookError) as caught:
                await fetch(client, f"http://127.0.0.1:{bound.getsockname()[1]}/")
    assert caught.value.detail == "can't connect: Connection refused"


async def an_endless_body_is_cut_off() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serving(handle) as port, WebhookClient() as client:
        with pytest.raises(WebhookError) as caught:
            await fetch(client, f"http://127.0.0.1:{port}/")
    assert caught.value.code == 11750


@pytest.mark.parametrize(
    "scene",
    [
        a_connection_is_kept,
        one_that_the_server_has_closed_is_replaced_though_the_loop_has_not_seen_it,
        tls_is_spoken_and_a_wrong_name_refused,
        time_outs_and_lost_connections_are_told,
        nothing_listens,
        an_endless_body_is_cut_off,
    ],
)
def test_on_the_daemon_s_loop(scene: Scene) -> None:
    async def run() -> None:
        before = asyncio.all_tasks()
        await scene()
        assert asyncio.all_tasks() == before

    with asyncio.Runner(loop_factory=daemon_loop) as runner:
        runner.run(run())
