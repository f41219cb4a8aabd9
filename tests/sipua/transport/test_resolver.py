"""Names to endpoints."""

import asyncio

import pytest

from sipua.errors import TransportError
from sipua.message import Uri
from sipua.transport import Endpoint, Resolver
from sipua.transport.resolver import CACHE_SECONDS, LOOKUP_SECONDS, MAX_NAMES, MAX_RECORDS

pytestmark = pytest.mark.looptime


class Names:
    """A look-up that counts and takes *seconds*."""

    def __init__(self, seconds: float = 0.0, **names: list[str]) -> None:
        self.seconds = seconds
        self.names = names
        self.asked: list[str] = []

    async def __call__(self, name: str) -> list[str]:
        self.asked.append(name)
        await asyncio.sleep(self.seconds)
        if name not in self.names:
            raise OSError(-2, "Name or service not known")
        return self.names[name]


async def test_an_ip_literal_is_resolved_at_once() -> None:
    resolver = Resolver(Names())
    assert resolver.resolve_now(Uri.parse("sip:b@192.0.2.1:5070;transport=tcp")) == [Endpoint("TCP", "192.0.2.1", 5070)]
    assert await resolver.resolve(Uri.parse("sip:b@[::1]")) == [Endpoint("UDP", "::1", 5060)]


async def test_a_name_is_looked_up_once_in_30_seconds_however_many_ask() -> None:
    names = Names(1.0, pbx=["192.0.2.1", "2001:db8::1"])
    resolver = Resolver(names)
    uri = Uri.parse("sip:b@PBX:5070")
    assert resolver.resolve_now(uri) is None
    answers = await asyncio.gather(*(resolver.resolve(uri) for _ in range(5)))
    assert answers == [[Endpoint("UDP", "192.0.2.1", 5070), Endpoint("UDP", "2001:db8::1", 5070)]] * 5
    assert resolver.resolve_now(Uri.parse("sip:pbx;transport=tcp")) == [
        Endpoint("TCP", "192.0.2.1", 5060),
        Endpoint("TCP", "2001:db8::1", 5060),
    ]
    assert names.asked == ["pbx"]
    await asyncio.sleep(CACHE_SECONDS + 1)
    await resolver.resolve(uri)
    assert names.asked == ["pbx", "pbx"]


async def test_failure_is_remembered_too() -> None:
    names = Names()
    resolver = Resolver(names)
    for _ in range(2):
        with pytest.raises(TransportError, match="look-up of nowhere failed: Name or service not known"):
            await resolver.resolve(Uri.parse("sip:nowhere"))
    assert names.asked == ["nowhere"]
    with pytest.raises(TransportError):
        resolver.resolve_now(Uri.parse("sip:nowhere"))


async def test_a_silent_name_server_costs_five_seconds() -> None:
    resolver = Resolver(Names(1000.0, slow=["192.0.2.1"]))
    started = asyncio.get_running_loop().time()
    with pytest.raises(TransportError, match="no answer"):
        await resolver.resolve(Uri.parse("sip:slow"))
    assert asyncio.get_running_loop().time() - started == pytest.approx(LOOKUP_SECONDS, abs=0.01)


async def test_records_and_names_are_bounded_and_an_empty_answer_is_a_failure() -> None:
    many = {f"n{i}": ["192.0.2.1"] for i in range(MAX_NAMES + 5)}
    resolver = Resolver(Names(0.0, big=[f"10.0.0.{i}" for i in range(100)], none=[], **many))
    assert len(await resolver.resolve(Uri.parse("sip:big"))) == MAX_RECORDS
    with pytest.raises(TransportError, match="none has no address"):
        await resolver.resolve(Uri.parse("sip:none"))
    for name in many:
        await resolver.resolve(Uri.parse(f"sip:{name}"))
    assert resolver.resolve_now(Uri.parse("sip:big")) is None
    assert resolver.resolve_now(Uri.parse("sip:n9")) is not None


@pytest.mark.parametrize("uri", ["sips:B@Pbx.Example", "sip:b@pbx.example;transport=tls"])
async def test_the_endpoints_of_a_tls_target_carry_the_domain_that_was_asked_for(uri: str) -> None:
    """RFC 5922 §4: the certificate must stand for the domain of the URI."""
    names = Names()
    names.names["pbx.example"] = ["192.0.2.1", "192.0.2.2"]
    expected = [Endpoint("TLS", "192.0.2.1", 5061, "pbx.example"), Endpoint("TLS", "192.0.2.2", 5061, "pbx.example")]
    assert await Resolver(names).resolve(Uri.parse(uri)) == expected


async def test_closing_ends_a_look_up_that_runs() -> None:
    resolver = Resolver(Names(1000.0))
    task = asyncio.create_task(resolver.resolve(Uri.parse("sip:slow")))
    await asyncio.sleep(1)
    await resolver.aclose()
    with pytest.raises(TransportError, match="closed"):
        await task


async def test_the_systems_resolver_knows_localhost_and_refuses_a_broken_label() -> None:
    resolver = Resolver()
    endpoints = await resolver.resolve(Uri.parse("sip:localhost"))
    assert {endpoint.host for endpoint in endpoints} <= {"127.0.0.1", "::1"}
    with pytest.raises(TransportError):
        await resolver.resolve(Uri.parse(f"sip:{'x' * 70}.example"))
