import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.services.target import TargetError, parse_target, without_query, without_secrets


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://h", "http://h/"),
        ("  http://h/p \n", "http://h/p"),
        ("HTTP://Host.Example:80/P", "http://host.example/P"),
        ("https://h:443/", "https://h/"),
        ("https://h:8443/a?b=c&b=d", "https://h:8443/a?b=c&b=d"),
        ("http://u:p@h/a#ct=500", "http://h/a"),
        ("http://h/a?", "http://h/a"),
        ("http://h/a b?q=ü'", "http://h/a%20b?q=%C3%BC'"),
        ("http://h/a%2fb?x=%7E", "http://h/a%2fb?x=%7E"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://[2001:DB8::1]/", "http://[2001:DB8::1]/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
    ],
)
def test_the_url_to_send_has_no_credentials_and_no_fragment(text: str, url: str) -> None:
    target = parse_target(text)
    assert target.url == url
    assert str(target.parsed) == url


@pytest.mark.parametrize(
    "text",
    ["", "/relative", "h", "ftp://h/", "file:///etc/passwd", "http://", "http:///x", "http://h:99999/", "http://h:0/",
     "http://h:x/", "http://[::1/", "javascript:1", "http://h/\x00", "http://" + "a" * 70000],
)  # fmt: skip
def test_what_cannot_be_requested_is_refused(text: str) -> None:
    with pytest.raises(TargetError):
        parse_target(text)


def test_a_url_that_its_escapes_make_too_long_is_refused() -> None:
    with pytest.raises(TargetError, match="too long"):
        parse_target("http://192.0.2.1/" + '"' * 40_000)


def test_credentials_become_basic_authorization_and_stay_out_of_the_repr() -> None:
    target = parse_target("https://alice:s%40crt@h/")
    assert target.authorization == "Basic YWxpY2U6c0BjcnQ="
    assert "YWxp" not in repr(target)
    assert "crt" not in repr(target)


def test_origins_differ_by_scheme_host_and_port() -> None:
    assert parse_target("http://h/a").origin == parse_target("http://H:80/b").origin == ("http", "h", 80)
    assert len({parse_target(u).origin for u in ("http://h/", "https://h/", "http://h:81/", "http://g/")}) == 4
    assert parse_target("http://[2001:DB8::1]/").origin == parse_target("http://[2001:db8::1]/").origin


@pytest.mark.parametrize("host", ["xn--a", "xn--zzzzzz-"])
def test_a_label_that_no_name_is_encoded_as_is_taken_as_it_is(host: str) -> None:
    assert parse_target(f"http://{host.upper()}/").origin == ("http", host, 80)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:p@h/a#f", "http://h/a"),
        ("not a url://u:p@h", "not a url://h"),
        ("http://h/a@b", "http://h/a@b"),
        ("http://u:p@ss@h/", "http://h/"),
    ],
)
def test_secrets_are_cut_from_any_text(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_a_log_shows_no_query() -> None:
    assert without_query("http://h/a?token=1") == "http://h/a?…"
    assert without_query("http://h/a") == "http://h/a"


@given(st.text(alphabet="htps:/@[]?#=&%aü .~'\"<>;\\0123\x7f", max_size=40))
def test_any_text_is_refused_or_stable(text: str) -> None:
    try:
        target = parse_target("http://" + text)
    except TargetError:
        return
    assert parse_target(target.url).url == target.url
    assert "@" not in target.parsed.netloc.decode()
    assert "#" not in target.url
