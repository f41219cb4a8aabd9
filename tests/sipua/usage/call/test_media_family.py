"""Which of our addresses stands in a description when signalling and media are of two families (RFC 7984, RFC 5118 §4.8)."""

import pytest

from sipua.transport.advertised import LOCAL, Advertised
from sipua.usage.call.media import CallMedia, MediaSettings, media_host

OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN %s\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def source_for(address: str) -> str | None:
    return "2001:db8::1" if ":" in address else "192.0.2.1"


@pytest.mark.parametrize(
    ("local", "connection", "expected"),
    [
        ("192.0.2.1", b"IP4 192.0.2.9", "192.0.2.1"),
        ("192.0.2.1", b"IP6 2001:db8::9", "2001:db8::1"),
        ("2001:db8::1", b"IP4 192.0.2.9", "192.0.2.1"),
        ("2001:db8::1", b"IP6 2001:db8::9", "2001:db8::1"),
        ("2001:db8::1", b"IP4 0.0.0.0", "2001:db8::1"),
        ("192.0.2.1", b"IP6 pbx.example.com", "192.0.2.1"),
        ("192.0.2.1", b"IP6 :::", "192.0.2.1"),
    ],
)
def test_media_have_the_family_of_the_offer(local: str, connection: bytes, expected: str) -> None:
    assert media_host(local, OFFER % connection, source_for) == expected


def test_without_an_offer_or_a_route_the_family_is_that_of_the_signalling() -> None:
    assert media_host("192.0.2.1", None, source_for) == "192.0.2.1"
    assert media_host("192.0.2.1", OFFER % b"IP6 2001:db8::9", lambda _address: None) == "192.0.2.1"
    assert media_host("192.0.2.1", OFFER % b"IP6 2001:db8::9", lambda _address: "192.0.2.1") == "192.0.2.1"


@pytest.mark.parametrize(
    ("advertised", "address", "line"),
    [
        (LOCAL, "::1", b"c=IN IP6 ::1\r\n"),
        (LOCAL, "fe80::1%lo", b"c=IN IP6 fe80::1\r\n"),
        (Advertised.parse("198.51.100.7"), "::1", b"c=IN IP6 ::1\r\n"),
        (Advertised.parse("198.51.100.7, 2001:db8::7"), "::1", b"c=IN IP6 2001:db8::7\r\n"),
        (Advertised.parse("198.51.100.7, 2001:db8::7"), "127.0.0.1", b"c=IN IP4 198.51.100.7\r\n"),
        (Advertised.parse("pbx.example.com"), "127.0.0.1", b"c=IN IP4 127.0.0.1\r\n"),
    ],
)
def test_the_advertised_address_is_that_of_the_family(advertised: Advertised, address: str, line: bytes) -> None:
    assert line in CallMedia(MediaSettings(), address, advertised, 1).offer()
