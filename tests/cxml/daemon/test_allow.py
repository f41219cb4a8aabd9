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


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        # another host behind the one that is compared (RFC 3261 §19.1.1)
        ("sip:100@pbx;maddr=evil.example", "sip:*@pbx"),
        ("sip:100@pbx;MADDR=192.0.2.1", "sip:*@pbx"),
        ("sip:100@pbx;%6daddr=evil", "sip:*@pbx"),
        ("sip:100@pbx;maddr=pbx;maddr=evil", "sip:*@pbx"),
        ("sip:100@pbx:5060;maddr=[::1]", "sip:*@pbx"),
        ("sip:100@pbx?Route=%3Csip:evil%3E", "sip:*@pbx"),
        ("sip:100@pbx?X-A=1&%52oute=%3Csip:evil%3E", "sip:*@pbx"),
        ("sip:100@pbx?body=x", "sip:*@pbx"),
        # another request
        ("sip:100@pbx;method=MESSAGE", "sip:*@pbx"),
        ("sip:100@pbx;method=INVITE;method=BYE", "sip:*@pbx"),
        # the end of the URI
        ("sip:100@pbx;x=>,<sip:900@evil", "sip:*@pbx"),
        ('sip:100@pbx;x=">,<sip:900@evil"', "sip:*@pbx"),
        ("sip:100@pbx>", "sip:*@pbx"),
        ("sip:1@evil@pbx", "sip:1*@pbx"),
        # white space, in it and around it
        (" sip:900@pbx", "sip:1*@pbx"),
        ("sip: 100@pbx", "sip:*@pbx"),
        ("sip:100 @pbx", "sip:*@pbx"),
        ("sip:100@pbx :5060", "sip:*@pbx"),
        ("sip:100@pbx\t", "sip:*@pbx"),
        ("sip:100@pbx\u00a0", "sip:*@pbx"),
        # a number that the dial plan reads in another way than the pattern
        ("sip:1&SIP%2F900@pbx", "sip:1*@pbx"),
        ("sip:100;rn=+1900@pbx", "sip:1*@pbx"),
        ("sip:100;phone-context=+1900@pbx;user=phone", "sip:1??*@pbx"),
        ("sip:100,900@pbx", "sip:1*@pbx"),
        ("sip:1${EXTEN}@pbx", "sip:1*@pbx"),
        ("sip:1%00900@pbx", "sip:1*@pbx"),
        ("sip:1&SIP%2F900@pbx", "sip:1*"),
        ("sip:15[leg_timeout=9]@pbx", "sip:1[0-9]*@pbx"),
        ("sip:1?900@pbx", "sip:1?*@pbx"),
        ("sip:1!900;@pbx", "sip:1[!0]*@pbx"),
        ("sip:1%2531@pbx", "sip:1*@pbx"),
        ("sip:1%26900@pbx", "sip:1*@pbx"),
        ("sip:0-900@pbx", "sip:0[!9]*@pbx"),
        ("sip:0(900)@pbx", "sip:0[!9]*@pbx"),
        ("sip:0%2E900@pbx", "sip:0[!9]*@pbx"),
        ("sip:0%39@pbx", "sip:0[!9]@pbx"),
        # Unicode whose lower case or digit is ASCII
        ("sip:10\u212a@pbx", "sip:10k@pbx"),
        ("sip:\uff11\uff10\uff10@pbx", "sip:1??@pbx"),
        ("sip:\uff11\uff10\uff10@pbx", "sip:???@pbx"),
        ("sip:100@pb\u212a", "sip:100@pbk"),
        ("sip:1%E2%84%AA@pbx", "sip:1?@pbx"),
        # other schemes, and IPv6
        ("tel:+49-900", "tel:+49[!9]*"),
        ("tel:+4%39900", "tel:+49[!9]*"),
        ("tel:+4930;phone-context=+1900", "tel:+49*"),
        ("tel:100", "sip:100"),
        ("TEL:900", "tel:1*"),
        ("sips:100@pbx", "sip:100@pbx"),
        ("sip:100@[::2]", "sip:*@[::1]"),
        ("sip:100@[::1]:5061", "sip:*@[::1]:5060"),
        ("sip:100@[::1].evil.example", "sip:*@[::1]"),
        ("sip:100@[::ffff:192.0.2.1]", "sip:*@192.0.2.1"),
        ("sip:100@%70bx", "sip:*@pbx"),
    ],
)
def test_a_pattern_can_not_be_circumvented(target: str, pattern: str) -> None:
    assert not is_allowed(target, (pattern,))


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        ("sip:100@pbx;transport=tcp;lr;user=phone;method=INVITE", "sip:100@pbx"),
        ("sip:100@pbx;maddr=PBX", "sip:*@pbx"),
        ("sip:100@pbx?X-Case=1&Replaces=a%3Bto-tag%3Db&User-to-User=1", "sip:100@pbx"),
        ("sip:100;npdi@pbx", "sip:*@pbx"),
        ("sip:100;npdi@pbx", "sip:*"),
        ("sip:100;npdi@pbx", "sip:1*;npdi@pbx"),
        ("sip:j.doe-2@pbx", "sip:j.doe-2@pbx"),
        ("sip:0123@pbx", "sip:0[!9]*@pbx"),
        ("tel:+49(30)1-2", "tel:+49[!9]*"),
        ("SiP:%31%30%30@PBX", "sip:100@pbx"),
    ],
)
def test_what_a_pattern_means_is_not_refused_for_its_spelling(target: str, pattern: str) -> None:
    assert is_allowed(target, (pattern,))


@given(st.text(max_size=12), st.text(max_size=12))
def test_no_parameter_and_no_text_leads_away_from_the_host(user: str, tail: str) -> None:
    target = f"sip:{user}@pbx;{tail};maddr=evil"
    assert not is_allowed(target, ("sip:*@pbx",))


def test_without_patterns_nothing_is_allowed() -> None:
    assert not is_allowed("sip:100@pbx", ())


@given(st.text(max_size=60), st.text(alphabet="sip:*@[]!?a%", max_size=12))
def test_no_text_makes_it_raise(target: str, pattern: str) -> None:
    assert is_allowed(f"sip:{target}", (pattern,)) in {True, False}


@given(st.text(alphabet="@:;?%40=&abc.", max_size=30))
def test_no_spelling_of_a_foreign_target_passes_for_our_host(tail: str) -> None:
    assert not is_allowed(f"sip:1@evil{tail}", ("sip:*@pbx",))
