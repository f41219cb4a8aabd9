"""The ladder: arrows, directions, labels that don't fit, odd senders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.daemon.ladder import COLUMN, Rung, render

PARTIES = ("app", "cxmld", "PBX")


def one(sender: str, receiver: str, label: str = "INVITE", at_s: float = 0.0) -> str:
    return render(PARTIES, [Rung(at_s, sender, receiver, label)])[1]


def test_the_first_line_names_the_parties_above_their_life_lines() -> None:
    head, row = render(PARTIES, [Rung(0.0, "app", "PBX", "x")])
    for index, name in enumerate(PARTIES):
        middle = 8 + index * COLUMN + COLUMN // 2
        assert head.index(name) <= middle <= head.index(name) + len(name)
    assert row[8 + COLUMN // 2] == "|"


@pytest.mark.parametrize(
    ("sender", "receiver", "left", "right"), [("app", "cxmld", "-", ">"), ("cxmld", "app", "<", "-"), ("PBX", "cxmld", "<", "-")]
)
def test_an_arrow_points_to_the_receiver(sender: str, receiver: str, left: str, right: str) -> None:
    row = one(sender, receiver)
    first = 8 + min(PARTIES.index(sender), PARTIES.index(receiver)) * COLUMN + COLUMN // 2
    assert row[first + 1] == left
    assert row[first + COLUMN - 1] == right
    assert " INVITE " in row


def test_an_arrow_may_pass_a_party() -> None:
    assert one("app", "PBX").count("|") == 2


def test_a_long_label_is_cut_and_the_columns_stay() -> None:
    row = one("app", "cxmld", "X" * 200)
    assert "…" in row
    assert len(row) == len(one("app", "cxmld", "short"))


def test_a_label_stays_on_one_line() -> None:
    row = one("app", "cxmld", "NOTIFY a\r\nb\x1b[2J")
    assert row.isprintable()


def test_a_message_to_oneself_stands_beside_the_life_line() -> None:
    assert "| <> tick" in one("cxmld", "cxmld", "tick")


def test_messages_of_others_are_left_out() -> None:
    assert render(PARTIES, [Rung(0.0, "stranger", "app", "x"), Rung(0.0, "app", "stranger", "x")]) == render(PARTIES, [])


def test_the_time_stands_first() -> None:
    assert one("app", "cxmld", at_s=12.3456).startswith("12.346  ")


@given(st.lists(st.tuples(st.sampled_from(PARTIES), st.sampled_from(PARTIES), st.text(max_size=300), st.floats(0, 99)), max_size=10))
def test_any_ladder_is_printable_and_no_line_is_wider_than_its_columns(rungs: list[tuple[str, str, str, float]]) -> None:
    lines = render(PARTIES, [Rung(at_s, sender, receiver, label) for sender, receiver, label, at_s in rungs])
    assert len(lines) == len(rungs) + 1
    assert all(line.isprintable() and len(line) <= 8 + COLUMN * len(PARTIES) for line in lines)
