"""Which targets calls may be transferred to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.daemon.allow import is_allowed


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        ("sip:100@pbx.example.com", "sip:*@pbx.example.com"),
        ("SIP:100@PBX.example.com", "sip:100@pbx.EXAMPLE.com"),
        ("sip:100@pbx:5080;transport=tcp?X-Case=1", "sip:100@pbx"),
        ("sip:100@pbx:5080", "sip:100@pbx:5080"),
        ("sip:secret:pw@pbx", "sip:secret@pbx"),
        ("sip:204@pbx", "sip:[1-4]??@pbx"),
        ("sip:%31%30%30@pbx", "sip:100@pbx"),
        ("sip:100@[::1]:5060", "sip:*@[::1]"),
        ("sip:pbx.example.com", "sip:*.example.com"),
        ("tel:+4930123", "tel:+49*"),
        ("sip:a@b", "sip:*"),
        ("no uri", "*"),
    ],
)
def test_a_target_that_matches_a_pattern_is_allowed(target: str, pattern: str) -> None:
    assert is_allowed(target, ("sip:nobody@nowhere", pattern))


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        ("sip:100@evil.example", "sip:*@pbx"),
        ("sip:100@evil.example;x=@pbx", "sip:*@pbx"),
        ("sip:100@evil.example?X=@pbx", "sip:*@pbx"),
        ("sip:100@evil.example;maddr=@pbx", "sip:*@pbx"),
        ("sip:x%40pbx@evil.example", "sip:x@pbx"),
        ("sip:100@pbx.evil.example", "sip:*@pbx"),
        ("sip:100@pbx:5081", "sip:100@pbx:5080"),
        ("sips:100@pbx", "sip:*"),
        ("sip:%3900@pbx", "sip:[1-4]*@pbx"),
        ("sip:504@pbx", "sip:[1-4]??@pbx"),
        ("sip:@pbx", "sip:*@pbx"),
        ("", "sip:*"),
        ("no uri", "no*"),
        ("sip:a@b\r\nX: y", "sip:*"),
    ],
)
def test_nothing_else_is_allowed(target: str, pattern: str) -> None:
    assert not is_allowed(target, (pattern,))


def test_without_patterns_nothing_is_allowed() -> None:
    assert not is_allowed("sip:100@pbx", ())


@given(st.text(max_size=60), st.text(alphabet="sip:*@[]!?a%", max_size=12))
def test_no_text_makes_it_raise(target: str, pattern: str) -> None:
    assert is_allowed(f"sip:{target}", (pattern,)) in {True, False}


@given(st.text(alphabet="@:;?%40=&abc.", max_size=30))
def test_no_spelling_of_a_foreign_target_passes_for_our_host(tail: str) -> None:
    assert not is_allowed(f"sip:1@evil{tail}", ("sip:*@pbx",))
