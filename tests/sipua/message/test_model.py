"""Requests and responses as objects."""

import pytest

from sipua.errors import ParseError
from sipua.message import Headers, Message, Request, Response, reason_phrase


def test_a_request_is_written_with_its_content_length() -> None:
    request = Request("INFO", "sip:b@c", Headers([("Call-ID", "1")]))
    request.set_body("ä".encode(), "text/plain")
    assert request.encode() == b"INFO sip:b@c SIP/2.0\r\nCall-ID: 1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n\xc3\xa4"


def test_a_response_is_written_with_its_reason() -> None:
    assert Response(200).encode() == b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert Response(404, "Weg").start_line == "SIP/2.0 404 Weg"
    assert Response(200, "").start_line == "SIP/2.0 200 "


def test_classes_of_responses() -> None:
    assert [(r.is_provisional, r.is_final, r.is_success) for r in map(Response, (100, 199, 200, 299, 300, 699))] == [
        (True, False, False),
        (True, False, False),
        (False, True, True),
        (False, True, True),
        (False, True, False),
        (False, True, False),
    ]


def test_reason_phrases_fall_back_to_the_class() -> None:
    assert reason_phrase(486) == "Busy Here"
    assert reason_phrase(499) == "Request Failure"
    assert reason_phrase(799) == "Unknown"


def test_the_request_uri_follows_the_text() -> None:
    request = Request("INFO", "sip:a@b")
    assert request.request_uri is request.request_uri
    request.uri = "sip:c@d"
    assert request.request_uri.user == "c"
    request.uri = "nothing"
    with pytest.raises(ParseError):
        _ = request.request_uri


def test_a_copy_is_independent() -> None:
    request = Request("INFO", "sip:a@b", Headers([("A", "1")]), b"x")
    copy = request.copy()
    copy.headers.add("B", "2")
    copy.uri = "sip:c@d"
    assert (request.uri, len(request.headers), copy.body) == ("sip:a@b", 1, b"x")


def test_repr_is_short() -> None:
    headers = Headers([("CSeq", "1 INFO"), ("Authorization", "secret")])
    assert repr(Request("INFO", "sip:a@b", headers)) == "<Request INFO sip:a@b 1 INFO>"
    assert repr(Response(200, headers=headers)) == "<Response 200 1 INFO>"


def test_a_message_alone_has_no_start_line() -> None:
    with pytest.raises(NotImplementedError):
        Message().encode()
