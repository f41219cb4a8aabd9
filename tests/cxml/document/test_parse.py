import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.document import (
    MAX_BYTES,
    Document,
    DocumentError,
    Hangup,
    Pause,
    Place,
    Redirect,
    Refer,
    Reject,
    lint,
    parse,
    parse_with_diagnostics,
)
from cxml.document.parse import MAX_KEPT_BYTES

TARGET = "sip:transfer-target@example.com"
COMPLETED = "https://example.com/refer-completed.xml"


def test_every_verb_becomes_its_node() -> None:
    body = b"""<Response>
        <Pause/><Pause length="5"/>
        <Refer><Sip> sip:a@example.com </Sip></Refer>
        <Refer action="/x" method="GET"><Sip>sip:b@example.com</Sip></Refer>
        <Redirect>/y</Redirect><Reject/><Reject reason="busy"/><Hangup/>
    </Response>"""
    assert parse(body) == Document(
        (
            Pause(1),
            Pause(5),
            Refer("sip:a@example.com"),
            Refer("sip:b@example.com", "/x", "GET"),
            Redirect("/y"),
            Reject(),
            Reject("busy"),
            Hangup(),
        )
    )


def test_a_faultless_document_has_lines_and_one_with_findings_has_columns_too() -> None:
    assert parse(b"<Response>\n  <Hangup/>\n</Response>").verbs[0].place == Place(2, 0)
    assert parse(b"<Response>\n  <Hangup x=''/>\n</Response>").verbs[0].place == Place(2, 3)


def test_an_error_is_raised_exactly_if_a_diagnostic_is_fatal() -> None:
    with pytest.raises(DocumentError) as caught:
        parse(b"<Response><Pause x='1'/><Say/></Response>")
    assert [d.slug for d in caught.value.diagnostics] == ["unknown-attribute", "not-supported"]
    assert caught.value.code == 13750
    assert parse(b"<Response><Refer/></Response>") == Document((Refer(""),))
    assert parse(b"<Response><Refer><Sip>tel:1</Sip></Refer></Response>") == Document((Refer("tel:1"),))


def test_lint_and_parse_tell_the_same() -> None:
    body = b"<Response><Refer/><Reject/></Response>"
    assert lint(body, "x.cxml") == list(parse_with_diagnostics(body).diagnostics)


REDIRECT = "<Response><Redirect>/é</Redirect></Response>"


@pytest.mark.parametrize(
    "body",
    [
        REDIRECT.encode(),
        ("<?xml version='1.0' encoding='utf-8'?>" + REDIRECT).encode(),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>' + REDIRECT).encode("latin-1"),
        ('<?xml version="1.0" encoding="latin-1"?>' + REDIRECT).encode("latin-1"),
        ('<?xml version="1.0" encoding="Windows-1252" standalone="yes"?>' + REDIRECT).encode("cp1252"),
        ("\ufeff" + REDIRECT).encode(),
        ('\ufeff<?xml version="1.0" encoding="UTF-8"?>' + REDIRECT).encode(),
        ("\ufeff" + REDIRECT).encode("utf-16-le"),
        ("\ufeff" + REDIRECT).encode("utf-16-be"),
        ('\ufeff<?xml version="1.0" encoding="UTF-16"?>' + REDIRECT).encode("utf-16-le"),
        ('  \r\n<?xml version="1.0" encoding="ISO-8859-1"?>' + REDIRECT).encode("latin-1"),
        b'<?xml version="1.0" encoding="US-ASCII"?><Response><Redirect>/&#233;</Redirect></Response>',
    ],
)
def test_an_encoding_is_read(body: bytes) -> None:
    assert parse(body) == Document((Redirect("/é"),))


@pytest.mark.parametrize(
    "body",
    [
        b"<Response>\xff</Response>",
        b'<?xml version="1.0" encoding="UTF-7"?><Response/>',
        b'<?xml version="1.0" encoding="nonsense"?><Response/>',
        b'<?xml version="1.0" encoding="rot13"?><Response/>',
        b'<?xml version="1.0" encoding="UTF-16"?><Response/>',
        b"\xff\xfe<\x00R\x00\x00\xd8",
        b"\xfe\xff\x00",
    ],
)
def test_bytes_that_are_not_text_are_refused(body: bytes) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(body)
    assert (caught.value.code, caught.value.first.slug) == (12100, "encoding")


def test_the_largest_document_is_read_and_one_byte_more_is_refused() -> None:
    body = b"<Response>" + b" " * (MAX_BYTES - len(b"<Response></Response>")) + b"</Response>"
    assert len(body) == MAX_BYTES
    assert parse(body) == Document(())
    with pytest.raises(DocumentError) as caught:
        parse(body + b" ")
    assert (caught.value.code, caught.value.first.slug) == (11750, "too-large")


@pytest.mark.parametrize("body", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_an_empty_body_is_an_error(body: bytes) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(body)
    assert caught.value.first.slug == "empty"


def test_the_same_bytes_are_parsed_once_and_longer_ones_each_time() -> None:
    short = b"<Response><Pause length='7'/></Response>"
    assert parse(bytes(bytearray(short))) is parse(short)
    long = b"<Response><Pause length='7'/>" + b" " * MAX_KEPT_BYTES + b"</Response>"
    assert parse(long) is not parse(long)
    assert parse(long) == parse(short)


def test_an_error_is_made_anew_each_time() -> None:
    errors = []
    for _ in range(2):
        with pytest.raises(DocumentError) as caught:
            parse(b"<Response><Dail/></Response>")
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert errors[0].diagnostics == errors[1].diagnostics


@given(
    st.lists(
        st.sampled_from([b"<Response/>", b"<Response><Hangup/></Response>", b"<Response>", b"<Response><Reject/><Hangup/></Response>"])
    )
)
def test_what_was_parsed_before_makes_no_difference(bodies: list[bytes]) -> None:
    for body in bodies:
        fresh = parse_with_diagnostics(body)
        try:
            kept: Document | None = parse(body)
        except DocumentError as error:
            kept = None
            diagnostics = error.diagnostics
        else:
            diagnostics = fresh.diagnostics
        assert (kept, diagnostics) == (fresh.document, fresh.diagnostics)
