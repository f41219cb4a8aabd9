"""The token bucket."""

from hypothesis import given
from hypothesis import strategies as st

from sipua.transport.bucket import SourceBuckets, TokenBucket


def test_a_burst_at_once_and_then_the_rate() -> None:
    bucket = TokenBucket(2.0, 3.0, 0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_asking_takes_nothing() -> None:
    bucket = TokenBucket(1.0, 1.0, 0.0)
    assert [bucket.has_one(0.0), bucket.has_one(0.0), bucket.take(0.0), bucket.has_one(0.0)] == [True, True, True, False]


@given(st.lists(st.floats(-50, 50), max_size=60), st.floats(0.1, 20))
def test_whatever_the_clock_does_no_more_than_the_burst_and_the_rate_pass(steps: list[float], rate: float) -> None:
    bucket = TokenBucket(rate, 2.0, 0.0)
    now, forward, taken = 0.0, 0.0, 0
    for step in steps:
        now += step
        forward += max(step, 0.0)
        taken += bucket.take(now)
    assert taken <= 2.0 + forward * rate + 1e-6


def test_each_source_has_a_bucket_and_the_quietest_is_forgotten() -> None:
    buckets = SourceBuckets(2)
    assert [buckets.take(source, 1.0, 1.0, 0.0) for source in ("a", "a", "b", "a")] == [True, False, True, False]
    assert buckets.take("c", 1.0, 1.0, 0.0)
    assert [buckets.take("a", 1.0, 1.0, 0.5), buckets.take("b", 1.0, 1.0, 0.5)] == [False, True]
    assert len(buckets) == 2


def test_tokens_that_others_used_up_are_gone_but_no_debt() -> None:
    bucket = TokenBucket(2.0, 4.0, 0.0)
    bucket.spend(3, 0.0)
    assert [bucket.take(0.0) for _ in range(2)] == [True, False]
    bucket.spend(100, 0.0)
    assert not bucket.take(0.4)
    assert bucket.take(0.5)


def test_others_that_stay_below_the_rate_leave_something_however_long_nobody_looked() -> None:
    bucket = TokenBucket(50.0, 50.0, 0.0)
    bucket.spend(400, 10.0)  # 40 a second
    assert [bucket.take(10.0) for _ in range(51)] == [True] * 50 + [False]
    bucket.spend(60, 11.0)
    assert not bucket.take(11.0)
