"""The example registers, dials and leaves, at a registrar whose digest is computed here and not by ``sipua``."""

import asyncio
import hashlib
import re

import pytest

from examples.dial_and_register.main import main
from sipua import Call, UserAgent
from sipua.message import make_response
from sipua.transaction.layer import ServerTransaction

PASSWORD = "open sesame"
NONCE = "d41d8cd98f00b204"


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class Registrar(UserAgent):
    """A PBX that takes registrations of ``alice`` and answers calls to 100; other numbers are busy."""

    def __init__(self) -> None:
        super().__init__()
        self.bindings: list[str] = []
        self.on_call = self._take

    async def start(self) -> None:
        await super().start()
        others = self.dialogs.on_request

        def on_request(transaction: ServerTransaction) -> None:
            (self._register if transaction.request.method == "REGISTER" else others)(transaction)

        self.dialogs.on_request = on_request  # type: ignore[method-assign]
        answer = self.transactions.answer  # refuses REGISTER without a transaction
        self.transactions.answer = lambda request, channel, tag: None if request.method == "REGISTER" else answer(request, channel, tag)

    def _register(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        response = make_response(request, 200 if self._is_genuine(request.headers.get("Authorization") or "") else 401, to_tag="r")
        if response.status == 401:
            response.headers.add("WWW-Authenticate", f'Digest realm="pbx", nonce="{NONCE}", qop="auth"')
        else:
            contact = request.headers.get("Contact") or ""
            self.bindings.append(request.headers.get("Expires") or contact.partition("expires=")[2])
            response.headers.add("Contact", f"{contact.partition(';expires')[0]};expires=300")
        transaction.respond(response)

    @staticmethod
    def _is_genuine(given: str) -> bool:
        """RFC 7616 §3.4.1 with qop=auth."""
        value: dict[str, str] = dict(re.findall(r'(\w+)="?([^",]+)"?', given.removeprefix("Digest ")))
        if not value:
            return False
        secret, asked = md5(f"alice:pbx:{PASSWORD}"), md5(f"REGISTER:{value['uri']}")
        return value["response"] == md5(f"{secret}:{NONCE}:{value['nc']}:{value['cnonce']}:auth:{asked}")

    async def _take(self, call: Call) -> None:
        if call.to.uri.user != "100":
            await call.reject(486)
            return
        await call.answer()
        await call.hangup()


async def run_example(registrar: Registrar, password: str, number: str) -> int:
    where = registrar.endpoints[0].hostport
    async with asyncio.timeout(20):
        return await main(f"sip:{where}", "alice", password, f"sip:{number}@{where}", "udp:127.0.0.1:0")


async def test_it_registers_dials_and_removes_its_registration(capsys: pytest.CaptureFixture[str]) -> None:
    async with Registrar() as registrar:
        assert await run_example(registrar, PASSWORD, "100") == 0
        assert capsys.readouterr().out.splitlines() == ["registered", "answered", "ended by peer"]
        assert [registrar.bindings[0], registrar.bindings[-1]] == ["300", "0"]


async def test_it_says_why_a_call_is_not_answered(capsys: pytest.CaptureFixture[str]) -> None:
    async with Registrar() as registrar:
        assert await run_example(registrar, PASSWORD, "200") == 1
        assert capsys.readouterr().out.splitlines() == ["registered", "no call: 486 Busy Here"]


async def test_it_says_when_the_password_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    async with Registrar() as registrar:
        assert await run_example(registrar, "wrong", "100") == 1
        assert capsys.readouterr().out.startswith("no call: 401")
        assert registrar.bindings == []
