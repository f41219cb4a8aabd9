"""What is remembered of sources: bounded, and forgotten in time."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from cxml.access.quiet import Quiet
from cxml.access.sources import AnswerLimit, BanRules, Bans, Proven, SourceTable


def test_a_table_forgets_who_was_not_heard_of_for_longest() -> None:
    table = SourceTable(list[int], capacity=3)
    for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        table.touch(host).append(1)
    table.touch("192.0.2.1")
    table.touch("192.0.2.4")
    assert table.find("192.0.2.2") is None
    assert (table.find("192.0.2.1"), len(table)) == ([1], 3)


def test_failures_that_are_far_apart_do_not_ban() -> None:
    bans = Bans(BanRules(max_failures=3, window_s=10.0))
    assert [bans.failed("192.0.2.1", now) for now in (0.0, 9.0, 20.0, 29.0, 29.5)] == [False, False, False, False, True]


def test_a_ban_of_one_failure_and_its_end() -> None:
    bans = Bans(BanRules(max_failures=1, ban_s=60.0))
    assert bans.failed("192.0.2.1", 0.0)
    assert bans.is_banned("192.0.2.1", 59.9)
    assert bans.is_banned("::ffff:192.0.2.1", 59.9)
    assert not bans.is_banned("192.0.2.1", 60.0)
    assert bans.count(60.0) == 0


def test_spared_networks_also_as_mapped_addresses() -> None:
    bans = Bans(BanRules(max_failures=1, never=(ipaddress.ip_network("192.0.2.0/24"),)))
    assert not bans.failed("192.0.2.1", 0.0)
    assert not bans.failed("::ffff:192.0.2.1", 0.0)
    assert bans.failed("fe80::1%eth0", 0.0)


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 10)), max_size=300))
def test_memory_stays_bounded_whoever_comes(visits: list[tuple[int, float]]) -> None:
    bans, answers, proven = Bans(BanRules(max_failures=2), capacity=20), AnswerLimit(1.0, capacity=20), Proven(60.0, capacity=20)
    now = 0.0
    for number, later in visits:
        now += later
        host = f"2001:db8:{number:x}::1"
        bans.failed(host, now)
        answers.takes(host, now)
        proven.note(host, now)
        assert proven.has(host, now)
    assert max(len(bans._failures), len(bans._bans), len(answers._buckets), len(proven._sources)) <= 20


def test_who_has_shown_a_password_is_known_for_a_while() -> None:
    proven = Proven(60.0)
    proven.note("192.0.2.1", 0.0)
    assert [proven.has("192.0.2.1", now) for now in (0.0, 59.0, 60.0)] == [True, True, False]
    assert not proven.has("192.0.2.2", 0.0)


def test_what_is_held_back_is_told_with_the_next_line() -> None:
    quiet = Quiet(10.0)
    assert [quiet.held_back("a", now) for now in (0.0, 1.0, 9.9, 10.0, 30.0)] == [0, None, None, 2, 0]
    assert quiet.held_back("b", 1.0) == 0
