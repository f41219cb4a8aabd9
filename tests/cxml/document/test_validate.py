import pytest
from lxml import etree

from cxml.document import lint, parse_with_diagnostics
from cxml.document.diagnostics import STRAY_TEXT
from cxml.document.schema import Attribute, Element, Kind
from cxml.document.validate import MAX_FINDINGS, Report, find_places, read_attributes


def slugs(body: str, name: str = "") -> list[str]:
    return [diagnostic.slug for diagnostic in lint(body.encode(), name)]


def test_a_required_attribute_that_is_absent_is_reported() -> None:
    spec = Element("Play", "", (Attribute("file", Kind.URL, "", required=True),))
    report = Report()
    assert read_attributes(etree.fromstring("<Play/>"), spec, report) == {"file": None}
    assert [d.slug for d in report.located({})] == ["attribute-missing"]


@pytest.mark.parametrize("method", ["GET", "get", "Post", " POST "])
def test_a_method_is_read_in_any_case(method: str) -> None:
    parsed = parse_with_diagnostics(f'<Response><Redirect method="{method}">/a</Redirect></Response>'.encode())
    assert parsed.diagnostics == ()
    assert parsed.document is not None
    assert parsed.document.verbs[0].method == method.strip().upper()  # type: ignore[union-attr]


def test_a_place_is_that_of_the_less_than_sign() -> None:
    body = '<?xml version="1.0"?>\r\n<Response>é\t😀<Refer\n  x="1"\n>\n<Sip\n y=""/></Refer></Response>'.encode()
    places = [(d.slug, d.line, d.column) for d in lint(body)]
    assert places == [
        ("stray-text", 2, 1),
        ("unknown-attribute", 2, 14),
        ("unknown-attribute", 5, 1),
        ("target-missing", 5, 1),
    ]


def test_a_place_falls_back_to_the_line_when_the_second_parser_fails() -> None:
    root = etree.fromstring(b"<a>\n<b/></a>")
    assert find_places(b"<a>\n<b/></a>", root) == {root: (1, 1), root[0]: (2, 1)}
    assert find_places(b"<a>\n<b/>", root) == {}
    report = Report()
    report.add(STRAY_TEXT, root[0], "message")
    assert [(d.line, d.column) for d in report.located({})] == [(2, 1)]


def test_a_redirect_to_the_url_of_the_document_is_a_loop() -> None:
    body = "<Response><Redirect>/voice#rt=100</Redirect></Response>"
    assert slugs(body) == []
    assert slugs(body, "file.cxml") == []
    assert slugs(body, "https://example.com/voice") == ["loop"]
    assert slugs(body, "https://example.com/other") == []
    assert slugs('<Response><Pause length="0"/><Redirect/></Response>') == ["loop"]
    assert slugs("<Response><Refer><Sip>sip:a@b.c</Sip></Refer><Redirect/></Response>") == []


def test_only_the_first_verb_that_never_runs_is_reported() -> None:
    assert slugs("<Response><Hangup/><Pause/><Pause/><Redirect/></Response>") == ["unreachable"]


def test_a_refer_with_an_action_ends_the_document_and_one_without_does_not() -> None:
    without = "<Refer><Sip>sip:a@b.c</Sip></Refer>"
    with_action = without.replace("<Refer", "<Refer action='/x'")
    assert slugs(f"<Response>{without}<Pause/></Response>") == []
    assert slugs(f"<Response>{with_action}<Pause/></Response>") == ["unreachable"]


def test_a_pause_does_not_answer_so_reject_may_follow() -> None:
    assert slugs("<Response><Pause/><Reject/></Response>") == []


def test_findings_are_limited_and_the_limit_is_said() -> None:
    found = slugs("<Response>" + "<Foo/>" * 5000 + "</Response>")
    assert found == ["unknown-element"] * MAX_FINDINGS + ["too-many"]


def test_a_fatal_finding_is_not_lost_behind_many_warnings() -> None:
    parsed = parse_with_diagnostics(b"<Response>" + b'<Pause x="1"/>' * 200 + b"<Say/></Response>")
    assert parsed.document is None
    assert [d.slug for d in parsed.diagnostics if d.fatal] == ["not-supported"]
    assert parsed.diagnostics[-1].slug == "too-many"


def test_many_warnings_do_not_shorten_a_document() -> None:
    parsed = parse_with_diagnostics(b"<Response>" + b'<Pause x="1"/>' * 200 + b"</Response>")
    assert parsed.document is not None
    assert len(parsed.document.verbs) == 200


@pytest.mark.parametrize("depth", [20, 200, 300])
def test_deep_nesting_is_refused(depth: int) -> None:
    body = f"<Response><Say>{'<p>' * depth}{'</p>' * depth}</Say></Response>"
    assert "too-deep" in slugs(body)
