"""A second opinion: what the package ``sipmessage`` accepts, ours reads with the same meaning.

Known exceptions, each with its reason, are listed in EXCEPTIONS and in the comparisons.
"""

import urllib.parse

import pytest
import sipmessage
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.message import Address, CSeq, Params, Uri, Via

TOKENS = st.text(alphabet="abzAZ09-.!%*_+`'~", min_size=1, max_size=8)
HOSTS = st.sampled_from(
    ["example.com", "EXAMPLE.com.", "192.0.2.1", "[2001:db8::1]", "a-b.example.net", "localhost", "pbx1", "x_y.example"]
)
PORTS = st.sampled_from(["", ":5060", ":1", ":65535", ":65536", ":"])
USERS = st.text(alphabet="aZ09-_.!~*'()&=+$,;?/%41", max_size=10)
QUOTED = st.text(alphabet='ab ,;<>@\\"äü', max_size=8).map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
PARAM_VALUES = st.one_of(TOKENS, QUOTED, HOSTS, st.just(""))
PARAMS = st.lists(st.tuples(TOKENS, st.none() | PARAM_VALUES, st.sampled_from(["", " "])), max_size=3).map(
    lambda items: "".join(f"{gap};{gap}{name}" + ("" if value is None else f"={value}") for name, value, gap in items)
)
URI_PARAMS = st.lists(st.tuples(TOKENS, st.none() | TOKENS), max_size=3).map(
    lambda items: "".join(f";{name}" + ("" if value is None else f"={value}") for name, value in items)
)
URIS = st.one_of(
    st.tuples(st.sampled_from(["sip:", "sips:"]), st.none() | USERS, HOSTS, PORTS, URI_PARAMS).map(
        lambda p: p[0] + ("" if p[1] is None else p[1] + "@") + "".join(p[2:])
    ),
    st.sampled_from(["tel:+1-201-555-0123", "tel:7042;phone-context=example.com"]),
)
VIAS = st.tuples(st.sampled_from(["SIP/2.0/UDP ", "SIP / 2.0 / TCP ", "SIP/2.0/x "]), HOSTS, PORTS, PARAMS).map("".join)
NAMES = st.one_of(st.just(""), QUOTED, st.text(alphabet="ab -.!", max_size=6))
ADDRESSES = st.one_of(
    st.tuples(NAMES, st.sampled_from(["", " "]), URIS, PARAMS).map(lambda p: f"{p[0]}{p[1]}<{p[2]}>{p[3]}"),
    st.tuples(URIS, PARAMS).map("".join),
)

EXCEPTIONS: dict[str, str] = {
    "sip:a@example.com:65536": "a port above 65535 is refused",
    "sip:a@example.com:": "a colon without a port is refused",
}


def has_impossible_port(text: str) -> bool:
    """Tell whether the exceptions about ports apply."""
    return ":65536" in text


def needs_brackets(text: str) -> bool:
    """Tell whether RFC 3261 §20 wants angle brackets, which they don't insist on."""
    return "<" not in text.partition(";")[0] and ("?" in text or "," in text)


def same_params(theirs: sipmessage.Parameters, ours: Params) -> bool:
    """Compare raw values: theirs is a mapping in which the last of a name wins, ours a list in which the first does."""
    names = [urllib.parse.unquote(name) for name, _ in ours]
    if len({name.lower() for name in names}) != len(names):
        return True
    if any(value and value.startswith('"') and ";" in value for _, value in ours):
        return True  # they split quoted strings at semicolons
    mapping = dict(theirs.items())
    # they undo escapes everywhere and shrink white space in quoted strings, we keep the bytes
    read = [(urllib.parse.unquote(name), None if value is None else urllib.parse.unquote(value).split()) for name, value in ours]
    kept = [(name, None if value is None else value.split()) for name, value in mapping.items()]
    return {name: value or None for name, value in read} == {name: value or None for name, value in kept}


def same_uri(theirs: sipmessage.URI, ours: Uri) -> bool:
    if theirs.scheme == "tel":
        return ours.scheme == "tel"
    user = None if ours.user is None else urllib.parse.unquote(ours.user)
    password = None if ours.password is None else urllib.parse.unquote(ours.password)
    return (theirs.scheme, theirs.user, theirs.password or None, theirs.host, theirs.port) == (
        ours.scheme,
        user,
        password or None,
        ours.host,
        ours.port,
    ) and same_params(theirs.parameters, ours.params)


@given(URIS)
def test_uris(text: str) -> None:
    try:
        theirs = sipmessage.URI.parse(text)
    except ValueError:
        return
    if has_impossible_port(text):
        return
    assert same_uri(theirs, Uri.parse(text))


@given(ADDRESSES)
def test_addresses(text: str) -> None:
    try:
        theirs = sipmessage.Address.parse(text)
    except (ValueError, TypeError):
        return
    if has_impossible_port(text) or needs_brackets(text):
        return
    ours = Address.parse(text)
    assert same_uri(theirs.uri, ours.uri)
    assert theirs.name.split() == ours.display_name.split()  # they shrink white space, in quoted strings too
    assert same_params(theirs.parameters, ours.params)


@given(VIAS)
def test_vias(text: str) -> None:
    try:
        theirs = sipmessage.Via.parse(text)
    except (ValueError, TypeError):
        return
    if has_impossible_port(text):
        return
    ours = Via.parse(text)
    assert (theirs.transport.upper(), theirs.host, theirs.port) == (ours.transport, ours.host, ours.port)
    assert same_params(theirs.parameters, ours.params)


@given(st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([" ", "  ", "\t"]), TOKENS))
def test_cseqs(parts: tuple[int, str, str]) -> None:
    text = "".join(map(str, parts))
    try:
        theirs = sipmessage.CSeq.parse(text)
    except ValueError:
        return
    assert (theirs.sequence, theirs.method) == CSeq.parse(text)


@pytest.mark.parametrize("text", ["sip:pbx1", "sip:a@pbx1:5060", "sip:a@my_host", "sip:a@b?Replaces=1", "urn:service:sos"])
def test_what_only_we_read(text: str) -> None:
    assert str(Uri.parse(text)) == text


@pytest.mark.parametrize(("text", "reason"), EXCEPTIONS.items())
def test_what_we_refuse_on_purpose(text: str, reason: str) -> None:
    with pytest.raises(ParseError):
        Uri.parse(text)
