"""What the linter finds good is what a transfer takes."""

from hypothesis import given
from hypothesis import strategies as st

from cxml.document import uris
from sipua.usage.call.transfer import target_fault

TARGETS = st.from_regex(uris._SIP_URI, fullmatch=True) | st.builds(
    lambda user, host, params, headers: f"sip:{user}@{host}{params}{headers}",
    st.text("abc123_.!~*'()&=+$,;?/-", min_size=1, max_size=8),
    st.sampled_from(["pbx_1", "example.com:5062", "[2001:db8::1]", "10.0.0.3:1"]),
    st.sampled_from(["", ";transport=tcp", ";lr;user=phone", ";maddr=[::1]"]),
    st.sampled_from(["", "?X-A=1", "?x-b=%00&Replaces=a%3Bto-tag%3Db", "?Route=x", "?X-A&Subject=a", "?", "?User-To-User=1", "?%58-A="]),
)


@given(TARGETS)
def test_a_target_that_the_linter_finds_good_is_sent(target: str) -> None:
    if uris.target_problem(target) == ("", ""):
        assert target_fault(target) == ""


@given(TARGETS)
def test_a_target_that_is_not_sent_is_found_by_the_linter(target: str) -> None:
    if target_fault(target):
        assert uris.target_problem(target)[0]
