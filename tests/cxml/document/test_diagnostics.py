import pytest

from cxml.document import DocumentError, Level, parse_with_diagnostics
from cxml.document.diagnostics import LOOP, NOT_SUPPORTED, Diagnostic, shown, tag
from cxml.errors import CxmlError

FATAL = Diagnostic(NOT_SUPPORTED, "<Say> is not supported yet", "", 3, 5)
ADVICE = Diagnostic(LOOP, "it asks for itself", "name another", 2, 1)


def test_a_diagnostic_is_printed_as_a_compiler_prints_it() -> None:
    assert FATAL.format("app.cxml") == "app.cxml:3:5: error 13750 <Say> is not supported yet"
    assert str(ADVICE) == "2:1: warning 12200 it asks for itself; name another"


def test_a_diagnostic_has_the_properties_of_its_rule() -> None:
    assert (FATAL.level, FATAL.code, FATAL.slug, FATAL.fatal) == (Level.ERROR, 13750, "not-supported", True)
    assert (ADVICE.level, ADVICE.code, ADVICE.slug, ADVICE.fatal) == (Level.WARNING, 12200, "loop", False)


def test_a_document_error_has_the_code_of_its_first_fatal_diagnostic() -> None:
    error = DocumentError([ADVICE, FATAL])
    assert isinstance(error, CxmlError)
    assert (error.code, error.first, error.diagnostics) == (13750, FATAL, (ADVICE, FATAL))
    assert str(error) == "3:5: error 13750 <Say> is not supported yet"


@pytest.mark.parametrize("text", ["x" * 1000, "a\r\nb", "\x1b[31m", "\u202e", "\ud800", "'\"`"])
def test_quoted_text_is_short_and_printable(text: str) -> None:
    assert len(shown(text)) < 130
    assert shown(text).isprintable()
    assert tag(text).isprintable()


def test_a_message_never_breaks_a_log_line() -> None:
    body = '<Response><Refer action="a&#10;b&#127;"><Sip>x&#10;y</Sip></Refer>&#10;\u202e</Response>'.encode()
    diagnostics = parse_with_diagnostics(body).diagnostics
    assert len(diagnostics) == 3
    assert all(str(diagnostic).isprintable() for diagnostic in diagnostics)
