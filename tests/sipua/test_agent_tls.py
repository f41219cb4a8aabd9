"""Calls and registrations over TLS: Contact, routes and connections of both sides (RFC 3261 §8.1.1.8, §12.1.1, §26.2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sipua.agent import UserAgent
from sipua.errors import TransportError
from sipua.message import Request, parse_message
from sipua.transport import Channel, MemoryNetwork
from sipua.transport.certificates import VerifyClients
from sipua.usage.call.call import Call
from tests.support.certificates import Authority
from tests.support.transport import ALICE, BOB

pytestmark = pytest.mark.looptime

Seen = list[tuple[str, Request]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def agents(authority: Authority, verify: VerifyClients) -> AsyncIterator[tuple[UserAgent, UserAgent, Seen]]:
    """Two agents that listen for TLS, and the requests that the called one sees."""
    network = MemoryNetwork(delay=(0.01, 0.01))
    alice = UserAgent(
        listen=[f"tls:{ALICE}:5061"], network=network.host(ALICE, "alice.example"), tls=authority.tls("alice.example", ALICE, verify=verify)
    )
    bob = UserAgent(
        listen=[f"tls:{BOB}:5061", f"udp:{BOB}:5060"],
        network=network.host(BOB, "bob.example"),
        tls=authority.tls("bob.example", BOB, verify=verify),
    )
    seen: Seen = []

    def trace(direction: str, data: bytes, channel: Channel) -> None:
        del channel
        message = parse_message(data)
        if isinstance(message, Request):
            seen.append((direction, message))

    async with alice, bob:
        bob.transports.trace.append(trace)
        yield alice, bob, seen


async def answer(call: Call) -> None:
    await call.answer()
    await asyncio.sleep(1)
    await call.hangup()
    await call.wait_ended()


@pytest.mark.parametrize("verify", [VerifyClients.NONE, VerifyClients.OPTIONAL])
@pytest.mark.parametrize(
    ("target", "alices", "bobs"),
    [
        (f"sip:bob@{BOB};transport=tls", f"<sip:sipua@{ALICE}:5061;transport=tls>", f"<sip:bob@{BOB}:5061;transport=tls>"),
        ("sips:bob@bob.example", f"<sips:sipua@{ALICE}:5061>", f"<sips:bob@{BOB}:5061>"),
    ],
)
async def test_a_call_over_tls_stays_on_tls_in_both_directions(
    authority: Authority, verify: VerifyClients, target: str, alices: str, bobs: str
) -> None:
    async with agents(authority, verify) as (alice, bob, seen):
        bob.on_call = answer
        call = await alice.dial(target)
        await call.wait_ended()
        assert [(direction, request.method) for direction, request in seen] == [("in", "INVITE"), ("in", "ACK"), ("out", "BYE")]
        assert {request.via.transport for _, request in seen} == {"TLS"}
        invite, ack, bye = (request for _, request in seen)
        assert invite.headers.get("Contact") == alices
        assert (f"<{ack.uri}>", f"<{bye.uri}>") == (bobs, alices)
        # with certificates on both sides the BYE goes back over the caller's connection (RFC 5923), else by one of the called side's own
        assert bob.transports.counters["opened"] == (0 if verify is VerifyClients.OPTIONAL else 1)


async def test_a_call_to_a_name_that_the_certificate_lacks_fails_and_sends_nothing(authority: Authority) -> None:
    async with agents(authority, VerifyClients.NONE) as (alice, bob, seen):
        bob.on_call = answer
        response = await alice.options(f"sips:bob@carol.example;maddr={BOB}")
        assert response.status == 503
        assert seen == []
        assert alice.transports.counters["handshakes_failed"] == 1


async def test_an_agent_without_tls_says_so() -> None:
    async with UserAgent(listen=[f"udp:{ALICE}:5060"], network=MemoryNetwork().host(ALICE)) as agent:
        assert (await agent.options(f"sips:{BOB}")).status == 503
        with pytest.raises(TransportError, match="TLS is not set up here"):
            await agent.register(f"sips:{BOB}")
