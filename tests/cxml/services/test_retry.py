import pytest

from cxml.services.retry import RetryOn, RetryPolicy


def test_nothing_is_retried_by_default() -> None:
    assert not RetryPolicy().allows(1, RetryOn.CONNECT)


@pytest.mark.parametrize(("made", "allowed"), [(1, True), (2, True), (3, False)])
def test_the_number_of_retries_is_kept(made: int, allowed: bool) -> None:
    assert RetryPolicy(2).allows(made, RetryOn.CONNECT) is allowed


def test_only_the_named_failures_are_retried() -> None:
    policy = RetryPolicy(1, frozenset({RetryOn.STATUS_5XX}))
    assert policy.allows(1, RetryOn.STATUS_5XX)
    assert not policy.allows(1, RetryOn.STATUS_4XX)
    assert not policy.allows(1, None)


def test_the_wait_doubles() -> None:
    assert [RetryPolicy().delay_s(made) for made in (1, 2, 3)] == [0.1, 0.2, 0.4]
