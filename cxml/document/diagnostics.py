"""Pure. What can be wrong with a document: the rules, one finding, and the exception.

The numbers are the vendors' error codes, so that whoever knows those finds the same meaning here: SignalWire's table for
11100, 11750, 12100, 13215, 13221, 13750 and 32110, Twilio's for 12200 (a document that is XML but breaks the schema).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cxml.errors import CxmlError

SHOWN_CHARS: Final = 60
"""Text of the document is quoted in a message up to this many characters: a log line stays a line."""


class Level(StrEnum):
    """How bad a finding is. ``cxmld lint`` fails on errors only."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the dialect: its name, the vendors' code, its level, and whether a document that breaks it can't run."""

    slug: str
    code: int
    level: Level
    fatal: bool
    about: str


def _fatal(slug: str, code: int, about: str) -> Rule:
    return Rule(slug, code, Level.ERROR, fatal=True, about=about)


def _error(slug: str, code: int, about: str) -> Rule:
    return Rule(slug, code, Level.ERROR, fatal=False, about=about)


def _warning(slug: str, code: int, about: str) -> Rule:
    return Rule(slug, code, Level.WARNING, fatal=False, about=about)


TOO_LARGE: Final = _fatal("too-large", 11750, "The document is larger than 64 kB.")
EMPTY: Final = _fatal("empty", 12100, "The document has no content.")
NOT_WELL_FORMED: Final = _fatal("not-well-formed", 12100, "The document is not well-formed XML.")
ENCODING: Final = _fatal("encoding", 12100, "The bytes are not text in the declared encoding, or the encoding is not supported.")
DOCTYPE: Final = _fatal("doctype", 12100, "A document type declaration; entities and DTDs are not read.")
ROOT: Final = _fatal("root", 12100, "The root element is not `<Response>`.")
NAMESPACE: Final = _fatal("namespace", 12100, "An element in an XML namespace; cXML's elements are in none.")
TOO_DEEP: Final = _fatal("too-deep", 12100, "Elements are nested deeper than any verb allows.")
UNKNOWN_ELEMENT: Final = _fatal("unknown-element", 12100, "An element that no dialect knows; names are case-sensitive.")
NOT_SUPPORTED: Final = _fatal("not-supported", 13750, "A verb or noun of cXML that this version does not run yet.")
NOT_CXML: Final = _fatal("not-cxml", 13750, "An element of another vendor's dialect that is not part of cXML.")
REFER_NESTING: Final = _fatal("refer-nesting", 13215, "Something other than one `<Sip>` in `<Refer>`, or `<Refer>` inside another verb.")
NESTING: Final = _fatal("nesting", 12200, "An element where it may not stand.")
METHOD: Final = _fatal("method", 13221, "`method` is neither GET nor POST.")
ATTRIBUTE_VALUE: Final = _fatal("attribute-value", 12200, "A known attribute with a value that it can't have.")
ATTRIBUTE_MISSING: Final = _fatal("attribute-missing", 12200, "A required attribute is absent.")
URL: Final = _fatal("url", 11100, "A URL that can't be requested.")
TARGET_MISSING: Final = _error("target-missing", 32110, "`<Refer>` without a SIP URI. It runs, and the transfer ends as `failed`.")
TARGET: Final = _error("target", 32110, "`<Sip>` holds no valid SIP URI. It runs, and the transfer ends as `failed`.")
TEL_TARGET: Final = _error("tel-target", 32110, "A `tel:` URI in `<Sip>`. It runs, no REFER is sent, and the transfer ends as `failed`.")
UNKNOWN_ATTRIBUTE: Final = _warning("unknown-attribute", 12200, "An attribute that the element does not have; it is ignored.")
STRAY_TEXT: Final = _warning("stray-text", 12200, "Text where none is read; it is ignored.")
SPACE_IN_URL: Final = _warning("space-in-url", 11100, "A URL with a space in it.")
UNREACHABLE: Final = _warning("unreachable", 12200, "A verb that never runs.")
LATE_REJECT: Final = _warning("late-reject", 12200, "`<Reject>` after a verb that answered the call: it hangs up instead.")
LOOP: Final = _warning("loop", 12200, "The document asks for itself again.")
LEADING_SPACE: Final = _warning("leading-space", 12100, "White space before the XML declaration; vendors refuse that document.")
TOO_MANY: Final = _warning("too-many", 12200, "There are more findings than are listed.")

RULES: Final[tuple[Rule, ...]] = (
    TOO_LARGE, EMPTY, NOT_WELL_FORMED, ENCODING, DOCTYPE, ROOT, NAMESPACE, TOO_DEEP, UNKNOWN_ELEMENT, NOT_SUPPORTED,
    NOT_CXML, REFER_NESTING, NESTING, METHOD, ATTRIBUTE_VALUE, ATTRIBUTE_MISSING, URL, TARGET_MISSING, TARGET, TEL_TARGET,
    UNKNOWN_ATTRIBUTE, STRAY_TEXT, SPACE_IN_URL, UNREACHABLE, LATE_REJECT, LOOP, LEADING_SPACE, TOO_MANY,
)  # fmt: skip
"""Every rule, in the order of the reference."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: its rule, what exactly is wrong, how to mend it ("" if there is nothing to say), and where.

    ``line`` and ``column`` count from 1 and point at the ``<`` of the element concerned, or where the XML parser stopped.
    """

    rule: Rule
    message: str
    hint: str
    line: int
    column: int

    @property
    def level(self) -> Level:
        """Error or warning."""
        return self.rule.level

    @property
    def code(self) -> int:
        """The vendors' numeric code."""
        return self.rule.code

    @property
    def slug(self) -> str:
        """The rule's name."""
        return self.rule.slug

    @property
    def fatal(self) -> bool:
        """True if a document with this finding can't run."""
        return self.rule.fatal

    def __str__(self) -> str:
        """Return ``line:column: level code message`` and, after a semicolon, the hint; always one line."""
        text = f"{self.line}:{self.column}: {self.level} {self.code} {self.message}"
        return f"{text}; {self.hint}" if self.hint else text

    def format(self, name: str) -> str:
        """Return the finding as a compiler prints it: ``name:line:column: level code message; hint``."""
        return f"{name}:{self}"


class DocumentError(CxmlError):
    """A document that can't run.

    ``diagnostics`` holds every finding in document order (at least one is fatal), ``first`` the first fatal one and
    ``code`` its vendors' error code.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        self.first: Diagnostic = next(d for d in self.diagnostics if d.fatal)
        self.code: int = self.first.code
        super().__init__(str(self.first))


def shown(text: str) -> str:
    """Return *text* quoted for a message: one line, nothing unprintable, at most :data:`SHOWN_CHARS` characters of it."""
    cut = text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
    return repr(cut)


def tag(name: str) -> str:
    """Return an element's name as ``<name>``, shortened and with nothing unprintable."""
    return f"<{shown(name)[1:-1]}>"
