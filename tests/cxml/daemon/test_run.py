"""Start, readiness, registration and the end, on the in-memory network."""

import asyncio
import errno
import signal
import socket
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from cxml.daemon.config import Config, Http, Media, Peer, Sip, Voice
from cxml.daemon.run import Facts, StartError, readiness, running, serve
from sipua.message import Request, make_response
from sipua.transport.memory import MemoryNetwork
from sipua.usage.call.media import MediaMode
from tests.support.wire import Wire

pytestmark = pytest.mark.looptime

REGISTRAR = "10.0.0.9"


def config(**sections: Any) -> Config:
    base: dict[str, Any] = {
        "sip": Sip(listen=("udp:10.0.0.1:5060",), drain_timeout_s=5.0),
        "http": Http(listen=""),
        "voice": Voice(url="http://app.test/voice"),
        "media": Media(mode=MediaMode.NONE),
    }
    return Config(**base | sections)


def registering(uri: str = f"sip:{REGISTRAR}") -> Config:
    peer = Peer(name="pbx", match=(REGISTRAR,), uri=uri, username="u", password=SecretStr("p4ss"), register=True)
    return config(peers=(peer,))


class Registrar(Wire):
    """Answers REGISTER with the statuses of its list, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(REGISTRAR)
        self.statuses_left = list(statuses)
        self.seen: list[Request] = []

    def on_datagram(self, data: bytes, source: tuple[str, int]) -> None:
        super().on_datagram(data, source)
        request = self.messages[-1]
        if not isinstance(request, Request):
            return
        self.seen.append(request)
        status = self.statuses_left.pop(0) if len(self.statuses_left) > 1 else self.statuses_left[0]
        response = make_response(request, status, to_tag="reg")
        if status == 200 and request.headers.get("Expires") != "0":
            response.headers.add("Contact", f"{request.headers.get('Contact')}")
        if status == 401:
            response.headers.add("WWW-Authenticate", 'Digest realm="pbx", nonce="n", qop="auth"')
        self.send(response.encode())


def metric(text: str, name: str) -> float | None:
    return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + " ")), None)


async def test_a_registration_makes_the_daemon_ready_and_is_removed_at_the_end() -> None:
    network = MemoryNetwork()
    registrar = Registrar(401, 200)
    await registrar.open(network)
    async with running(registering(), network.host("10.0.0.1")) as (daemon, facts):
        assert facts["sip"] == ["udp:10.0.0.1:5060"]
        assert readiness(daemon).reasons == ("not registered at pbx",)
        assert metric(daemon.metrics.render().decode(), 'cxmld_registered{peer="pbx"}') == 0
        await asyncio.sleep(1)
        assert readiness(daemon).is_ready
        assert metric(daemon.metrics.render().decode(), 'cxmld_registered{peer="pbx"}') == 1
        assert 'username="u"' in (registrar.seen[-1].headers.get("Authorization") or "")
    assert registrar.seen[-1].headers.get("Expires") == "0"


async def test_a_refused_registration_is_logged_and_keeps_the_daemon_from_being_ready(caplog: pytest.LogCaptureFixture) -> None:
    network = MemoryNetwork()
    registrar = Registrar(403)
    await registrar.open(network)
    async with running(registering(), network.host("10.0.0.1")) as (daemon, _):
        await asyncio.sleep(5)
        assert readiness(daemon).reasons == ("not registered at pbx",)
        assert [record.levelname for record in caplog.records if "registrar refuses" in record.message] == ["ERROR"]
        registrar.statuses_left = [200]
        await asyncio.sleep(400)
        assert readiness(daemon).is_ready
    assert "p4ss" not in caplog.text


async def test_a_registrar_whose_name_is_unknown_is_tried_again() -> None:
    network = MemoryNetwork()
    with capture_logs() as logs:
        async with running(registering("sip:pbx.example"), network.host("10.0.0.1")) as (daemon, _):
            await asyncio.sleep(40)
            assert not readiness(daemon).is_ready
            await Registrar(200).open(network)
            network.host(REGISTRAR, "pbx.example")
            await asyncio.sleep(120)
            assert readiness(daemon).is_ready
    lines = [line for line in logs if line["event"] == "registrar_unreachable"]
    assert len(lines) >= 2
    assert lines[0]["peer"] == "pbx"


async def test_a_registrar_that_cannot_be_reached_does_not_hold_up_the_end() -> None:
    network = MemoryNetwork()
    async with running(registering("sip:pbx.example"), network.host("10.0.0.1")):
        await asyncio.sleep(1)
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 1


async def test_a_registrar_that_is_silent_holds_up_the_end_for_seconds_only() -> None:
    network = MemoryNetwork()
    async with running(registering(), network.host("10.0.0.1")) as (daemon, _):
        await asyncio.sleep(40)
        assert not readiness(daemon).is_ready
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun <= 5


async def test_a_draining_daemon_is_not_ready() -> None:
    async with running(config(), MemoryNetwork().host("10.0.0.1")) as (daemon, _):
        assert readiness(daemon).is_ready
        await daemon.registry.drain(0, 0)
        assert readiness(daemon).reasons == ("draining",)


async def test_transport_and_transactions_show_in_the_metrics() -> None:
    network = MemoryNetwork()
    wire = Wire()
    async with running(config(peers=(Peer(name="pbx", match=("10.0.0.0/8",)),)), network.host("10.0.0.1")) as (daemon, _):
        await wire.open(network)
        wire.send(wire.request("OPTIONS"))
        await wire.final("OPTIONS")
        wire.send("broken\r\n\r\n")
        await asyncio.sleep(1)
        text = daemon.metrics.render().decode()
    assert metric(text, 'cxmld_sip_messages_total{event="received"}') == 1
    assert metric(text, 'cxmld_sip_messages_total{event="malformed"}') == 1
    assert metric(text, 'cxmld_sip_transactions_total{event="requests_stateless"}') == 1


async def test_an_address_that_is_not_ours_is_a_start_error_that_names_the_setting() -> None:
    network = MemoryNetwork()
    with pytest.raises(StartError, match=r"\[sip\] listen: .*10\.0\.0\.7"):
        async with running(config(sip=Sip(listen=("udp:10.0.0.7:5060",))), network.host("10.0.0.1")):
            pass


@pytest.mark.looptime(False)
async def test_an_http_port_in_use_is_a_start_error_and_frees_the_sip_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        network = MemoryNetwork()
        with pytest.raises(StartError, match=rf"\[http\] listen: 127\.0\.0\.1:{port}: .*in use"):
            async with running(config(http=Http(listen=f"127.0.0.1:{port}")), network.host("10.0.0.1")):
                pass
        assert network.host("10.0.0.1").udp == {}


@pytest.mark.looptime(False)
async def test_serve_tells_when_it_is_ready_and_ends_by_its_event_or_a_signal() -> None:
    for by_signal in (False, True):
        stop = asyncio.Event()
        told: list[Facts] = []

        def ready(facts: Facts, stop: asyncio.Event = stop, by_signal: bool = by_signal, told: list[Facts] = told) -> None:
            told.append(facts)
            if by_signal:
                signal.raise_signal(signal.SIGTERM)
            else:
                stop.set()

        with capture_logs() as logs:
            async with asyncio.timeout(5):
                await serve(config(sip=Sip(listen=("udp:127.0.0.1:0",))), ready=ready, stop=stop)
        assert len(told) == 1
        assert [line["event"] for line in logs] == ["daemon_ready", "draining", "drained", "daemon_stopped"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.looptime(False)
async def test_a_sip_port_in_use_is_a_start_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"{port}.*|.*{errno.EADDRINUSE}"):
            await serve(config(sip=Sip(listen=(f"udp:127.0.0.1:{port}",))))
