import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.document.uris import is_tel, target_problem, url_problem

GOOD_TARGETS = [
    "sip:bob@example.com",
    "SIP:Bob@Example.COM",
    "sips:bob@example.com",
    "sip:+15551234@pbx",
    "sip:bob@example.com:5062;transport=tcp;lr",
    "sip:o'neil@example.com",
    "sip:example.com",
    "sip:10.0.0.1:5060",
    "sip:bob@[2001:db8::1]:5060;transport=tls",
    "sip:*97@pbx_1",
    "sip:a%20b@example.com",
    "sip:+1-555;phone-context=example.com@gw;user=phone",
    "sip:bob@example.com?Replaces=abc%3Bto-tag%3D1&X-Case=17",
    "sip:bob@example.com?X-Empty=",
    "sip:bob@example.com;user=phone?user-to-user=56a390f3%3Bencoding%3Dhex",
]


@pytest.mark.parametrize("target", GOOD_TARGETS)
def test_a_sip_uri_is_good(target: str) -> None:
    assert target_problem(target) == ("", "")


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("", "has no scheme"),
        ("bob", "has no scheme"),
        ("bob@example.com", "has no scheme"),
        ("1000", "is a number, not a SIP URI"),
        ("sip:", "is not a valid SIP URI"),
        ("sip:1000", "has no host"),
        ("sip:@example.com", "is not a valid SIP URI"),
        ("sip:bob@example.com\n", "has white space in it"),
        ("sip:bob@exa mple.com", "has white space in it"),
        ("sip:bob@example.com:0", "has the port 0"),
        ("sip:bob@1.2.3.4.5", "has the IPv4 address 1.2.3.4.5, which is none"),
        ("sip:bob@[1::2::3]", "has the IPv6 address [1::2::3], which is none"),
        ("sip:bob@example.com;", "is not a valid SIP URI"),
        ("sip:bob@example.com>", "is not a valid SIP URI"),
        ("sip:bob%4@example.com", "is not a valid SIP URI"),
        ("sip:bøb@example.com", "is not a valid SIP URI"),
        ("http://example.com", "has the scheme http, not sip or sips"),
        ("sip:bob:secret@example.com", "has a password"),
        ("sip:bob:@example.com", "has a password"),
        ("sip:bob@example.com?Route=%3Csip:evil;lr%3E", "is not a valid SIP URI"),
        ("sip:bob@example.com?X-A=1&Route=%3Csip:evil%3Blr%3E", "has the header 'Route'"),
        ("sip:bob@example.com?%52oute=x", "has the header 'Route'"),
        ("sip:bob@example.com?X-A=1&", "has the header ''"),
        ("sip:bob@example.com?X-A%0D%0AFrom=1", "has the header 'X-A\\r\\nFrom'"),
        ("sip:bob@example.com?X-A=1%0D%0AFrom:%20x", "has a control character in the header X-A"),
        ("<sip:bob@example.com>", "is not a URI but a whole SIP address"),
        ("Bob <sip:bob@example.com>", "is not a URI but a whole SIP address"),
    ],
)
def test_what_is_no_sip_uri_is_said(target: str, problem: str) -> None:
    assert target_problem(target)[0] == problem


def test_a_tel_uri_is_told_from_a_sip_uri() -> None:
    assert is_tel("tel:+15551234")
    assert is_tel("TEL:123")
    assert not is_tel("sip:tel@example.com")


@pytest.mark.parametrize("url", ["", "/done", "done?a=1&b=2#ct=100", "../x", "?a=1", "https://user:pw@example.com:8443/x",
                                 "HTTP://EXAMPLE.com", "//example.com/x", "http://[::1]:8080/", "/a b", "/é"])  # fmt: skip
def test_a_url_may_be_requested(url: str) -> None:
    assert url_problem(url) == ("", "")


@pytest.mark.parametrize(
    "url", ["ftp://example.com", "javascript:alert(1)", "file:///etc/passwd", "http:", "http://", "https:///x", "http:x",
            "http://[::1", "http://example.com:99999/", "http://example.com:x/", "http://example.com:0/", "/a\nb", "/a\x00b", "//"]
)  # fmt: skip
def test_a_url_may_not_be_requested(url: str) -> None:
    if url == "//":
        assert url_problem(url) == ("", "")  # an empty authority: the same host, as browsers and httpx read it
    else:
        assert url_problem(url)[0]


@given(st.text(max_size=80) | st.from_regex(r"sips?:[a-z0-9;=?&@:.%\[\]]{0,60}", fullmatch=True))
def test_any_text_is_judged(text: str) -> None:
    assert all(isinstance(part, str) for part in (*target_problem(text), *url_problem(text)))
