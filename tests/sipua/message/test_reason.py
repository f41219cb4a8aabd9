"""Reason (RFC 3326)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.message import Headers
from sipua.message.reason import MAX_REASONS, MAX_TEXT, Reason, cause_of, read_reasons


def read(*lines: str) -> tuple[Reason, ...]:
    return read_reasons(Headers([("Reason", line) for line in lines]))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), ()),
        (('SIP;cause=200;text="Call completed elsewhere"',), (Reason("SIP", 200, "Call completed elsewhere"),)),
        (("Q.850 ; cause = 16 ; text=bye", "SIP;cause=486"), (Reason("Q.850", 16, "bye"), Reason("SIP", 486))),
        (('Q.850;cause=16;text="a, b;c", SIP;cause=600',), (Reason("Q.850", 16, "a, b;c"), Reason("SIP", 600))),
        (("preemption",), (Reason("preemption"),)),
        (("SIP;cause=soon",), (Reason("SIP"),)),
        (("SIP;cause=99999",), (Reason("SIP"),)),
        (("SIP;cause=²",), (Reason("SIP"),)),
        ((";cause=1", "", 'SIP;cause=1;text="open'), ()),
        (('SIP;cause=1;text="a\x01b"',), (Reason("SIP", 1, "a\\x01b"),)),
    ],
)
def test_reasons_of_every_kind(lines: tuple[str, ...], expected: tuple[Reason, ...]) -> None:
    assert read(*lines) == expected


def test_reasons_have_limits() -> None:
    reasons = read(*[f"P{number};text={'x' * 1000}" for number in range(50)])
    assert len(reasons) == MAX_REASONS
    assert all(len(reason.text) <= MAX_TEXT + 1 for reason in reasons)


def test_the_cause_of_a_protocol() -> None:
    reasons = read("sip;text=x", "SIP;cause=200", "SIP;cause=487", "q.850;cause=0")
    assert [cause_of(reasons, protocol) for protocol in ("SIP", "Q.850", "preemption")] == [200, 0, None]


@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_text_is_read(lines: list[str]) -> None:
    for reason in read(*lines):
        assert reason.protocol.isprintable()
        assert reason.text.isprintable()
