"""What the SDK of Twilio writes is what its author meant."""

import pytest

from cxml.document import Document, DocumentError, Hangup, Pause, Redirect, Refer, Reject, parse, parse_with_diagnostics

twiml = pytest.importorskip("twilio.twiml.voice_response")

TARGET = "sip:transfer-target@example.com"
COMPLETED = "https://example.com/refer-completed.xml"


def test_the_document_of_the_twilio_sdk_runs() -> None:
    response = twiml.VoiceResponse()
    response.refer(action=COMPLETED, method="GET").sip(TARGET)
    parsed = parse_with_diagnostics(str(response).encode())
    assert parsed.document == Document((Refer(TARGET, COMPLETED, "GET"),))
    assert parsed.diagnostics == ()


def test_the_python_example_of_the_reference_has_two_refers_of_which_the_second_never_runs() -> None:
    response = twiml.VoiceResponse()
    refer = response.refer(action=COMPLETED, method="GET")
    refer.sip(TARGET)
    response.append(refer)
    parsed = parse_with_diagnostics(str(response).encode())
    assert parsed.document == Document((Refer(TARGET, COMPLETED, "GET"),) * 2)
    assert [d.slug for d in parsed.diagnostics] == ["unreachable"]
    assert "add it once" in parsed.diagnostics[0].hint


def test_other_documents_of_the_twilio_sdk_run() -> None:
    response = twiml.VoiceResponse()
    response.pause(length=2)
    refer = twiml.Refer()
    refer.sip("sip:a@example.com?X-A=1&X-B=2")
    response.append(refer)
    response.redirect("/next?a=1&b=2", method="POST")
    expected = Document((Pause(2), Refer("sip:a@example.com?X-A=1&X-B=2"), Redirect("/next?a=1&b=2")))
    assert parse(response.to_xml().encode()) == expected
    assert parse(response.to_xml(xml_declaration=False).encode()) == expected

    response = twiml.VoiceResponse()
    response.reject(reason="busy")
    assert parse(str(response).encode()) == Document((Reject("busy"),))
    response = twiml.VoiceResponse()
    response.hangup()
    assert parse(str(response).encode()) == Document((Hangup(),))


def test_a_verb_of_the_twilio_sdk_that_is_not_supported_is_named() -> None:
    response = twiml.VoiceResponse()
    response.say("Hello")
    with pytest.raises(DocumentError, match="<Say> is not supported yet"):
        parse(str(response).encode())
