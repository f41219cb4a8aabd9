"""URIs (RFC 3261 §19.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.errors import ParseError
from sipua.message import Params, Uri


def test_all_parts_are_read() -> None:
    uri = Uri.parse("sips:alice:secret@example.com:5061;transport=TCP;lr?Subject=hi&Priority=urgent")
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port) == ("sips", "alice", "secret", "example.com", 5061)
    assert uri.transport == "tcp"
    assert "lr" in uri.params
    assert uri.headers == "Subject=hi&Priority=urgent"
    assert uri.is_sip


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("sip:example.com", None, "example.com", None),
        ("sip:pbx1", None, "pbx1", None),
        ("SIP:a@my_host:5060", "a", "my_host", 5060),
        ("sip:a@[2001:db8::1]:5060", "a", "[2001:db8::1]", 5060),
        ("sip:a@[::1]", "a", "[::1]", None),
        ("sip:user;par=u%40example.net@example.com", "user;par=u%40example.net", "example.com", None),
        ("sip:null-%00-null@example.com", "null-%00-null", "example.com", None),
        (
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com",
            "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*",
            "example.com",
            None,
        ),
        ("sip:*97@pbx", "*97", "pbx", None),
        ("sip:a@example.com.", "a", "example.com.", None),
    ],
)
def test_user_host_and_port(text: str, user: str | None, host: str, port: int | None) -> None:
    uri = Uri.parse(text)
    assert (uri.user, uri.host, uri.port) == (user, host, port)
    assert str(uri) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "sip:",
        "sip:@example.com",
        "sip:a@",
        "sip:a b@example.com",
        "sip:a@b@c",
        "sip:a@example.com:99999",
        "sip:a@example.com:x",
        "sip:a@[::1",
        "sip:a@exa mple.com",
        "sip:<a@example.com",
        "sip:a@example.com;x y",
        "sip:a@-",
        "tel:",
        "http://exa mple",
        "1sip:a@b",
        ":a@b",
    ],
)
def test_broken_uris_are_refused(text: str) -> None:
    with pytest.raises(ParseError):
        Uri.parse(text)


def test_a_uri_that_is_too_long_is_refused_with_414() -> None:
    with pytest.raises(ParseError) as caught:
        Uri.parse("sip:" + "a" * 5000)
    assert caught.value.status == 414


@pytest.mark.parametrize(
    "text", ["tel:+1-201-555-0123", "urn:service:sos", "http://example.com/x", "nobodyKnowsThisScheme:totallyopaquecontent", "im:a@b"]
)
def test_other_schemes_stay_opaque(text: str) -> None:
    uri = Uri.parse(text)
    assert not uri.is_sip
    assert uri.opaque == text.partition(":")[2]
    assert str(uri) == text


def test_build_escapes_the_user_and_brackets_ipv6() -> None:
    assert str(Uri.build("2001:db8::1", user="al ice@x", port=5070)) == "sip:al%20ice%40x@[2001:db8::1]:5070"
    assert Uri.build("h", user="al ice@x").unescaped_user == "al ice@x"
    assert str(Uri.build("h", scheme="sips", params=Params.parse(";lr"))) == "sips:h;lr"
    assert Uri.parse("sip:a@[::1]").bare_host == "::1"


def test_a_request_uri_has_no_headers_and_no_method() -> None:
    uri = Uri.parse("sip:a:p@b:5070;method=REFER;x=1?Replaces=c%40d")
    assert str(uri.as_request_uri()) == "sip:a:p@b:5070;x=1"
    plain = Uri.parse("sip:a@b;lr")
    assert plain.as_request_uri() is plain
    assert str(Uri.parse("sip:b;x?h=1").as_request_uri()) == "sip:b;x"


def test_with_params_keeps_all_else() -> None:
    assert str(Uri.parse("sip:a:p@b:5070;x?h=1").with_params(Params.parse("y=2"))) == "sip:a:p@b:5070;y=2?h=1"


EQUAL = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    ("sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x"),
    ("tel:+1", "TEL:+1"),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ("sip:a@b", "sips:a@b"),
    ("sip:a@b", "tel:+1"),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_uris_that_match(left: str, right: str) -> None:
    assert Uri.parse(left).matches(Uri.parse(right))
    assert Uri.parse(right).matches(Uri.parse(left))


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_uris_that_do_not_match(left: str, right: str) -> None:
    assert not Uri.parse(left).matches(Uri.parse(right))
    assert not Uri.parse(right).matches(Uri.parse(left))


def test_equality_is_of_the_text() -> None:
    assert Uri.parse("sip:a@b") == Uri.parse("sip:a@b") != Uri.parse("sip:a@B")
    assert len({Uri.parse("sip:a@b"), Uri.parse("sip:a@b")}) == 1
    assert repr(Uri.parse("sip:a@b")) == "Uri('sip:a@b')"


@given(st.text(max_size=60))
def test_any_text_gives_a_uri_or_a_parse_error(text: str) -> None:
    for candidate in (text, "sip:" + text, "sip:a@b" + text):
        try:
            uri = Uri.parse(candidate)
        except ParseError:
            continue
        assert str(uri) == candidate
        assert uri.matches(uri)
        uri.as_request_uri()


@given(st.text(min_size=1, max_size=20))
def test_any_user_survives_building(user: str) -> None:
    try:
        user.encode()
    except UnicodeEncodeError:
        return
    assert Uri.build("example.com", user=user).unescaped_user == user
