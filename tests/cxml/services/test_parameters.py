from urllib.parse import parse_qsl, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.services.parameters import CallFacts, clean, fact_parameters, form_body, parameters_in, remembered, with_query


def test_a_call_of_which_little_is_known_sends_the_required_parameters() -> None:
    params, left_out = fact_parameters(CallFacts("CA1"))
    assert params == {
        "CallSid": "CA1",
        "AccountSid": "",
        "ApiVersion": "2010-04-01",
        "Direction": "inbound",
        "From": "",
        "To": "",
    }
    assert left_out == ()


def test_every_fact_has_its_parameter() -> None:
    facts = CallFacts(
        call_sid="CA1", account_sid="AC1", from_="f", to="t", direction="outbound-api", api_version="v", caller_name="n",
        forwarded_from="ff", parent_call_sid="p", sip_call_id="i", sip_source_ip="10.0.0.1", sip_user="u", sip_domain="d",
        sip_headers={"X-Foo": "bar", "x-low": "1", "User-Agent": "no", "X-": "no", "X-a b": "no"},
    )  # fmt: skip
    assert fact_parameters(facts)[0] == {
        "CallSid": "CA1", "AccountSid": "AC1", "From": "f", "To": "t", "Direction": "outbound-api", "ApiVersion": "v",
        "CallerName": "n", "ForwardedFrom": "ff", "ParentCallSid": "p", "SipCallId": "i", "SipSourceIp": "10.0.0.1",
        "SipUser": "u", "SipDomain": "d", "SipHeader_X-Foo": "bar", "SipHeader_x-low": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({f"X-{i}": "v" for i in range(33)}, 32),
        ({"X-A": "v" * 1024}, 1),
        ({"X-A": "v" * 1025, "X-B": "short"}, 1),
        ({f"X-{i}": "v" * 1000 for i in range(10)}, 8),
    ],
)
def test_headers_beyond_a_limit_are_left_out_and_named(headers: dict[str, str], kept: int) -> None:
    params, left_out = fact_parameters(CallFacts("CA1", sip_headers=headers))
    assert sum(name.startswith("SipHeader_") for name in params) == kept
    assert len(left_out) == len(headers) - kept


def test_undecodable_bytes_of_sip_become_question_marks() -> None:
    assert clean({"From": "J\udcf6rg"}) == {"From": "J?rg"}
    assert clean({"From": "Jörg"}) == {"From": "Jörg"}


def test_control_characters_of_sip_never_reach_an_application() -> None:
    facts = CallFacts("CA1", caller_name="\x1b[31mBob\u2028\x00\x7f\x9b1m\tZoë", sip_headers={"X-A": "a\x85b\tc\u2029d"})
    params, _ = fact_parameters(facts)
    assert (params["CallerName"], params["SipHeader_X-A"]) == ("?[31mBob????1m\tZoë", "a?b\tc?d")
    assert clean({"Detail": "one\r\ntwo"}) == {"Detail": "one??two"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/p", "http://h/p?A=1%202&B=%2B%C3%BC"),
        ("http://h/p?q=x", "http://h/p?q=x&A=1%202&B=%2B%C3%BC"),
    ],
)
def test_parameters_follow_an_existing_query(url: str, expected: str) -> None:
    assert with_query(url, {"A": "1 2", "B": "+ü"}) == expected
    assert with_query(url, {}) == url


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=12), max_size=5))
def test_a_server_decodes_what_was_encoded(params: dict[str, str]) -> None:
    cleaned = clean(params)
    assert dict(parse_qsl(form_body(cleaned).decode(), keep_blank_values=True)) == cleaned
    query = with_query("http://h/", cleaned).partition("?")[2]
    assert dict(parse_qsl(query, keep_blank_values=True)) == cleaned


@given(st.dictionaries(st.text("aZ09_.~-+:@;= &%/ü\x00", max_size=8), st.text("aZ09_.~-+:@;= &%/ü\x00", max_size=20), max_size=5))
def test_a_form_is_encoded_as_the_library_does(params: dict[str, str]) -> None:
    assert form_body(params).decode() == "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in params.items())


@given(st.dictionaries(st.text(), st.text(), min_size=1))
def test_a_form_says_what_it_was_made_of_also_when_nobody_remembers(params: dict[str, str]) -> None:
    cleaned = clean(params)
    form = remembered(cleaned)
    assert parameters_in(form) == cleaned
    for number in range(600):
        remembered({"CallSid": f"CA{number}"})
    assert parameters_in(form) == cleaned
    assert parameters_in(form) is not cleaned


def test_nothing_large_is_remembered() -> None:
    params = {"From": ";" * 8000}
    form = remembered(params)
    assert parameters_in(form) is not parameters_in(form)
    assert parameters_in(form) == params
