"""Pure. Untrusted bytes to an XML tree: size, encoding, document type and well-formedness.

lxml runs with entities, DTDs, the network and huge trees off. A document type is refused before lxml sees it, because a
document type is the only place where entities can be declared.
"""

import codecs
import re
from dataclasses import dataclass
from typing import Final

from lxml import etree

from cxml.document import diagnostics as rules
from cxml.document.diagnostics import Diagnostic, Rule, shown
from cxml.document.schema import MAX_BYTES

ENCODINGS: Final = frozenset({"utf-8", "utf-16", "utf-16-le", "utf-16-be", "iso8859-1", "cp1252", "ascii"})
"""Encodings that are read, by Python's names; XML 1.0 §4.3.3 asks for the UTFs, the others are what old servers send."""

LEADING_SPACE_PLACE: Final = (
    "there is white space before the XML declaration; other platforms refuse such a document",
    "let the document begin with <?xml",
    1,
    1,
)
"""Message, hint, line and column of the leading-space finding."""

_SPACE: Final = b" \t\r\n"
_DECLARATION: Final = re.compile(rb"<\?xml(?=[ \t\r\n])[^>]{0,200}\?>")
_SPACED_DECLARATION: Final = re.compile(rb"[ \t\r\n]+" + _DECLARATION.pattern)
_SPACES: Final = re.compile(rb"[ \t\r\n]*")
_DECLARED_ENCODING: Final = re.compile(rb"""[ \t\r\n]encoding[ \t\r\n]*=[ \t\r\n]*["']([A-Za-z0-9._-]{1,40})["']""")
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SUFFIX: Final = re.compile(r", line \d+, column \d+\Z")
_ENTITIES: Final = "only &amp; &lt; &gt; &quot; &apos; and numbers such as &#160; are known"
_SYNTAX: Final[dict[str, tuple[str, str]]] = {
    # libxml2's error names, with a message and a hint; "" keeps libxml2's own words, which hold names
    "ERR_ENTITYREF_SEMICOL_MISSING": ("an & that begins no entity", "write & as &amp;, also in URLs"),
    "ERR_NAME_REQUIRED": ("an & or < that begins nothing", "write & as &amp; and < as &lt;"),
    "ERR_UNDECLARED_ENTITY": ("", _ENTITIES),
    "WAR_UNDECLARED_ENTITY": ("", _ENTITIES),
    "ERR_INVALID_CHAR": ("a character that XML does not allow", "remove it; XML has no control characters"),
    "ERR_LT_IN_ATTRIBUTE": ("a < in an attribute", "write < as &lt;"),
    "ERR_ATTRIBUTE_NOT_STARTED": ("an attribute's value is not in quotes", 'write name="value"'),
    "ERR_ATTRIBUTE_NOT_FINISHED": ("the closing quote of an attribute is missing", ""),
    "ERR_ATTRIBUTE_WITHOUT_VALUE": ("an attribute has no value", 'write name="value"'),
    "ERR_TAG_NAME_MISMATCH": ("", "start and end tags must match; names are case-sensitive"),
    "ERR_TAG_NOT_FINISHED": ("the document ends too early", "an end tag is missing, or the document was cut off"),
    "ERR_DOCUMENT_END": ("something follows the root element", "put everything into one <Response>"),
    "ERR_DOCUMENT_EMPTY": ("this is not XML", "the document must begin with <Response> or <?xml"),
    "NS_ERR_UNDEFINED_NAMESPACE": ("", "remove the prefix"),
}
_ENCODING_ERRORS: Final = frozenset({"ERR_INVALID_ENCODING", "I18N_CONV_FAILED"})


@dataclass(frozen=True, slots=True)
class Source:
    """A well-formed document: its root, the UTF-8 text it was read from, and whether space stood before ``<?xml``."""

    root: etree._Element
    xml: bytes
    leading_space: bool


def parse_xml(body: bytes) -> Source | Diagnostic:
    """Return the tree of *body*, or the one fatal diagnostic that says why there is none. Never raises."""
    if len(body) > MAX_BYTES:
        return _at_start(rules.TOO_LARGE, f"the document has {len(body)} bytes, more than {MAX_BYTES}")
    text = _to_utf8(body)
    if isinstance(text, Diagnostic):
        return text
    if not text.strip(_SPACE):
        return _at_start(rules.EMPTY, "the document is empty", "a document that does nothing is <Response/>")
    if b"<!DOCTYPE" in text and (refused := _find_doctype(text)) is not None:
        return refused
    spaced = text[0] in _SPACE and _SPACED_DECLARATION.match(text) is not None
    if spaced:
        # Blanked, not cut, so that lines and columns stay those of the file.
        text = _DECLARATION.sub(lambda match: re.sub(rb"[^\r\n]", b" ", match[0]), text, count=1)
    # A new one each time: a parser is not to be shared by threads and keeps the errors of its last document.
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
        encoding="utf-8",
    )
    try:
        root = etree.fromstring(text, parser)
    except etree.XMLSyntaxError as error:
        return _syntax_error(error, parser)
    except (etree.LxmlError, ValueError, AssertionError) as error:
        return _at_start(rules.NOT_WELL_FORMED, f"the document is not XML: {shown(str(error))}")
    return Source(root, text, spaced)


def _to_utf8(body: bytes) -> bytes | Diagnostic:
    """Return *body* in UTF-8 without byte order mark: by the mark, else by the declaration, else it is UTF-8 already."""
    bom = next(((mark, name) for mark, name in _BOMS if body.startswith(mark)), None)
    if bom is not None:
        body, encoding = body[len(bom[0]) :], bom[1]
    else:
        encoding = _declared_encoding(body)
        if encoding in {"utf-8", "ascii"}:  # most documents; bad bytes are found by the XML parser, with their place
            return body
        if encoding not in ENCODINGS:
            names = "UTF-8, UTF-16, ISO-8859-1 and Windows-1252"
            return _at_start(rules.ENCODING, f"the encoding {shown(encoding)} is not supported", f"{names} are read")
        if encoding.startswith("utf-16"):
            return _at_start(rules.ENCODING, "the document declares UTF-16 but has no byte order mark", "send UTF-8")
    if encoding == "utf-8":
        return body
    try:
        return body.decode(encoding).encode("utf-8")
    except UnicodeError as error:
        return _at_start(rules.ENCODING, f"the bytes are not {encoding}: {shown(str(error))}", "send UTF-8")


def _declared_encoding(body: bytes) -> str:
    """Return Python's name of the encoding that the XML declaration of *body* names, ``utf-8`` if it names none."""
    declaration = _DECLARATION.match(body.lstrip(_SPACE))
    declared = declaration and _DECLARED_ENCODING.search(declaration[0])
    if not declared:
        return "utf-8"
    name = declared[1].decode("ascii")
    try:
        found = codecs.lookup(name).name
    except LookupError:
        return name
    return found if found in ENCODINGS else name


def _find_doctype(text: bytes) -> Diagnostic | None:
    """Refuse a document type, which can only stand before the root; the word may stand in a comment or in CDATA."""
    at = 0
    while True:
        skipped = _SPACES.match(text, at)
        at = skipped.end() if skipped else at
        if text.startswith(b"<?", at):
            end = text.find(b"?>", at) + 2
        elif text.startswith(b"<!--", at):
            end = text.find(b"-->", at + 4) + 3
        else:
            break
        if end <= at:
            return None
        at = end
    if not text.startswith(b"<!DOCTYPE", at):
        return None
    before = text[:at].decode("utf-8", "replace")
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    is_page = text[at + 9 : at + 40].strip(_SPACE)[:4].lower() == b"html"
    hint = "this is a web page, perhaps an error page: check the URL" if is_page else "remove it"
    return Diagnostic(rules.DOCTYPE, "a document type declaration is not allowed", hint, line, column)


def _syntax_error(error: etree.XMLSyntaxError, parser: etree.XMLParser) -> Diagnostic:
    # The first entry is the cause, later ones follow from it; the exception itself tells the last.
    entry = next(iter(parser.error_log), None)
    if entry is None:
        line, column = error.position
        message, kind = _SUFFIX.sub("", error.msg or ""), ""
    else:
        line, column, message, kind = entry.line, entry.column, entry.message, entry.type_name
    place = max(line, 1), max(column, 1)
    if kind == "ERR_RESOURCE_LIMIT" or message.startswith("Excessive depth"):
        return Diagnostic(rules.TOO_DEEP, "elements are nested too deep for any verb", "", *place)
    if kind in _ENCODING_ERRORS:
        return Diagnostic(rules.ENCODING, "a byte here is not UTF-8", "send UTF-8 or declare the encoding", *place)
    text, hint = _SYNTAX.get(kind, ("", ""))
    text = text or "".join(c if c.isprintable() else " " for c in message).strip()[:200]
    return Diagnostic(rules.NOT_WELL_FORMED, f"not well-formed: {text}", hint, *place)


def _at_start(rule: Rule, message: str, hint: str = "") -> Diagnostic:
    return Diagnostic(rule, message, hint, 1, 1)
