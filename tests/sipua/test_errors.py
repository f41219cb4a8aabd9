"""The exceptions and the escaping of network text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua import errors
from sipua.errors import CallFailedError, ParseError, RegistrationError, SipError, printable


def test_all_exceptions_share_one_base() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) >= 8
    assert all(issubclass(kind, SipError) for kind in kinds)
    assert issubclass(errors.CallEndedError, errors.CallError)


def test_a_parse_error_carries_reason_and_status() -> None:
    assert (ParseError("why").reason, ParseError("why").status, ParseError("why", 416).status) == ("why", 400, 416)
    assert str(ParseError("why")) == "why"


@pytest.mark.parametrize("kind", [CallFailedError, RegistrationError])
def test_a_failure_carries_its_status(kind: type[CallFailedError] | type[RegistrationError]) -> None:
    error = kind(486, "Busy Here")
    assert (error.status, error.reason, str(error)) == (486, "Busy Here", "486 Busy Here")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße", "Grüße"),
        ("a\r\nb\x1b[31m", "a\\r\\nb\\x1b[31m"),
        (b"a\xff", "a\\udcff"),
        ("\u202e", "\\u202e"),
        ("abcdef", "abc…"),
        (b"abcdef", "abc…"),
    ],
)
def test_text_is_escaped_and_cut(text: str | bytes, shown: str) -> None:
    assert printable(text, 3 if len(text) == 6 and shown.endswith("…") else 200) == shown


@given(st.one_of(st.text(), st.binary()), st.integers(0, 50))
def test_whatever_comes_is_one_printable_line(text: str | bytes, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= 10 * limit + 1
    shown.encode()
