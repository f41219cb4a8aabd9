"""The share of new calls that are taken when the loop lags (docs/spec/overload.md)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.calls.overload import LEAST_SHARE, LoadController, judge
from tests.support.tables import SPEC, read_table


@pytest.mark.parametrize("row", read_table(SPEC / "overload.md", "Measurements"), ids=lambda row: f"{row['Lag']} {row['Core']}")
def test_the_table_of_measurements(row: dict[str, str]) -> None:
    low, _, high = row["Lag"].removesuffix(" s").partition(" to ")
    busy = {"any": (0.0, 1.0), "used up": (0.95, 1.0), "free": (0.0, 0.94)}[row["Core"]]
    for lag in (float(low), float(high) - 1e-6 if high else float(low) + 5):
        for share in busy:
            assert str(judge(lag, share)) == row["Sample"]


@pytest.mark.parametrize("row", read_table(SPEC / "overload.md", "New calls when the loop lags"), ids=lambda row: str(list(row.values())))
def test_the_table_of_shares(row: dict[str, str]) -> None:
    controller = LoadController()
    now = 0.0
    if row["Share"] != "1":
        controller.sample(0.5, 0.0, now)
        while controller.share > float(row["Share"]):
            now += 0.5
            controller.sample(0.3, 0.0, now)
        now += 0.1
    lag = {"calm": 0.0, "busy": 0.1, "overloaded": 0.3, "overloaded by 0.5 s": 0.6}[row["Sample"]]
    held = float(row["For"].removesuffix(" s"))
    # one sample begins what the others continue
    controller.sample(lag, 0.0, now)
    if held:
        controller.sample(lag, 0.0, now + held)
    assert controller.share == float(row["Next share"])


def test_calls_are_shed_evenly() -> None:
    controller = LoadController()
    controller.sample(1.0, 0.0, 0.0)
    controller.sample(1.0, 0.0, 1.0)
    assert controller.share == 0.25
    assert [controller.admits() for _ in range(8)] == [False, False, False, True] * 2


def test_one_slow_moment_sheds_nothing() -> None:
    controller = LoadController()
    for tick in range(100):
        controller.sample(0.3 if tick % 10 == 0 else 0.0, 0.5, tick / 10)
    assert controller.share == 1.0


def test_a_core_that_is_used_up_without_lag_sheds_nothing() -> None:
    """A flood of strangers that is sorted out unread must not cost the peers their calls."""
    controller = LoadController()
    for tick in range(100):
        controller.sample(0.02, 1.0, tick / 10)
    assert not controller.is_shedding


def test_it_is_over_only_after_calm_seconds() -> None:
    controller = LoadController()
    controller.sample(0.6, 0.0, 0.0)
    shares = []
    for tick in range(1, 60):
        controller.sample(0.0, 0.0, tick / 10)
        shares.append(controller.share)
    assert shares == sorted(shares)
    assert shares[9:50:10] == [0.5, 0.625, 0.75, 0.875, 1.0]


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1), st.floats(-5, 5)), max_size=80))
def test_whatever_is_measured_the_share_stays_between_its_bounds_and_some_calls_get_in(samples: list[tuple[float, float, float]]) -> None:
    controller = LoadController()
    now = 0.0
    for lag, busy, step in samples:
        now += step
        controller.sample(lag, busy, now)
        assert LEAST_SHARE <= controller.share <= 1.0
    assert any(controller.admits() for _ in range(round(1 / LEAST_SHARE)))
