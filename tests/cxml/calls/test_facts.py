"""What an application is told of a call: read from INVITEs of every kind."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.calls.facts import SidStyle, inbound_facts, new_sid, plain_uri
from cxml.services.parameters import fact_parameters
from sipua.message import Request, Uri, parse_message


def invite(
    *extra: str, from_: str = "<sip:9@10.0.0.9>", to: str = "<sip:1000@10.0.0.1>", uri: str = "sip:1000@10.0.0.1", end: str = "\r\n"
) -> Request:
    lines = [
        f"INVITE {uri} SIP/2.0",
        "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1",
        f"From: {from_};tag=a",
        f"To: {to}",
        "Call-ID: abc@10.0.0.9",
        "CSeq: 1 INVITE",
        *extra,
        "Content-Length: 0",
    ]
    message = parse_message((end.join(lines) + end + end).encode())
    assert isinstance(message, Request)
    return message


def parameters(request: Request) -> dict[str, str]:
    return fact_parameters(inbound_facts("CA1", "AC1", request, "10.0.0.9"))[0]


def test_a_plain_invite_gives_exactly_these_parameters() -> None:
    assert parameters(invite()) == {
        "CallSid": "CA1",
        "AccountSid": "AC1",
        "ApiVersion": "2010-04-01",
        "Direction": "inbound",
        "From": "sip:9@10.0.0.9",
        "To": "sip:1000@10.0.0.1",
        "SipCallId": "abc@10.0.0.9",
        "SipSourceIp": "10.0.0.9",
        "SipUser": "1000",
        "SipDomain": "10.0.0.1",
    }


@pytest.mark.parametrize(
    ("from_", "expected", "name"),
    [
        ('"Alice \\"A\\" Adams" <sip:alice@a.example:5070;transport=tcp>', "sip:alice@a.example:5070", 'Alice "A" Adams'),
        ("Alice <sip:alice:secret@a.example;user=phone?X=1>", "sip:alice@a.example", "Alice"),
        ('"Zoë Ångström" <sips:zo%C3%AB@[2001:db8::1]:5061>', "sips:zo%C3%AB@[2001:db8::1]:5061", "Zoë Ångström"),
        ("<tel:+49-30-123;phone-context=x>", "+49-30-123", ""),
        ('"Anonymous" <sip:anonymous@anonymous.invalid>', "sip:anonymous@anonymous.invalid", "Anonymous"),
        ("<sip:a.example>", "sip:a.example", ""),
        ("<sip:+4930123@a.example;user=phone>", "sip:+4930123@a.example", ""),
    ],
)
def test_callers_of_every_kind(from_: str, expected: str, name: str) -> None:
    params = parameters(invite(from_=from_))
    assert (params["From"], params.get("CallerName", "")) == (expected, name)


def test_addresses_of_the_request_line() -> None:
    params = parameters(invite(uri="sip:ivr%20one@[2001:db8::2]:5070;x=y", to="<sip:ivr@[2001:db8::2]>"))
    assert (params["SipUser"], params["SipDomain"], params["To"]) == ("ivr one", "2001:db8::2", "sip:ivr@[2001:db8::2]")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (("Diversion: <sip:boss@x.example>;reason=unconditional, <sip:old@x.example>",), "sip:boss@x.example"),
        (("Diversion: <tel:+4930>;reason=busy", "Diversion: <sip:old@x.example>"), "+4930"),
        (("History-Info: <sip:a@x.example>;index=1, <sip:b@x.example>;index=1.1, <sip:c@x.example>;index=1.2",), "sip:b@x.example"),
        (("History-Info: <sip:a@x.example>;index=1",), ""),
        (("Diversion: <<<broken",), ""),
        (("Diversion: ",), ""),
        ((), ""),
    ],
)
def test_who_forwarded_the_call(headers: tuple[str, ...], expected: str) -> None:
    assert parameters(invite(*headers)).get("ForwardedFrom", "") == expected


def test_extension_headers_are_passed_on_and_others_are_not() -> None:
    lines = ("X-customID: 7", "x-lower: low", "X-Multi: a", "x-MULTI: b", "P-Asserted-Identity: <sip:x@y>", "Subject: no")
    params = parameters(invite(*lines))
    assert {name: value for name, value in params.items() if name.startswith("SipHeader_")} == {
        "SipHeader_X-customID": "7",
        "SipHeader_x-lower": "low",
        "SipHeader_X-Multi": "a, b",
    }


def test_control_characters_of_a_name_are_replaced() -> None:
    assert parameters(invite(from_='"\x1b[31mBob\u2028" <sip:9@10.0.0.9>'))["CallerName"] == "?[31mBob?"


def test_extension_headers_have_limits() -> None:
    many = [f"X-H{number}: {'v' * 200}" for number in range(60)]
    params, left_out = fact_parameters(inbound_facts("CA1", "", invite("X-Long: " + "v" * 2000, *many), "10.0.0.9"))
    kept = [name for name in params if name.startswith("SipHeader_")]
    assert len(kept) == 32
    assert len(left_out) == 61 - 32
    assert "SipHeader_X-Long" not in params


@given(st.binary(max_size=60))
def test_any_octets_in_names_and_headers_give_parameters_that_can_be_sent(octets: bytes) -> None:
    clean = bytes(octet for octet in octets if octet not in b'\r\n\x00"\\')
    raw = (
        b"INVITE sip:1000@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\n"
        b'From: "' + clean + b'" <sip:9@10.0.0.9>;tag=a\r\nTo: <sip:1000@10.0.0.1>\r\nCall-ID: abc\r\nCSeq: 1 INVITE\r\n'
        b"X-Raw: " + clean + b"\r\nDiversion: " + clean + b"\r\nContent-Length: 0\r\n\r\n"
    )
    message = parse_message(raw)
    assert isinstance(message, Request)
    for name, value in parameters(message).items():
        assert (name + value).encode("utf-8")


def test_sids_look_as_configured_and_never_repeat() -> None:
    for sid in (new_sid(SidStyle.UUID) for _ in range(40)):
        read = uuid.UUID(sid)
        assert (str(read), read.version, read.variant) == (sid, 4, uuid.RFC_4122)
    assert re.fullmatch(r"CA[0-9a-f]{32}", new_sid(SidStyle.TWILIO))
    assert len({new_sid(style) for style in SidStyle for _ in range(100)}) == 200


@pytest.mark.parametrize("text", ["sip:a@b", "sip:b.example", "sips:a@[::1]:5061", "sip:a%40b@c;lr", "tel:+1;ext=2", "urn:service:sos"])
def test_a_plain_uri_has_no_password_parameters_or_headers(text: str) -> None:
    shown = plain_uri(Uri.parse(text))
    assert ";" not in shown
    assert shown
