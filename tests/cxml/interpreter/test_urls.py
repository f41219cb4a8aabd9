"""References and URLs fit for logs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.interpreter.urls import LOGGED_CHARS, for_log, resolve, without_credentials

BASE = "https://u:p@app.test:8443/calls/start?id=1"


@pytest.mark.parametrize(
    ("reference", "absolute"),
    [
        ("", BASE),
        ("done", "https://u:p@app.test:8443/calls/done"),
        ("../done.xml?a=b", "https://u:p@app.test:8443/done.xml?a=b"),
        ("/done", "https://u:p@app.test:8443/done"),
        ("?id=2", "https://u:p@app.test:8443/calls/start?id=2"),
        ("//other.test/x", "https://other.test/x"),
        ("http://other.test/x", "http://other.test/x"),
        (" done#rt=100 ", "https://u:p@app.test:8443/calls/done#rt=100"),
    ],
)
def test_a_reference_resolves_against_the_document(reference: str, absolute: str) -> None:
    assert resolve(BASE, reference) == absolute


@pytest.mark.parametrize("base", ["", BASE])
def test_an_unreadable_reference_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match="IPv6"):
        resolve(base, "http://[::1")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (BASE, "https://app.test:8443/calls/start?id=1"),
        ("http://a@b@[::1]:80/#x", "http://[::1]:80/"),
        ("http://app.test", "http://app.test"),
        ("http://[::1", "(unreadable URL)"),
    ],
)
def test_credentials_and_fragment_are_not_shown(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@given(st.text())
def test_any_text_can_be_shown(url: str) -> None:
    assert isinstance(without_credentials(url), str)
    assert for_log(url).isprintable()


def test_a_log_shows_neither_credentials_nor_query_nor_more_than_a_line() -> None:
    assert for_log(BASE + "&token=secret#x") == "https://app.test:8443/calls/start"
    assert for_log("http://app.test/\x1b[31m") == "http://app.test/\\x1b[31m"
    assert len(for_log("http://app.test/" + "a" * 999)) == LOGGED_CHARS
