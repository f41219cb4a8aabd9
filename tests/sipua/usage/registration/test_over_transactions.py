"""A registration over real transactions, with a registrar that asks for a password and a network that loses messages."""

import asyncio
import itertools
import random

import pytest

from sipua.auth import Authenticator, Credential
from sipua.auth.digest import Challenge, make_credentials, parse_auth
from sipua.dialog.layer import DialogLayer
from sipua.message import Request, Response, make_response
from sipua.transaction.exchange import Exchanger
from sipua.transaction.layer import ServerTransaction, TransactionLayer
from sipua.transport.base import Channel
from sipua.transport.resolver import Resolver
from sipua.usage.registration import Registration, RegistrationSettings, RegistrationState
from tests.support.loopback import linked

pytestmark = pytest.mark.looptime

SETTINGS = RegistrationSettings("sip:192.0.2.2", "sip:cxmld@pbx.example", "sip:cxmld@192.0.2.1:5060")
CREDENTIAL = Credential("cxmld", "right", "pbx")


class Registrar:
    """Checks digests itself; a nonce serves for *nonce_s* seconds."""

    def __init__(self, nonce_s: float = 1e9) -> None:
        self.nonce_s = nonce_s
        self.nonces: dict[str, float] = {}
        self.counts: set[tuple[str, str]] = set()
        self.bound = 0
        self.statuses: list[int] = []
        self.calls: set[str] = set()
        self._counter = itertools.count(1)

    def on_request(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        self.calls.add(request.call_id)
        response = self._answer(request)
        self.statuses.append(response.status)
        transaction.respond(response)

    def _answer(self, request: Request) -> Response:
        verdict = self._verdict(request)
        if verdict == "right":
            self.bound = request.expires or 0
            response = make_response(request, 200, to_tag="r")
            if self.bound:
                response.headers.add("Contact", f"<sip:cxmld@192.0.2.1:5060>;expires={self.bound}")
            return response
        nonce = f"n{next(self._counter)}"
        self.nonces[nonce] = asyncio.get_running_loop().time() + self.nonce_s
        response = make_response(request, 401, to_tag="r")
        for algorithm in ("SHA-256", "MD5"):
            stale = ", stale=true" if verdict == "stale" else ""
            response.headers.add("WWW-Authenticate", f'Digest realm="pbx", nonce="{nonce}", qop="auth", algorithm={algorithm}{stale}')
        return response

    def _verdict(self, request: Request) -> str:
        text = request.headers.get("Authorization")
        if text is None:
            return "none"
        _, got = parse_auth(text)
        if self.nonces.get(got["nonce"], 0) < asyncio.get_running_loop().time() or (got["nonce"], got["nc"]) in self.counts:
            return "stale"
        self.counts.add((got["nonce"], got["nc"]))
        asked = Challenge("pbx", got["nonce"], got["algorithm"], None, ("auth",))
        count, cnonce = int(got["nc"], 16), got["cnonce"]
        expected = make_credentials(asked, "cxmld", "right", "REGISTER", request.uri, b"", count, cnonce)
        return "right" if parse_auth(expected)[1]["response"] == got["response"] else "wrong"

    def on_ack(self, request: Request, channel: Channel) -> None:
        raise AssertionError("no INVITE, no ACK")

    def on_stray_response(self, response: Response, channel: Channel) -> None:
        raise AssertionError("no INVITE, no 2xx to one")


class World:
    """A registration, a registrar, and the layers between them."""

    def __init__(self, registrar: Registrar, password: str = "right", loss: float = 0.0, seed: int = 1) -> None:
        rng = random.Random(seed)
        left, right = linked()
        left.lose = right.lose = lambda _message: rng.random() < loss
        loop = asyncio.get_running_loop()
        self.client, self.server = TransactionLayer(left, loop), TransactionLayer(right, loop)
        self.server.user = registrar
        exchanger = Exchanger(self.client, Resolver())
        names = DialogLayer(self.client, exchanger, rng=random.Random(seed))
        authenticator = Authenticator([Credential("cxmld", password)], lambda: f"{rng.getrandbits(64):x}")
        self.registration = Registration.over(exchanger, authenticator, names, SETTINGS)

    async def close(self) -> None:
        await self.client.aclose()
        await self.server.aclose()


async def test_the_first_register_is_challenged_and_the_next_ones_carry_credentials() -> None:
    registrar = Registrar()
    world = World(registrar)
    await world.registration.start()
    await world.registration.wait_registered(1)
    assert registrar.bound == 300
    await asyncio.sleep(500)
    await world.registration.stop()
    assert registrar.bound == 0
    assert registrar.statuses == [401, *[200] * (len(registrar.statuses) - 1)]
    assert len(registrar.calls) == 1
    await world.close()


async def test_a_nonce_that_has_expired_is_replaced() -> None:
    registrar = Registrar(nonce_s=10)
    world = World(registrar)
    await world.registration.start()
    await asyncio.sleep(1000)
    assert world.registration.is_registered
    await world.registration.stop()
    assert registrar.statuses == [401, 200] * (len(registrar.statuses) // 2)
    await world.close()


async def test_a_wrong_password_is_tried_once_every_five_minutes() -> None:
    registrar = Registrar()
    world = World(registrar, "wrong")
    await world.registration.start()
    await asyncio.sleep(650)
    assert world.registration.state is RegistrationState.REFUSED
    assert world.registration.failure == (401, "Unauthorized")
    assert registrar.statuses == [401] * 6
    await world.registration.stop()
    await world.close()


@pytest.mark.parametrize("seed", range(10))
async def test_a_lossy_network_costs_no_registration(seed: int) -> None:
    registrar = Registrar(nonce_s=400)
    world = World(registrar, loss=0.4, seed=seed)
    await world.registration.start()
    await world.registration.wait_registered(200)
    await asyncio.sleep(5000)
    assert registrar.bound == 300
    await world.registration.stop()
    assert world.registration.state is RegistrationState.ENDED
    await asyncio.sleep(100)
    assert world.client.client_count == world.server.server_count == 0
    await world.close()


async def test_a_dead_registrar_is_asked_until_it_is_back() -> None:
    registrar = Registrar()
    world = World(registrar, loss=1.0)
    await world.registration.start()
    with pytest.raises(TimeoutError):
        await world.registration.wait_registered(100)
    assert world.registration.state is RegistrationState.WAITING
    assert world.registration.failure == (408, "Request Timeout")
    await world.registration.stop()
    await asyncio.sleep(100)
    assert world.client.client_count == 0
    await world.close()
