"""Addresses of From, To, Contact and others (RFC 3261 §20.10)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.message import Address, Uri


@pytest.mark.parametrize(
    ("text", "name", "uri", "tag"),
    [
        ("<sip:a@b>", "", "sip:a@b", ""),
        ("sip:a@b", "", "sip:a@b", ""),
        ("sip:a@b;tag=1", "", "sip:a@b", "1"),
        ("<sip:a@b;tag=1>", "", "sip:a@b;tag=1", ""),
        ("<sip:a@b;x=1>;tag=2", "", "sip:a@b;x=1", "2"),
        ("Alice <sip:a@b>;tag=2", "Alice", "sip:a@b", "2"),
        ("Alice B. Smith  <sip:a@b>", "Alice B. Smith", "sip:a@b", ""),
        ('"A. \\"Q\\" <x>, \\\\"<sip:a@b>;tag=2', 'A. "Q" <x>, \\', "sip:a@b", "2"),
        ('"" <sip:a@b>', "", "sip:a@b", ""),
        ("caller<sip:a@b> ; tag = 7", "caller", "sip:a@b", "7"),
        ("<tel:+1-201-555-0123>", "", "tel:+1-201-555-0123", ""),
        ("<sip:c@d?Replaces=1%40x%3Bto-tag%3D2>", "", "sip:c@d?Replaces=1%40x%3Bto-tag%3D2", ""),
        ('sip:a@b;x="<";tag=1', "", "sip:a@b", "1"),
        ("< sip:a@b >", "", "sip:a@b", ""),
        ("<sip:a@b>;tag=", "", "sip:a@b", ""),
    ],
)
def test_addresses(text: str, name: str, uri: str, tag: str) -> None:
    address = Address.parse(text)
    assert (address.display_name, str(address.uri), address.tag) == (name, uri, tag)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "<sip:a@b",
        '"Alice <sip:a@b>',
        '"Alice" x <sip:a@b>',
        "<sip:a@b> x",
        "sip:a@b?x=1",
        "sip:a@b,sip:c@d",
        "Alice",
        "<sip:a@b>;=1",
    ],
)
def test_broken_addresses_are_refused(text: str) -> None:
    with pytest.raises(ParseError):
        Address.parse(text)


def test_a_list_is_split_outside_quotes_and_brackets() -> None:
    addresses = Address.parse_list('"a, b" <sip:a,c@b>;q=0.5, <sip:d@e>, sip:f@g;x="1,2"')
    assert [str(a.uri) for a in addresses] == ["sip:a,c@b", "sip:d@e", "sip:f@g"]


def test_writing_always_uses_brackets_and_quotes() -> None:
    assert str(Address.parse("Al ice <sip:a@b>;tag=1;x")) == '"Al ice" <sip:a@b>;tag=1;x'
    assert str(Address.parse("sip:a@b;tag=1")) == "<sip:a@b>;tag=1"


def test_tags_are_set_and_taken_away() -> None:
    address = Address(Uri.parse("sip:a@b"))
    assert address.with_tag("1").tag == "1"
    assert str(address.with_tag("1").with_tag("2")) == "<sip:a@b>;tag=2"
    assert address.with_tag("1").with_tag("") == address


@given(st.text(max_size=60))
def test_any_text_gives_an_address_or_a_parse_error_and_is_stable(text: str) -> None:
    for candidate in (text, f"<{text}>", f'"{text}" <sip:a@b>', f"<sip:a@b>{text}"):
        try:
            address = Address.parse(candidate)
        except ParseError:
            continue
        assert Address.parse(str(address)) == address


@given(st.text(alphabet=st.characters(exclude_characters="\r\n"), max_size=30))
def test_any_display_name_survives(name: str) -> None:
    address = Address(Uri.parse("sip:a@b"), name)
    assert Address.parse(str(address)).display_name == name
