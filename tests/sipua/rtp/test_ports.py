"""The allocator of RTP ports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import LimitError
from sipua.rtp.ports import PortAllocator


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(20000, 20005, [20000, 20002, 20004]), (20001, 20005, [20002, 20004]), (20000, 20004, [20000, 20002]), (65534, 65535, [65534])],
)
def test_only_even_ports_whose_odd_neighbour_is_in_the_range_are_lent(low: int, high: int, expected: list[int]) -> None:
    ports = PortAllocator(low, high)
    assert ports.size == len(expected)
    assert [ports.take(0.0) for _ in expected] == expected
    with pytest.raises(LimitError, match=f"{low}-{high}: {len(expected)} in use"):
        ports.take(0.0)


def test_a_returned_port_rests_before_it_is_lent_again() -> None:
    ports = PortAllocator(20000, 20003, quarantine_s=10.0)
    first, second = ports.take(0.0), ports.take(0.0)
    ports.release(first, 5.0)
    ports.release(second, 6.0)
    assert (ports.lent, ports.size) == (0, 2)
    assert ports.take(15.0) == first
    ports.release(first, 15.5)
    assert ports.take(16.0) == second


def test_when_no_other_port_is_free_the_one_that_rested_longest_is_lent() -> None:
    """Calls that follow each other quickly need no more ports than there may be calls at a time."""
    ports = PortAllocator(20000, 20003, quarantine_s=10.0)
    first, second = ports.take(0.0), ports.take(0.0)
    ports.release(second, 1.0)
    ports.release(first, 2.0)
    assert [ports.take(3.0), ports.take(3.0)] == [second, first]
    with pytest.raises(LimitError):
        ports.take(99.0)


def test_a_second_release_and_a_foreign_port_are_ignored() -> None:
    ports = PortAllocator(20000, 20001, quarantine_s=0.0)
    port = ports.take(0.0)
    for number in (port, port, 4711):
        ports.release(number, 0.0)
    assert ports.size == 1


def test_an_offset_rotates_the_order() -> None:
    ports = PortAllocator(20000, 20007, offset=3)
    assert [ports.take(0.0) for _ in range(4)] == [20006, 20000, 20002, 20004]


@pytest.mark.parametrize(("low", "high"), [(20001, 20001), (20000, 20000), (20001, 20002), (3000, 2000), (80, 90), (60000, 65536)])
def test_a_range_that_can_not_serve_is_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match=f"{low}-{high}"):
        PortAllocator(low, high)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.floats(0.0, 4.0)), max_size=40))
def test_no_port_is_lent_twice_or_lost(steps: list[tuple[bool, int, float]]) -> None:
    ports, held, now = PortAllocator(20000, 20007, quarantine_s=3.0), list[int](), 0.0
    rest: dict[int, float] = {}
    all_ports = set(range(20000, 20008, 2))
    for is_take, which, wait in steps:
        now += wait
        if is_take:
            try:
                port = ports.take(now)
            except LimitError:
                assert len(held) == len(all_ports)
                continue
            assert port not in held
            ends = {other: rest.get(other, -9.0) + 3.0 for other in all_ports - set(held)}
            assert ends[port] <= now + 1e-9 or ends[port] == min(ends.values())
            held.append(port)
        elif held:
            rest[port := held.pop(which % len(held))] = now
            ports.release(port, now)
        assert (ports.size, ports.lent) == (4, len(held))
