"""Parameter lists (RFC 3261 §25.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.message import Params


def test_values_names_and_quotes() -> None:
    params = Params.parse(';tag=a1 ; lr;Text="a;b, \\"c\\" \\\\";empty=')
    assert params.get("tag") == "a1"
    assert params.get("lr") == ""
    assert params.get("text") == 'a;b, "c" \\'
    assert params.get("empty") == ""
    assert params.get("absent") is None
    assert "lr" in params
    assert "absent" not in params
    assert len(params) == 4


def test_bytes_are_kept() -> None:
    text = ';Branch=z9hG4bK%41;x="q";RPORT;y='
    assert str(Params.parse(text)) == text


def test_a_repeated_name_reads_as_the_first() -> None:
    assert Params.parse("a=1;A=2").get("a") == "1"


def test_empty_parts_are_skipped() -> None:
    assert list(Params.parse(";;a=1; ;b;")) == [("a", "1"), ("b", None)]
    assert len(Params.parse("")) == len(Params.parse(" ; ")) == 0


@pytest.mark.parametrize("text", ["=1", ";a b=1", ';a="', ';a="x', ';a=x"', ';"a"=1', ";<a>", ";a@b=1"])
def test_broken_parameters_are_refused(text: str) -> None:
    with pytest.raises(ParseError):
        Params.parse(text)


def test_too_many_are_refused() -> None:
    with pytest.raises(ParseError):
        Params.parse(";a" * 65)


def test_replaced_keeps_the_place_and_quotes_when_needed() -> None:
    params = Params.parse(";a=1;RPORT;c=3")
    assert str(params.replaced("rport", "5060")) == ";a=1;RPORT=5060;c=3"
    assert str(params.replaced("received", "2001:db8::1")) == ";a=1;RPORT;c=3;received=2001:db8::1"
    assert str(params.replaced("c", "a b")) == ';a=1;RPORT;c="a b"'
    assert str(params.replaced("c", None)) == ";a=1;RPORT;c"
    assert str(params.replaced("c", "")) == ';a=1;RPORT;c=""'
    assert str(params.without("a", "rport")) == ";c=3"
    assert str(params) == ";a=1;RPORT;c=3"


def test_equality_and_hash() -> None:
    assert Params.parse("a=1;b") == Params.parse(";a=1;b")
    assert hash(Params.parse("a=1;b")) == hash(Params.parse(";a=1;b"))
    assert Params.parse("a=1") != Params.parse("a=2")
    assert repr(Params.parse("a")) == "Params(';a')"


@given(st.text(max_size=60))
def test_any_text_gives_params_or_a_parse_error_and_is_stable(text: str) -> None:
    try:
        params = Params.parse(text)
    except ParseError:
        return
    assert Params.parse(str(params)) == params


@given(st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20))
def test_any_value_survives_being_set(value: str) -> None:
    assert Params.parse(str(Params().replaced("x", value))).get("x") == value
