"""Who calls, as a trusted peer says it (RFC 3325, RFC 3323)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.calls.facts import inbound_facts
from cxml.calls.identity import asserted_identity
from cxml.services.parameters import fact_parameters
from sipua.message import Headers, Request

FROM = ("From", '"Spoofed" <sip:anonymous@anonymous.invalid>;tag=a')


def invite(*headers: tuple[str, str]) -> Request:
    return Request("INVITE", "sip:1000@10.0.0.1", Headers([FROM, ("To", "<sip:1000@10.0.0.1>"), ("Call-ID", "c"), *headers]))


def caller(request: Request, *, is_trusted: bool) -> tuple[str, str]:
    params = fact_parameters(inbound_facts("CA1", "AC1", request, "10.0.0.9", is_trusted=is_trusted))[0]
    return params["From"], params.get("CallerName", "")


SIP = '"Alice" <sip:+4930123@pbx.example;user=phone>'
TEL = "<tel:+4930123;phone-context=x>"
UNNAMED = ("sip:anonymous@anonymous.invalid", "Spoofed")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("P-Asserted-Identity", SIP)], ("sip:+4930123@pbx.example", "Alice")),
        ([("P-Asserted-Identity", TEL)], ("+4930123", "")),
        ([("P-Asserted-Identity", f"{TEL}, {SIP}")], ("sip:+4930123@pbx.example", "Alice")),
        ([("P-Asserted-Identity", TEL), ("P-Asserted-Identity", SIP)], ("sip:+4930123@pbx.example", "Alice")),
        ([("P-Asserted-Identity", f"<<>>, {TEL}")], ("+4930123", "")),
        ([("P-Asserted-Identity", f"{TEL}, {TEL}, {SIP}")], ("+4930123", "")),
        ([("P-Asserted-Identity", "<mailto:a@b>")], UNNAMED),
        ([("P-Asserted-Identity", "")], UNNAMED),
        ([("P-Asserted-Identity", SIP), ("Privacy", "id")], UNNAMED),
        ([("P-Asserted-Identity", SIP), ("Privacy", "header; ID;critical")], UNNAMED),
        ([("P-Asserted-Identity", SIP), ("Privacy", "user")], UNNAMED),
        ([("P-Asserted-Identity", SIP), ("Privacy", "none")], ("sip:+4930123@pbx.example", "Alice")),
        ([("P-Preferred-Identity", SIP)], UNNAMED),
        ([], UNNAMED),
    ],
)
def test_the_caller_of_a_trusted_peer(headers: list[tuple[str, str]], expected: tuple[str, str]) -> None:
    assert caller(invite(*headers), is_trusted=True) == expected


def test_a_peer_that_is_not_trusted_is_not_believed() -> None:
    request = invite(("P-Asserted-Identity", SIP))
    assert caller(request, is_trusted=False) == UNNAMED
    told = fact_parameters(inbound_facts("CA1", "AC1", request, "10.0.0.9"))[0]
    assert not any("4930123" in value for value in told.values())


@given(st.lists(st.text(max_size=30), max_size=4), st.text(max_size=20))
def test_any_text_is_an_identity_or_none(values: list[str], privacy: str) -> None:
    clean = [value.replace("\r", "").replace("\n", "") for value in (*values, privacy)]
    request = invite(*[("P-Asserted-Identity", value) for value in clean[:-1]], ("Privacy", clean[-1]))
    found = asserted_identity(request)
    assert found is None or found.uri.is_sip or found.uri.scheme.lower() == "tel"
