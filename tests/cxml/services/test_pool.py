"""The pool: how many connections there are, how long they stay, and how a host becomes an address."""

import asyncio
import gc
import socket

import pytest

from cxml.interpreter.ports import WebhookError
from cxml.services import dial, transport
from cxml.services.dial import Dialler
from cxml.services.settings import WebhookSettings
from cxml.services.transport import PooledTransport
from cxml.services.webhook import WebhookClient
from tests.support.web import DOCUMENT, FACTS, web_server


async def fetch(client: WebhookClient, url: str) -> bytes:
    return (await client.for_call(FACTS, lambda: "ringing").fetch(url, "POST", {})).body


async def test_an_idle_connection_closes_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "KEEPALIVE_S", 0.05)
    async with web_server() as server, WebhookClient() as client:
        await fetch(client, server.base)
        assert server.open_connections == 1
        await asyncio.wait_for(server.idle.wait(), 1)
        await fetch(client, server.base)
    assert [request.connection for request in server.requests] == [1, 2]


async def test_connections_in_use_again_and_again_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "KEEPALIVE_S", 0.05)
    async with web_server() as server, WebhookClient() as client:
        await asyncio.gather(*(fetch(client, server.base) for _ in range(3)))
        for _ in range(8):
            await fetch(client, server.base)
            await asyncio.sleep(0.02)
        assert server.open_connections == 1
    assert server.connections == 3


async def test_an_idle_connection_makes_room_for_another_origin() -> None:
    async with web_server() as one, web_server() as two, WebhookClient(transport=PooledTransport(max_connections=1)) as client:
        for server in (one, two, one):
            assert await fetch(client, server.base) == DOCUMENT
            assert one.open_connections + two.open_connections <= 2  # the end of the other may be on its way
        await asyncio.wait_for(two.idle.wait(), 1)
        assert one.open_connections == 1


async def test_who_waits_for_a_connection_gets_it_in_turn_and_who_gives_up_takes_no_place() -> None:
    order: list[int] = []

    async def numbered(client: WebhookClient, url: str, number: int) -> None:
        await fetch(client, url)
        order.append(number)

    async with web_server() as server, WebhookClient(transport=PooledTransport(max_connections=1)) as client:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(numbered(client, server.base, number)) for number in range(6)]
        await asyncio.sleep(0)
        for quitter in (tasks[2], tasks[4]):
            quitter.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await numbered(client, server.base, 6)
    assert order == [0, 1, 3, 5, 6]
    assert server.connections == 1


async def test_a_cancel_at_any_moment_loses_no_place() -> None:
    async with web_server() as server, WebhookClient(transport=PooledTransport(max_connections=2)) as client:
        loop = asyncio.get_running_loop()
        for turns in range(14):
            tasks = [loop.create_task(fetch(client, server.base)) for _ in range(5)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert [found for found in done if not isinstance(found, asyncio.CancelledError | bytes)] == []
        async with asyncio.timeout(2):
            assert set(await asyncio.gather(fetch(client, server.base), fetch(client, server.base))) == {DOCUMENT}


@pytest.mark.cpython
async def test_nothing_is_left_of_the_connections_of_a_closed_client() -> None:
    async with web_server() as server:
        async with WebhookClient() as client:
            await asyncio.gather(*(fetch(client, server.base) for _ in range(20)))
        await asyncio.wait_for(server.idle.wait(), 1)
    gc.collect()
    assert not [found for found in gc.get_objects() if type(found).__name__ in ("HttpConnection", "AnswerReader")]


# -- addresses ----------------------------------------------------------------------------------------------------------------------------


class Names:
    """The resolver's answers, and what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.find)

    async def find(self, host: str, port: int, **_: object) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        self.asked.append(host)
        await asyncio.sleep(0.01)
        found = self.names.get(host)
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in found
        ]


async def test_a_burst_asks_for_a_name_once_and_a_later_request_again(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, app_example=["127.0.0.1"])
    async with web_server() as server, WebhookClient() as client:
        url = f"http://app.example:{server.port}/"
        await asyncio.gather(*(fetch(client, url) for _ in range(5)))
        assert (names.asked, server.connections) == (["app.example"], 5)
        monkeypatch.setattr(dial, "DNS_CACHE_S", -1.0)
        await asyncio.gather(*(fetch(client, url) for _ in range(6)))  # one more than there are connections
        assert names.asked == ["app.example"]  # still known
        async with WebhookClient() as other:
            await fetch(other, url)
            await other.transport.aclose()
    assert names.asked == ["app.example"] * 2


async def test_a_failed_look_up_is_told_to_all_who_wait_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    async with WebhookClient() as client:
        for _ in range(2):
            errors = await asyncio.gather(*(fetch(client, "http://nobody.example/") for _ in range(3)), return_exceptions=True)
            assert [error.code for error in errors if isinstance(error, WebhookError)] == [11210] * 3
    assert names.asked == ["nobody.example"] * 2


async def test_an_address_needs_no_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    async with web_server() as server, WebhookClient() as client:
        await fetch(client, server.base)
    assert names.asked == []


async def test_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, app_example=["127.0.0.9", "127.0.0.1"])
    async with web_server() as server, WebhookClient() as client:
        assert await fetch(client, f"http://app.example:{server.port}/") == DOCUMENT


async def test_of_a_name_with_both_only_a_public_address_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, app_example=["127.0.0.1", "::1", "8.8.8.8"])
    tried: list[object] = []

    async def note(_sock: socket.socket, address: object) -> None:
        tried.append(address)
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", note)
    async with WebhookClient(WebhookSettings(allow_private=False)) as client:
        with pytest.raises(WebhookError) as caught:
            await fetch(client, "http://app.example:81/")
    assert (caught.value.code, tried, names.asked) == (11200, [("8.8.8.8", 81)], ["app.example"])


async def test_closing_ends_a_look_up_that_hangs() -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def hang(*_: object, **__: object) -> None:
        started.set()
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "getaddrinfo", hang)
        client = WebhookClient()
        fetching = loop.create_task(fetch(client, "http://app.example/"))
        await started.wait()
        await client.aclose()
        with pytest.raises(WebhookError) as caught:
            await fetching
    assert caught.value.code == 11200
    assert asyncio.all_tasks() == before


async def test_closing_ends_a_connect_whose_time_is_just_up(monkeypatch: pytest.MonkeyPatch) -> None:
    is_late = asyncio.Event()

    async def end_slowly(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            is_late.set()
            await asyncio.sleep(0.01)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "sock_connect", end_slowly)
    client = WebhookClient(WebhookSettings(connect_timeout_s=0.02))
    fetching = loop.create_task(fetch(client, "http://127.0.0.1:9/"))
    await is_late.wait()
    await client.aclose()
    with pytest.raises(WebhookError) as caught:
        await fetching
    assert caught.value.code == 11200


async def test_closing_ends_a_connect_that_has_just_loaded_its_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    loading, is_loaded = asyncio.Event(), asyncio.Event()

    async def load(*_: object) -> None:
        loading.set()
        await is_loaded.wait()

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(PooledTransport, "_load_context", load)
    monkeypatch.setattr(loop, "sock_connect", hang)
    client = WebhookClient()
    fetching = loop.create_task(fetch(client, "https://127.0.0.1:9/"))
    await loading.wait()
    is_loaded.set()
    await client.aclose()
    with pytest.raises(WebhookError) as caught:
        await asyncio.wait_for(fetching, 1)
    assert caught.value.code == 11200


async def test_names_are_not_kept_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    monkeypatch.setattr(dial, "MAX_NAMES", 3)
    dialler = Dialler(asyncio.get_running_loop(), allow_private=False)
    for number in range(8):
        names.names[f"n{number}"] = ["127.0.0.1"]
        with pytest.raises(OSError, match="no public address"):
            await dialler.connect(f"n{number}", 80)
        assert dialler.known_names <= 3
    await dialler.aclose()
