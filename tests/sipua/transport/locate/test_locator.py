"""The resolver that asks name servers: its cache, its bounds, and what it does when they are silent."""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path

import pytest

from sipua.errors import TransportError
from sipua.message import Uri
from sipua.transport import Endpoint, MemoryNetwork
from sipua.transport.locate import DnsSettings, Locator
from sipua.transport.locate.cache import FAILURE_TTL_S, MAX_RUNNING, MIN_TTL_S, NEGATIVE_TTL_S, STALE_RETRY_S, STALE_S, STALE_WAIT_S
from sipua.transport.locate.hosts import HostsFile
from tests.support.dns import Zone, naptr, srv

pytestmark = pytest.mark.looptime

NAME = Uri.parse("sip:pbx.example.com:5060")
DOMAIN = Uri.parse("sip:example.com")
A = ("pbx.example.com", "A")


class Bench:
    """A locator over a zone and a memory network; *hosts* is the text of the hosts file."""

    def __init__(self, folder: Path, settings: DnsSettings | None = None) -> None:
        self.zone = Zone({A: ("192.0.2.1",)})
        self.network = MemoryNetwork(random.Random(1))
        self.file = folder / "hosts"
        self.locator = Locator(
            settings, network=self.network.host("10.0.0.1"), asker=self.zone, hosts=HostsFile(self.file), rng=random.Random(3)
        )

    async def find(self, uri: Uri = NAME, key: str = "") -> str:
        return " ".join(str(endpoint) for endpoint in await self.locator.resolve(uri, key))

    def count(self, kind: str) -> int:
        return sum(asked[1] == kind for asked in self.zone.asked)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.locator.aclose()


async def test_an_answer_holds_for_its_ttl_and_is_known_at_once(bench: Bench) -> None:
    assert bench.locator.resolve_now(NAME) is None
    assert await bench.find() == "udp:192.0.2.1:5060"
    bench.zone.records[A] = ("192.0.2.2",)
    await asyncio.sleep(59)
    assert await bench.find() == "udp:192.0.2.1:5060"
    assert [str(e) for e in bench.locator.resolve_now(NAME) or ()] == ["udp:192.0.2.1:5060"]
    await asyncio.sleep(2)
    assert bench.locator.resolve_now(NAME) is None
    assert await bench.find() == "udp:192.0.2.2:5060"
    assert bench.count("A") == 2


@pytest.mark.parametrize(("ttl_s", "held_s"), [(0.0, MIN_TTL_S), (7.0, 7.0), (1e9, 3600.0)])
async def test_times_to_live_have_a_floor_and_a_ceiling(bench: Bench, ttl_s: float, held_s: float) -> None:
    bench.zone.ttl_s = ttl_s
    bench.zone.records["pbx.example.com", "AAAA"] = ("2001:db8::1",)
    await bench.find()
    await asyncio.sleep(held_s - 0.1)
    assert bench.locator.resolve_now(NAME) is not None
    await asyncio.sleep(0.2)
    assert bench.locator.resolve_now(NAME) is None


@pytest.mark.parametrize(("ttl_s", "held_s"), [(None, NEGATIVE_TTL_S), (10.0, 10.0), (86400.0, NEGATIVE_TTL_S), (0.0, MIN_TTL_S)])
async def test_that_a_name_does_not_exist_is_remembered_shortly(bench: Bench, ttl_s: float | None, held_s: float) -> None:
    bench.zone.records.clear()
    bench.zone.ttl_s = ttl_s
    with pytest.raises(TransportError, match="has no address"):
        await bench.find()
    await asyncio.sleep(held_s - 0.1)
    with pytest.raises(TransportError, match="has no address"):
        bench.locator.resolve_now(NAME)
    assert bench.count("A") == 1
    bench.zone.records[A] = ("192.0.2.1",)
    await asyncio.sleep(0.2)
    assert await bench.find() == "udp:192.0.2.1:5060"


async def test_one_question_serves_all_who_wait_and_one_who_gives_up_takes_it_from_nobody(bench: Bench) -> None:
    bench.zone.delay_s = 1.0
    waiting = [asyncio.create_task(bench.find()) for _ in range(5)]
    await asyncio.sleep(0.5)
    waiting[0].cancel()
    assert set(await asyncio.gather(*waiting[1:])) == {"udp:192.0.2.1:5060"}
    assert bench.count("A") == 1


async def test_the_last_answer_serves_on_while_no_name_server_answers(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.find()
    await asyncio.sleep(61)
    bench.zone.is_down = True
    assert await bench.find() == "udp:192.0.2.1:5060"
    assert "its last answer is used on" in caplog.text
    assert bench.locator.counters["stale"] >= 1
    bench.zone.is_down = False
    bench.zone.records[A] = ("192.0.2.2",)
    await asyncio.sleep(STALE_RETRY_S - 1)
    assert await bench.find() == "udp:192.0.2.1:5060"
    await asyncio.sleep(2)
    assert await bench.find() == "udp:192.0.2.2:5060"
    bench.zone.is_down = True
    await asyncio.sleep(60 + STALE_S)
    with pytest.raises(TransportError, match="the name server is down"):
        await bench.find()


async def test_with_a_stale_answer_nobody_waits_long_for_a_silent_name_server(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    await bench.find()
    await asyncio.sleep(61)
    bench.zone.delay_s = 60.0
    start = loop.time()
    assert await bench.find() == "udp:192.0.2.1:5060"
    assert STALE_WAIT_S <= loop.time() - start < STALE_WAIT_S + 0.3
    await asyncio.sleep(bench.locator.settings.timeout_s)
    await asyncio.sleep(STALE_RETRY_S + 1)


async def test_all_questions_about_one_hop_take_five_seconds_at_most(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    bench.zone.delay_s = 3.0
    start = loop.time()
    with pytest.raises(TransportError, match="check the name servers"):
        await bench.find(DOMAIN)
    assert loop.time() - start == pytest.approx(5.0)


async def test_a_failure_is_remembered_for_a_moment(bench: Bench) -> None:
    bench.zone.is_down = True
    for _ in range(3):
        with pytest.raises(TransportError, match="the name server is down"):
            await bench.find()
    assert bench.count("A") == 1
    bench.zone.is_down = False
    await asyncio.sleep(FAILURE_TTL_S + 0.1)
    assert await bench.find() == "udp:192.0.2.1:5060"


async def test_names_of_callers_neither_fill_the_memory_nor_push_out_a_name_in_use(tmp_path: Path) -> None:
    bench = Bench(tmp_path, DnsSettings(max_names=20))
    bench.zone.ttl_s = 3600.0
    await bench.find()
    for number in range(200):
        with pytest.raises(TransportError):
            await bench.find(Uri.parse(f"sip:n{number}.example:5060"))
        assert bench.locator.resolve_now(NAME) is not None
    assert len(bench.locator._answers) <= 20
    await bench.locator.aclose()


async def test_questions_under_way_are_bounded(bench: Bench) -> None:
    bench.zone.delay_s = 1.0
    found = await asyncio.gather(*(bench.find(Uri.parse(f"sip:n{n}.example:5060")) for n in range(200)), return_exceptions=True)
    assert len(bench.zone.asked) == MAX_RUNNING
    assert any("too many look-ups" in str(error) for error in found)


async def test_the_hosts_file_comes_first_and_ends_the_search(bench: Bench) -> None:
    bench.zone.records |= {("example.com", "NAPTR"): (naptr("1 1 s SIP+D2T _sip._tcp.example.com"),), ("example.com", "A"): ("192.0.2.7",)}
    bench.zone.records |= {("_sip._tcp.example.com", "SRV"): (srv("1 0 5070 pbx.example.com"),)}
    assert await bench.find(DOMAIN) == "tcp:192.0.2.1:5070"
    bench.file.write_text("10.9.8.7 example.com\n")
    await asyncio.sleep(6)
    assert [str(e) for e in bench.locator.resolve_now(DOMAIN) or ()] == ["udp:10.9.8.7:5060"]
    assert await bench.find(DOMAIN) == "udp:10.9.8.7:5060"


async def test_local_names_are_asked_of_the_system_when_dns_has_nothing(bench: Bench) -> None:
    bench.network.host("10.0.0.9", "pbx", "phone.local", "example.org")
    assert await bench.find(Uri.parse("sip:pbx")) == "udp:10.0.0.9:5060"
    assert await bench.find(Uri.parse("sip:phone.local;transport=tcp")) == "tcp:10.0.0.9:5060"
    assert [str(e) for e in bench.locator.resolve_now(Uri.parse("sip:pbx")) or ()] == ["udp:10.0.0.9:5060"]
    with pytest.raises(TransportError, match=r"example\.org has no address"):
        await bench.find(Uri.parse("sip:example.org"))
    with pytest.raises(TransportError, match="nobody has no address"):
        await bench.find(Uri.parse("sip:nobody"))


async def test_one_key_finds_one_server_and_many_keys_find_all(bench: Bench) -> None:
    name = "_sip._udp.example.com"
    bench.zone.records |= {(name, "SRV"): tuple(srv(f"1 10 5060 h{n}.example.com") for n in range(4))}
    bench.zone.records |= {(f"h{n}.example.com", "A"): (f"192.0.2.{n + 1}",) for n in range(4)}
    by_key = {key: {await bench.find(DOMAIN, key) for _ in range(10)} for key in map(str, range(40))}
    assert {len(orders) for orders in by_key.values()} == {1}
    assert len({order.split()[0] for orders in by_key.values() for order in orders}) == 4
    assert len({(await bench.find(DOMAIN)).split()[0] for _ in range(60)}) == 4


async def test_a_name_server_that_drops_aaaa_costs_a_moment_only(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    ask = bench.zone.ask

    async def slow(name: str, kind: str) -> object:
        if kind == "AAAA":
            await asyncio.sleep(4)
        return await ask(name, kind)

    bench.zone.ask = slow  # type: ignore[method-assign, assignment]
    start = loop.time()
    assert await bench.find() == "udp:192.0.2.1:5060"
    assert loop.time() - start < 0.5


async def test_endpoints_that_no_socket_of_ours_reaches_come_last(bench: Bench) -> None:
    bench.zone.records |= {("pbx.example.com", "AAAA"): ("2001:db8::1",)}
    assert await bench.find() == "udp:[2001:db8::1]:5060 udp:192.0.2.1:5060"
    bench.locator.is_usable = lambda endpoint: ":" not in endpoint.host
    assert await bench.find() == "udp:192.0.2.1:5060 udp:[2001:db8::1]:5060"


async def test_the_hosts_file_serves_names_with_a_dot_without_a_question(bench: Bench) -> None:
    bench.file.write_text("192.0.2.44 pbx.example.com example.com\n", encoding="utf-8")
    assert await bench.find(DOMAIN) == "udp:192.0.2.44:5060"
    assert await bench.find() == "udp:192.0.2.44:5060"
    assert bench.zone.asked == []


@pytest.mark.parametrize("text", ["sip:192.0.2.9", "sip:[2001:db8::9]:5070;transport=tcp", "sip:pbx.example.com:5060", "sip:example.com"])
async def test_what_is_known_takes_no_question_no_task_and_no_wait(bench: Bench, text: str) -> None:
    bench.zone.records[("_sip._udp.example.com", "SRV")] = (srv("1 1 5060 pbx.example.com"), srv("1 9 5061 pbx.example.com"))
    uri = Uri.parse(text)
    found = await bench.locator.resolve(uri, "call")
    bench.zone.asked.clear()
    tasks, lookups = len(asyncio.all_tasks()), bench.locator.counters["queries"]
    for _ in range(50):
        assert at_once(bench.locator.resolve(uri, "call")) == found
    assert len(asyncio.all_tasks()) == tasks
    assert bench.zone.asked == []
    assert bench.locator.counters["queries"] == lookups


def at_once(waiting: Coroutine[None, None, list[Endpoint]]) -> list[Endpoint]:
    """Return the result of a coroutine that must not wait for anything."""
    with pytest.raises(StopIteration) as end:
        waiting.send(None)
    result: list[Endpoint] = end.value.value
    return result


@pytest.mark.parametrize("seed", range(20))
async def test_an_answer_is_never_older_than_it_may_be_whatever_the_name_server_does(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    bench = Bench(tmp_path, DnsSettings(max_names=6, max_ttl_s=100.0, naptr=False))
    loop = asyncio.get_running_loop()
    names = [f"n{number}.example.com" for number in range(5)]
    changed: dict[tuple[str, str], float] = {}  # when which address was the name's last
    for step in range(300):
        zone, name = bench.zone, chance.choice(names)
        match chance.randrange(5):
            case 0:
                zone.is_down, zone.ttl_s = chance.random() < 0.4, chance.choice([0.0, 7.0, 60.0, 1e9, None])
                zone.delay_s = chance.choice([0.0, 0.0, 0.3])
            case 1:
                before = zone.records.get((name, "A"), ())
                changed |= {(name, str(address)): loop.time() for address in before}
                zone.records[name, "A"] = (f"10.1.{step // 200}.{step % 200 + 1}",) if chance.random() < 0.8 else ()
            case 2:
                await asyncio.sleep(chance.choice([0.1, 4.0, 31.0, 200.0, 40000.0]))
            case _:
                asked = loop.time()
                try:
                    found = await bench.find(Uri.parse(f"sip:{name}:5060"))
                except TransportError:
                    assert loop.time() - asked < 5.1
                    continue
                address = found.split(":")[1]
                age_s = loop.time() - changed.get((name, address), loop.time())
                assert age_s <= 100.0 + STALE_S + STALE_RETRY_S
                assert age_s <= 101.0 or bench.locator.counters["stale"], "only silence makes an answer old"
        assert len(bench.locator._answers) <= 6
    await bench.locator.aclose()
