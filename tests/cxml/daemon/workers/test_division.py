"""What of the configuration is whose, when several workers share it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from cxml.daemon.config import Config, Http, Limits, Media, Peer, Workers
from cxml.daemon.workers.division import part_of, ports_of

LISTEN = ("udp:127.0.0.1:5060",)


def whole(count: int, **sections: object) -> Config:
    peer = Peer(name="pbx", uri="sip:10.0.0.9", username="u", password=SecretStr("p"), register=True)
    return Config(workers=Workers(count=count), http=Http(listen="127.0.0.1:8080"), peers=(peer,), **sections)  # type: ignore[arg-type]


def test_only_the_first_worker_registers_and_none_serves_http() -> None:
    parts = [part_of(whole(3), worker, LISTEN) for worker in range(3)]
    assert [part.peers[0].is_registering for part in parts] == [True, False, False]
    assert [part.http.address for part in parts] == [None, None, None]
    assert {part.sip.listen for part in parts} == {LISTEN}


def test_limits_of_calls_stay_whole_since_all_count_together_and_others_are_divided() -> None:
    limits = Limits(max_calls=100, max_calls_per_s=10, max_connections=9, max_source_datagrams_per_s=5, max_transactions=150)
    part = part_of(whole(2, limits=limits), 1, LISTEN)
    assert (part.limits.max_calls, part.limits.max_calls_per_s) == (100, 10)
    assert (part.limits.max_connections, part.limits.max_source_datagrams_per_s, part.limits.max_transactions) == (5, 3, 100)
    assert part.access.max_answers_per_s == whole(2).access.max_answers_per_s / 2


def test_the_part_of_a_worker_is_a_valid_configuration() -> None:
    part = part_of(whole(2, media=Media(rtp_ports=(20001, 20100))), 0, LISTEN)
    assert part.media.rtp_ports == (20002, 20049)
    assert Limits.model_validate(part.limits.model_dump()) == part.limits


@given(st.integers(1024, 60000), st.integers(0, 4000), st.integers(1, 64))
def test_ports_are_divided_without_a_rest_and_nobody_has_those_of_another(low: int, more: int, count: int) -> None:
    high = min(65535, low + more)
    pairs = (high + 1 - (low + low % 2)) // 2
    parts = [ports_of((low, high), worker, count) for worker in range(count)]
    assert sum((last + 1 - first) // 2 for first, last in parts) == pairs
    assert all(first % 2 == 0 and (last % 2 == 1 or last < first) for first, last in parts)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(parts))
    assert pairs < count or max(last - first for first, last in parts) - min(last - first for first, last in parts) <= 2


@pytest.mark.parametrize("count", [1, 2, 7])
def test_each_worker_has_ports_where_there_are_enough(count: int) -> None:
    assert all(first < last for first, last in (ports_of((10000, 10013), worker, count) for worker in range(count)))
