"""Documents that mean harm, and bytes that mean nothing."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxml.document import DocumentError, parse, parse_with_diagnostics
from cxml.document.schema import KNOWN_VERBS, MAX_BYTES, VERBS

LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (i, b"&l%d;" % (i - 1) * 10) for i in range(1, 10))
BILLION_LAUGHS = b'<?xml version="1.0"?><!DOCTYPE Response [<!ENTITY l0 "ha">%s]><Response>&l9;</Response>' % LAUGHS
SECRET = Path(__file__)

HOSTILE = {
    "billion laughs": BILLION_LAUGHS,
    "billion laughs in an attribute": BILLION_LAUGHS.replace(b"<Response>&l9;", b'<Response><Pause length="&l9;"/>'),
    "quadratic blow-up": b'<!DOCTYPE R [<!ENTITY a "%s">]><Response>%s</Response>' % (b"x" * 30000, b"&a;" * 8000),
    "external entity": b'<!DOCTYPE R [<!ENTITY x SYSTEM "file://%s">]><Response><Redirect>&x;</Redirect></Response>' % str(SECRET).encode(),
    "external DTD": b'<!DOCTYPE Response SYSTEM "http://127.0.0.1:9/x.dtd"><Response/>',
    "parameter entity": b'<!DOCTYPE R [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x">%p;]><Response/>',
    "DOCTYPE behind many comments": b"<!---->" * 9000 + b"<!DOCTYPE x><Response/>",
    "DOCTYPE in UTF-16": "\ufeff<!DOCTYPE Response [<!ENTITY a 'b'>]><Response>&a;</Response>".encode("utf-16-le"),
    "DOCTYPE in UTF-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE R><Response/>',
    "100000 nested elements": b"<a>" * 100_000,
    "nested up to the limit of size": b"<Response>" + b"<a>" * 21_000,
    "nested and closed": b"<Response><Dial>" + b"<a>" * 9_000 + b"</a>" * 9_000 + b"</Dial></Response>",
    "huge attribute": b'<Response><Pause length="' + b"9" * 65_000 + b'"/></Response>',
    "huge name": b"<Response><" + b"R" * 65_000 + b"/></Response>",
    "many unknown names": b"<Response>" + b"".join(b"<Refe%d/>" % i for i in range(6_000)) + b"</Response>",
    "many attributes": b"<Response><Pause " + b" ".join(b'a%d="1"' % i for i in range(6_000)) + b"/></Response>",
    "many Sips": b"<Response><Refer>" + b"<Sip/>" * 10_000 + b"</Refer></Response>",
    "Refers in nested Dials": b"<Response>" + b"<Dial>" * 200 + b"<Refer/>" * 6_000 + b"</Dial>" * 200 + b"</Response>",
    "many parameters": b"<Response><Refer><Sip>sip:a@b" + b";a=b" * 16_000 + b"!</Sip></Refer></Response>",
    "NUL": b"<Response>\x00</Response>",
    "NUL at once": b"\x00",
    "NUL by reference": b"<Response>&#0;</Response>",
    "UTF-32": "\ufeff<Response/>".encode("utf-32-le"),
    "overlong UTF-8": b"<Response>\xc0\xbcHangup/></Response>",
    "surrogate in UTF-8": b"<Response>\xed\xa0\x80</Response>",
    "XInclude": b'<Response xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd" parse="text"/></Response>',
    "one byte too many": b" " * MAX_BYTES + b" ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused_or_harmless_and_soon(name: str) -> None:
    before = time.process_time()
    parsed = parse_with_diagnostics(HOSTILE[name])
    assert time.process_time() - before < 1
    assert all(len(str(diagnostic)) < 500 and str(diagnostic).isprintable() for diagnostic in parsed.diagnostics)
    if name not in {"many attributes", "many parameters"}:
        assert parsed.document is None


def test_no_file_is_read_by_an_entity() -> None:
    with pytest.raises(DocumentError) as caught:
        parse(HOSTILE["external entity"])
    assert caught.value.first.slug == "doctype"


def outcome_of(body: bytes) -> None:
    """Whatever the bytes: a document, or an error with a fatal diagnostic; and both entrances agree."""
    parsed = parse_with_diagnostics(body)
    assert (parsed.document is None) == any(d.fatal for d in parsed.diagnostics)
    assert all(d.line >= 1 and d.column >= 1 for d in parsed.diagnostics)
    assert all(str(d).isprintable() for d in parsed.diagnostics)
    if parsed.document is None:
        with pytest.raises(DocumentError) as caught:
            parse(body)
        assert caught.value.diagnostics == parsed.diagnostics
    else:
        assert parse(body) == parsed.document


@given(st.binary(max_size=300))
def test_any_bytes_give_a_document_or_a_document_error(body: bytes) -> None:
    outcome_of(body)


@given(st.text(alphabet="<>/?!-[]&;#x\"'= aeRSi:\n\x00\ufeff\ud7ff", max_size=60))
def test_any_markup_gives_a_document_or_a_document_error(text: str) -> None:
    outcome_of(b"<Response>" + text.encode() + b"</Response>")
    outcome_of(text.encode())


NAMES = st.sampled_from([*VERBS, *KNOWN_VERBS, "Sip", "Number", "Siprec", "refer", "Foo", "xi:b"])
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["action", "method", "length", "reason", "x"]),
    st.sampled_from(["", "GET", "post", "PUT", "3", "-1", "busy", "/a", "http://[", "a b", "ftp:x", "&#10;", "&amp;", "&x;", "<"]),
    max_size=3,
)
TEXTS = st.sampled_from(["", " ", "sip:a@example.com", "tel:1", "/next", "x&amp;y", "<!-- c -->", "<![CDATA[ d ]]>", "<?p i?>", "&", "]]>"])


def element(name: str, attributes: dict[str, str], content: str) -> str:
    written = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{written}>{content}</{name}>"


ELEMENTS = st.recursive(
    st.builds(element, NAMES, ATTRIBUTES, TEXTS),
    lambda inner: st.builds(
        lambda name, attributes, parts: element(name, attributes, "".join(parts)), NAMES, ATTRIBUTES, st.lists(inner | TEXTS, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(ELEMENTS | TEXTS, max_size=4))
def test_any_combination_of_elements_gives_a_document_or_a_document_error(parts: list[str]) -> None:
    outcome_of(element("Response", {}, "".join(parts)).encode())


VALID = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Response>\n <Pause length="3"/>\n <Refer action="/done?a=1&amp;b=2" method="GET">'
    b"<Sip>sip:bob@example.com;transport=tcp</Sip></Refer>\n <Redirect>/x</Redirect><!-- c --><Reject reason='busy'/></Response>"
)


@given(st.data())
def test_a_damaged_document_gives_a_document_or_a_document_error(data: st.DataObject) -> None:
    body = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        until = at + data.draw(st.integers(0, 12))
        body[at:until] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"<", b">", b"&", b'"', b"</", b"\xff", b"<Say/>", b"<!DOCTYPE"])
        )
    outcome_of(bytes(body))
