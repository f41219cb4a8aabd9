import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.services.signing import signature, signature_headers

RequestValidator = pytest.importorskip("twilio.request_validator").RequestValidator

URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
PARAMS = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
    "Caller": "+14158675309",
}


def test_the_published_test_vector_is_met() -> None:
    assert signature("12345", URL, PARAMS) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_the_order_of_the_parameters_does_not_matter() -> None:
    assert signature("12345", URL, dict(reversed(PARAMS.items()))) == signature("12345", URL, PARAMS)


def test_a_header_is_sent_only_for_a_key_that_is_set() -> None:
    assert signature_headers("", "", URL, PARAMS) == []
    assert signature_headers("12345", "", URL, PARAMS) == [("X-Twilio-Signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")]
    assert [name for name, _ in signature_headers("a", "b", URL, PARAMS)] == ["X-Twilio-Signature", "X-SignalWire-Signature"]


@given(st.text(min_size=1, max_size=40), st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=6))
def test_the_official_validator_agrees_on_any_key_and_parameters(key: str, params: dict[str, str]) -> None:
    key = key.encode("utf-8", "replace").decode()
    assert RequestValidator(key).validate(URL, params, signature(key, URL, params))


def test_a_changed_value_is_noticed() -> None:
    assert not RequestValidator("12345").validate(URL, {**PARAMS, "To": "+1"}, signature("12345", URL, PARAMS))
