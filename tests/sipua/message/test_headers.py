"""The header map (RFC 3261 §7.3)."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.message import Headers, Response, canonical
from sipua.message.headers import COMPACT


@pytest.mark.parametrize(
    ("name", "long"),
    [
        ("call-id", "Call-ID"),
        ("CALL-ID", "Call-ID"),
        ("cseq", "CSeq"),
        ("www-authenticate", "WWW-Authenticate"),
        ("min-se", "Min-SE"),
        ("rack", "RAck"),
        ("MIME-VERSION", "MIME-Version"),
        ("p-asserted-identity", "P-Asserted-Identity"),
        ("x-my-header", "x-my-header"),
        ("X-customID", "X-customID"),
        ("r", "Refer-To"),
        ("B", "Referred-By"),
        ("l", "Content-Length"),
    ],
)
def test_canonical_names(name: str, long: str) -> None:
    assert canonical(name) == long
    assert canonical(long) == long


def test_every_compact_name_has_one_letter_and_works_in_both_cases() -> None:
    for short, name in COMPACT.items():
        assert canonical(short) == canonical(short.upper()) == name


def test_order_and_repetition_are_kept() -> None:
    headers = Headers([("Via", "1"), ("X-A", "a")])
    headers.add("v", "2")
    headers.prepend("via", "0")
    assert list(headers) == [("Via", "0"), ("Via", "1"), ("X-A", "a"), ("Via", "2")]
    assert headers.get("Via") == "0"
    assert headers.lines("Via") == ["0", "1", "2"]
    assert headers.count("Via") == 3
    assert len(headers) == 4
    headers.remove_first("Via")
    assert headers.get("Via") == "1"
    headers.remove_first("X-Absent")
    headers.remove("Via")
    assert list(headers) == [("X-A", "a")]


def test_set_replaces_all_lines_in_the_place_of_the_first() -> None:
    headers = Headers([("X-A", "1"), ("X-B", "2"), ("X-A", "3")])
    headers.set("x-a", "new")
    headers.set("X-C", "4")
    assert list(headers) == [("x-a", "new"), ("X-B", "2"), ("X-C", "4")]


def test_an_unknown_name_keeps_its_spelling_and_is_found_in_any() -> None:
    headers = Headers()
    headers.add("X-customID", "1")
    headers.add("x-customid", "2")
    assert list(headers) == [("X-customID", "1"), ("x-customid", "2")]
    for name in ("X-customID", "X-CUSTOMID", "x-customid"):
        assert (headers.get(name), headers.lines(name), headers.values(name), headers.count(name)) == ("1", ["1", "2"], ["1", "2"], 2)
        assert name in headers
    other = headers.copy()
    headers.remove_first("X-CUSTOMid")
    assert list(headers) == [("x-customid", "2")]
    headers.remove("X-CustomId")
    other.set("X-CustomId", "3")
    assert (list(headers), list(other)) == ([], [("X-CustomId", "3")])


def test_a_known_name_is_found_in_any_spelling() -> None:
    headers = Headers([("Call-ID", "1")])
    assert headers.get("call-id") == headers.get("CALL-ID") == headers.get("i") == "1"
    assert headers.get("Via") is None
    assert headers.get("X-Absent") is None


def test_values_split_at_commas_outside_quotes_and_brackets() -> None:
    headers = Headers([("Contact", '"a,b" <sip:a,b@c>, <sip:d@e>'), ("Contact", ' , <sip:f@g>;x="1,\\"2" ,')])
    assert headers.values("Contact") == ['"a,b" <sip:a,b@c>', "<sip:d@e>", '<sip:f@g>;x="1,\\"2"']
    assert headers.values("Absent") == []


def test_credentials_are_never_split() -> None:
    value = 'Digest realm="a", nonce="b"'
    for name in ("WWW-Authenticate", "Authorization", "Proxy-Authenticate", "Proxy-Authorization"):
        assert Headers([(name, value)]).values(name) == [value]


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\r"])
def test_a_line_end_in_a_value_is_our_own_fault_and_raises(value: str) -> None:
    headers = Headers()
    for change in (headers.add, headers.set, headers.prepend):
        with pytest.raises(ValueError, match="line end in the value of Subject"):
            change("subject", value)
    assert len(headers) == 0


def test_every_change_empties_the_cache() -> None:
    headers = Headers([("X-A", "1"), ("X-B", "2")])
    changes: list[Callable[[], None]] = [
        lambda: headers.add("X-C", "3"),
        lambda: headers.prepend("X-A", "0"),
        lambda: headers.set("X-A", "9"),
        lambda: headers.remove_first("X-B"),
        lambda: headers.remove("X-C"),
    ]
    for change in changes:
        headers.cache["x"] = 1
        headers.get("X-A")
        change()
        assert headers.cache == {}
    assert list(headers) == [("X-A", "9")]


def test_a_line_behind_the_via_leaves_what_is_known_of_it_and_of_nothing_else() -> None:
    headers = Headers([("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"), ("Call-ID", "a")])
    made = Response(200, "OK", headers)
    via = made.via
    assert made.call_id == "a"
    made.encode()
    headers.add("Contact", "<sip:h>")
    assert headers.cache == {"Via": via}
    assert b"Contact: <sip:h>" in made.encode()
    headers.add("v", "SIP/2.0/UDP far;branch=z9hG4bK0")
    assert headers.cache == {}
    assert (made.via, len(made.vias)) == (via, 2)
    headers.prepend("Via", "SIP/2.0/UDP near;branch=z9hG4bK2")
    assert made.via.host == "near"


def test_a_copy_is_independent() -> None:
    headers = Headers([("A", "1")])
    copy = headers.copy()
    assert copy == headers
    copy.add("B", "2")
    assert copy != headers
    assert "B" not in headers
    assert 7 not in headers
    assert repr(headers) == "Headers([('A', '1')])"


@pytest.mark.parametrize("name", ["Require", "require", "REQUIRE", "X-Own", "x-own"])
def test_what_is_lacked_is_seen_in_any_spelling(name: str) -> None:
    wanted = ("Require", "x-own")
    headers = Headers()
    assert headers.lacks(*wanted)
    headers.add("Via", "SIP/2.0/UDP a")
    assert headers.lacks(*wanted)
    headers.add(name, "x")
    assert not headers.lacks(*wanted)
    assert name in headers
    headers.remove(name)
    assert headers.lacks(*wanted)
    assert name not in headers
    assert 7 not in headers


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "set", "prepend", "remove", "remove_first", "get", "copy"]),
        st.sampled_from(["Via", "v", "VIA", "Contact", "X-Own", "x-own", "X-OWN", "Subject"]),
        st.sampled_from(["1", "2", ""]),
    ),
    max_size=12,
)


@given(CHANGES)
def test_whatever_changes_the_looks_find_what_the_lines_say(changes: list[tuple[str, str, str]]) -> None:
    headers = Headers()
    for change, name, value in changes:
        if change == "copy":
            headers = headers.copy()
        else:
            getattr(headers, change)(*(name,) if change in {"remove", "remove_first", "get"} else (name, value))
        for wanted in ("Via", "Contact", "X-Own", "x-own", "Subject"):
            there = [text for spelling, text in headers if spelling.lower() == wanted.lower()]
            assert headers.lines(wanted) == there
            assert headers.get(wanted) == (there[0] if there else None)
            assert (wanted in headers) is bool(there)
            assert headers.count(wanted) == len(there)
        assert headers.lacks("Via", "x-own") is not any(name.lower() in {"via", "x-own"} for name, _ in headers)
        names = [name.lower() for name, _ in headers]
        assert headers.has_repetitions is (len(set(names)) < len(names))
