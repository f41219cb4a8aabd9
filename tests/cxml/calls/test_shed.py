"""The account of what was shed."""

from collections import Counter

from cxml.calls.shed import ShedAccount


def test_an_interval_has_the_sums_by_reason_and_by_peer_and_totals_go_on() -> None:
    account = ShedAccount()
    unread: Counter[str] = Counter()
    account.watch(unread)
    for peer in ("one", "one", "two"):
        account.note("max_calls_per_s", peer)
    account.note("overload", "one")
    unread["source_rate"] += 70
    assert account.close_interval() == ({"max_calls_per_s": 3, "overload": 1, "source_rate": 70}, {"one": 3, "two": 1})
    assert account.close_interval() == ({}, {})
    unread["source_rate"] += 1
    assert account.close_interval() == ({"source_rate": 1}, {})
    assert account.all() == {
        ("max_calls_per_s", "one"): 2,
        ("max_calls_per_s", "two"): 1,
        ("overload", "one"): 1,
        ("source_rate", ""): 71,
    }


def test_the_reasons_of_this_interval_and_the_last_are_told() -> None:
    account = ShedAccount()
    assert list(account.reasons) == []
    account.note("max_calls", "one")
    assert list(account.reasons) == ["max_calls"]
    account.close_interval()
    assert list(account.reasons) == ["max_calls"]
    account.close_interval()
    assert list(account.reasons) == []
