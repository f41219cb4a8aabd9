"""Walks docs/spec/server-location.md (RFC 3263 §4, RFC 2782)."""

import contextlib
import random as randoms
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import TransportError
from sipua.message import Uri
from sipua.transport.base import Endpoint
from sipua.transport.locate.records import (
    MAX_ENDPOINTS,
    MAX_SERVERS,
    Abilities,
    Answer,
    Kind,
    Location,
    Naptr,
    Pick,
    Question,
    Srv,
    locate,
    order_srv,
)
from sipua.transport.route import parse_endpoint
from tests.support.dns import naptr, srv
from tests.support.tables import SPEC, read_table, read_tables

TABLE = SPEC / "server-location.md"
ZONE, URIS = read_tables(TABLE, "Endpoints")


ALL = Abilities(lambda _transport: True)


def least(low: int, high: int) -> int:
    return low


def zone() -> dict[Question, Answer]:
    records: dict[Question, list[object]] = {}
    for row in ZONE:
        kind, data = Kind(row["Type"]), row["Data"]
        found: Sequence[object] = data.split() if kind is Kind.HOST else [naptr(data) if kind is Kind.NAPTR else srv(data)]
        records.setdefault(Question(row["Name"], kind), []).extend(found)
    return {question: Answer(tuple(found)) for question, found in records.items()}  # type: ignore[arg-type]


def run(uri: str, answers: dict[Question, Answer], pick: Pick = least, abilities: Abilities = ALL) -> list[Endpoint]:
    return drive(locate(Uri.parse(uri), pick, abilities), lambda question: answers.get(question, Answer()))


def drive(location: Location, answer: Callable[[Question], Answer], asked: list[tuple[Question, ...]] | None = None) -> list[Endpoint]:
    """Run *location* to its end; *asked* gets the questions of each round."""
    rounds = [] if asked is None else asked
    try:
        questions = next(location)
        while len(rounds) < 9:
            rounds.append(questions)
            questions = location.send([answer(question) for question in questions])
    except StopIteration as end:
        return list(end.value)
    raise AssertionError("asks for ever")


def written(text: str) -> Iterator[Endpoint]:
    for part in text.split(", "):
        where, _, name = part.partition("=")
        endpoint = parse_endpoint(where)
        yield Endpoint(endpoint.transport, endpoint.host, endpoint.port, name)


@pytest.mark.parametrize("row", URIS, ids=lambda row: row["URI"])
def test_the_endpoints_of_the_table(row: dict[str, str]) -> None:
    if row["Endpoints"] == "–":
        with pytest.raises(TransportError):
            run(row["URI"], zone())
    else:
        assert run(row["URI"], zone()) == list(written(row["Endpoints"]))


@pytest.mark.parametrize("row", read_table(TABLE, "Servers of one priority"), ids=lambda row: row["Records"] + "/" + row["Draws"])
def test_the_order_of_the_table(row: dict[str, str]) -> None:
    records = []
    for text in row["Records"].split(", "):
        priority, weight, target = text.split()
        records.append(Srv(int(priority), int(weight), 5060, target))
    draws = iter(text.split(" of ") for text in row["Draws"].split(", ")) if row["Draws"] else iter(())

    def pick(low: int, high: int) -> int:
        number, total = next(draws, ("0", str(high)))
        assert (low, high) == (0, int(total))
        return int(number)

    assert " ".join(record.target for record in order_srv(records, pick)) == row["Order"]
    assert next(draws, None) is None


@pytest.mark.parametrize(
    ("abilities", "expected"),
    [
        (Abilities(lambda transport: transport == "UDP"), "udp:192.0.2.1:5072"),
        (Abilities(lambda transport: transport != "TCP"), "tls:192.0.2.1:5071=example.com"),
        (Abilities(lambda _transport: True, naptr=False), "udp:192.0.2.1:5072"),
    ],
)
def test_dns_never_chooses_a_transport_that_we_lack_and_naptr_can_be_left_out(abilities: Abilities, expected: str) -> None:
    assert run("sip:example.com", zone(), abilities=abilities) == list(written(expected))


def test_a_name_server_that_fails_is_named_when_there_is_no_address() -> None:
    answers = {Question("plain.example", Kind.HOST): Answer(error="no name server answers")}
    with pytest.raises(TransportError, match="no name server answers"):
        run("sip:plain.example", answers)


def test_a_thousand_records_give_a_bounded_number_of_endpoints() -> None:
    name = "_sip._udp.big.example"
    hosts = [f"h{number}.big.example" for number in range(1000)]
    answers = {Question(name, Kind.SRV): Answer(tuple(Srv(1, 1, 5060, host) for host in hosts))}
    answers |= {Question(host, Kind.HOST): Answer(tuple(f"10.{n}.0.{i}" for i in range(1, 100))) for n, host in enumerate(hosts[:250])}
    asked: list[tuple[Question, ...]] = []
    found = drive(locate(Uri.parse("sip:big.example"), least, Abilities(naptr=False)), lambda q: answers.get(q, Answer()), asked)
    assert len(found) == MAX_ENDPOINTS
    assert max(len(questions) for questions in asked) == MAX_SERVERS


@st.composite
def servers(draw: st.DrawFn) -> list[Srv]:
    number = st.integers(0, 65535)
    return draw(st.lists(st.builds(Srv, st.integers(0, 3), number, number, st.sampled_from(["", "a", "b", "c.d", "\\000x"])), max_size=40))


@given(servers(), st.randoms(use_true_random=False))
def test_every_usable_record_stands_once_in_the_order_and_priorities_never_go_back(records: list[Srv], random: randoms.Random) -> None:
    ordered = order_srv(records, random.randint)
    assert set(ordered) == {record for record in records if record.target and record.port}
    assert len(ordered) == len(set(ordered))
    assert [r.priority for r in ordered] == sorted(r.priority for r in ordered)


@given(st.data())
def test_whatever_dns_says_there_are_endpoints_or_a_transport_error(data: st.DataObject) -> None:
    texts = st.sampled_from(["", "s", "S", "a", "SIP+D2U", "sips+d2t", "SIP+D2T", "x.example", "_sip._udp.x.example", "\\255\\000"])
    rule = st.builds(Naptr, st.integers(0, 3), st.integers(0, 3), texts, texts, st.sampled_from(["", "!x!y!"]), texts)
    location = locate(
        Uri.parse(data.draw(st.sampled_from(["sip:x.example", "sips:x.example", "sip:x.example;transport=tcp"]))), least, Abilities()
    )
    addresses = st.lists(st.sampled_from(["10.0.0.1", "::1"]))
    kinds: dict[Kind, st.SearchStrategy[list[Any]]] = {Kind.NAPTR: st.lists(rule), Kind.SRV: servers(), Kind.HOST: addresses}
    found = [Endpoint("UDP", "", 1)]
    with contextlib.suppress(TransportError):
        found = drive(location, lambda question: Answer(tuple(data.draw(kinds[question.kind]))))
    assert 0 < len(found) <= MAX_ENDPOINTS
    assert all(0 < endpoint.port <= 65535 for endpoint in found)


def test_weights_are_followed_over_many_draws() -> None:
    rng = randoms.Random(7)
    records = [Srv(1, 75, 5060, "a"), Srv(1, 25, 5060, "b"), Srv(1, 0, 5060, "z")]
    first = Counter(order_srv(records, rng.randint)[0].target for _ in range(4000))
    assert 2800 < first["a"] < 3200
    assert 850 < first["b"] < 1150
    assert 0 < first["z"] < 120  # RFC 2782: a very small chance
