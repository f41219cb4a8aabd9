"""RAck and RSeq (RFC 3262 §7.1, §7.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.message import RAck
from sipua.message.rack import MAX_RSEQ, parse_rseq


@pytest.mark.parametrize("text", ["776656 1 INVITE", " 776656\t1  INVITE "])
def test_a_rack_is_read(text: str) -> None:
    assert RAck.parse(text) == RAck(776656, 1, "INVITE")


@pytest.mark.parametrize(
    "text", ["", "1", "1 2", "1 2 ", "1 2 IN VITE", "-1 2 INVITE", "1 x INVITE", "4294967296 1 INVITE", "1 4294967296 A"]
)
def test_a_broken_rack(text: str) -> None:
    with pytest.raises(ParseError):
        RAck.parse(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1 2", "4294967296", "x", "99999999999"])
def test_a_broken_rseq(text: str) -> None:
    with pytest.raises(ParseError):
        parse_rseq(text)


@given(st.integers(1, MAX_RSEQ), st.integers(0, 2**32 - 1), st.from_regex(r"[A-Z]{1,10}", fullmatch=True))
def test_what_is_written_is_read_again(rseq: int, cseq: int, method: str) -> None:
    rack = RAck(rseq, cseq, method)
    assert RAck.parse(str(rack)) == rack
    assert parse_rseq(str(rseq)) == rseq


@given(st.text(max_size=40))
def test_any_text_is_read_or_a_parse_error(text: str) -> None:
    for read in (RAck.parse, parse_rseq):
        try:
            read(text)
        except ParseError:
            continue
