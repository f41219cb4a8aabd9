"""The HTTP server in the loop of the daemon, on real sockets of loopback."""

import asyncio
import contextlib
import signal
import socket

import httpx
import pytest

from cxml.api.app import make_app
from cxml.api.connection import LimitedProtocol
from cxml.api.readiness import Readiness
from cxml.api.server import MAX_REQUESTS, serve


class Text:
    def render(self) -> bytes:
        return b""


async def test_it_serves_while_the_block_runs_and_tells_its_port() -> None:
    async with serve(make_app(Readiness, Text()), "127.0.0.1", 0) as listening, httpx.AsyncClient() as client:
        assert listening.port > 0
        response = await client.get(f"http://127.0.0.1:{listening.port}/health/live")
    assert response.status_code == 200
    assert "server" not in response.headers
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", listening.port)


async def test_an_idle_connection_does_not_hold_up_the_end() -> None:
    async with serve(make_app(Readiness, Text()), "127.0.0.1", 0) as listening:
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_a_port_in_use_is_an_error_not_the_end_of_the_process() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            async with serve(make_app(Readiness, Text()), "127.0.0.1", taken.getsockname()[1]):
                pytest.fail("it serves")


async def test_signals_stay_with_the_daemon() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with serve(make_app(Readiness, Text()), "127.0.0.1", 0):
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_an_error_in_the_block_closes_the_server() -> None:
    with pytest.raises(ZeroDivisionError):
        async with serve(make_app(Readiness, Text()), "127.0.0.1", 0):
            raise ZeroDivisionError
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert others == set()


async def test_garbage_gets_400_and_the_server_goes_on() -> None:
    async with serve(make_app(Readiness, Text()), "127.0.0.1", 0) as listening:
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()
        await writer.wait_closed()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{listening.port}/health/ready")).status_code == 200


async def open_raw(port: int, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    return reader, writer


async def close_all(pairs: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    for _, writer in pairs:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in pairs), return_exceptions=True)


async def test_idle_connections_make_room_for_a_probe() -> None:
    async with serve(make_app(Readiness, Text()), "127.0.0.1", 0) as listening, asyncio.timeout(20):
        idle = [await open_raw(listening.port, b"GET /health/li") for _ in range(MAX_REQUESTS + 20)]
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{listening.port}/health/live")).status_code == 200
        assert await idle[0][0].read() == b""
        await close_all(idle)


@pytest.mark.parametrize(
    "start", [b"", b"GET /health/live HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\nHost: x\r\n\r\n"]
)
async def test_a_connection_without_a_whole_request_is_closed_whatever_trickles_in(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedProtocol, "limit_s", 0.2)
    async with serve(make_app(Readiness, Text()), "127.0.0.1", 0) as listening, asyncio.timeout(20):
        reader, writer = await open_raw(listening.port, start)
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                if start:
                    writer.write(b"X")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1000), 0.01)
        await close_all([(reader, writer)])


async def test_a_connection_that_is_kept_alive_may_ask_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedProtocol, "limit_s", 0.5)
    async with serve(make_app(Readiness, Text()), "127.0.0.1", 0) as listening, httpx.AsyncClient() as client:
        until = asyncio.get_running_loop().time() + 0.7
        while asyncio.get_running_loop().time() < until:
            assert (await client.get(f"http://127.0.0.1:{listening.port}/health/live")).status_code == 200
