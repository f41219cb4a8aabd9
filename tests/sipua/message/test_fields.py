"""Typed header values."""

from collections.abc import Callable
from typing import Any

import pytest

from sipua.errors import ParseError
from sipua.message import Headers, Message, Request, Response, Value


def message(*items: tuple[str, str]) -> Request:
    return Request("OPTIONS", "sip:b@c", Headers(items))


def test_a_value_is_parsed_once_and_again_after_a_change() -> None:
    request = message(("To", "<sip:a@b>;tag=1"))
    first = request.to
    assert request.to is first
    request.headers.set("To", "<sip:a@b>;tag=2")
    assert request.to.tag == "2"


def test_absent_values() -> None:
    request = message()
    lists: list[object] = [request.contacts, request.vias, request.record_route, request.supported]
    assert lists == [()] * 4
    options: list[object] = [request.expires, request.event, request.refer_to, request.contact]
    assert options == [None] * 4
    for read in (lambda: request.via, lambda: request.to, lambda: request.from_, lambda: request.call_id, lambda: request.cseq):
        with pytest.raises(ParseError):
            read()


BROKEN: list[tuple[str, str, Callable[[Message], Any]]] = [
    ("Via", "x", lambda m: m.via),
    ("Via", "", lambda m: m.via),
    ("Via", "SIP/2.0/UDP h, x", lambda m: m.vias),
    ("Call-ID", "a b", lambda m: m.call_id),
    ("Call-ID", " ", lambda m: m.call_id),
    ("Contact", "<sip:a@b", lambda m: m.contacts),
    ("Contact", "<sip:a@b", lambda m: m.contact),
    ("Expires", "soon", lambda m: m.expires),
    ("Expires", "", lambda m: m.expires),
    ("Event", ";id=1", lambda m: m.event),
    ("Event", "", lambda m: m.event),
    ("Content-Type", "a b", lambda m: m.content_type),
    ("Refer-To", "nobody", lambda m: m.refer_to),
]


@pytest.mark.parametrize(("name", "value", "read"), BROKEN)
def test_a_broken_value_raises_when_it_is_read(name: str, value: str, read: Callable[[Message], Any]) -> None:
    with pytest.raises(ParseError):
        read(message((name, value)))


def test_lists_span_lines() -> None:
    request = message(
        ("Via", "SIP/2.0/UDP a, SIP/2.0/TCP b"), ("Via", "SIP/2.0/TLS c"), ("Supported", "100rel, TIMER"), ("Supported", "path")
    )
    assert [via.host for via in request.vias] == ["a", "b", "c"]
    assert request.via.host == "a"
    assert request.supported == ("100rel", "timer", "path")
    assert request.vias is request.vias


def test_numbers() -> None:
    request = message(("Expires", " 3600 "), ("Retry-After", "120 (I'm in a meeting);duration=60"), ("Min-Expires", "99999999999999"))
    assert request.expires == 3600
    assert request.retry_after == 120
    assert message(("Expires", "4294967297")).expires == 2**32 - 1


def test_tokens_with_parameters() -> None:
    request = message(
        ("Event", "refer ; id=5"),
        ("Subscription-State", "Terminated;reason=noresource"),
        ("Content-Type", "message / sipfrag;version=2.0"),
        ("Session-Expires", "1800;refresher=uac"),
    )
    assert request.event is not None
    assert (request.event.value, request.event.params.get("id")) == ("refer", "5")
    assert request.subscription_state is not None
    assert request.subscription_state.value == "Terminated"
    assert str(request.content_type) == "message/sipfrag;version=2.0"
    assert str(request.session_expires) == "1800;refresher=uac"
    assert str(Value("refer")) == "refer"


def test_contact_star_is_no_contact() -> None:
    assert message(("Contact", "*")).contact is None
    contact = message(("Contact", "<sip:a@b>, <sip:c@d>")).contact
    assert contact is not None
    assert str(contact.uri) == "sip:a@b"


def test_fields_are_descriptors_of_the_class() -> None:
    assert Request.via is Response.via
    assert Request.expires is Response.expires
    assert Request.vias is Response.vias
