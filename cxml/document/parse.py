"""Pure. Bytes in, a :class:`~cxml.document.nodes.Document` or diagnostics out.

Nothing but :class:`~cxml.document.diagnostics.DocumentError` leaves this module, whatever the bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urldefrag, urljoin

from lxml import etree

from cxml.document import diagnostics as rules
from cxml.document import validate
from cxml.document.diagnostics import Diagnostic, DocumentError, tag
from cxml.document.nodes import Document, Hangup, Pause, Place, Redirect, Refer, Reject, Verb
from cxml.document.schema import ROOT, Element, Text
from cxml.document.source import LEADING_SPACE_PLACE, parse_xml
from cxml.document.validate import Report, Values
from sipua.remembered import remembered

MAX_KEPT: Final = 128
"""Documents that are kept, the least used dropped first: most applications answer with a handful, again and again."""

MAX_KEPT_BYTES: Final = 2048
"""Longer bodies are parsed anew each time, so that what is kept has a bound: some megabytes of verbs at the very worst."""

_Builder = Callable[[str, Values, Place], Verb]


def _value(values: Values, name: str) -> str:
    return values[name] or ""


_BUILDERS: Final[dict[str, _Builder]] = {
    "Refer": lambda text, values, place: Refer(text, values["action"], _value(values, "method"), place),
    "Hangup": lambda _text, _values, place: Hangup(place),
    "Pause": lambda _text, values, place: Pause(int(_value(values, "length")), place),
    "Redirect": lambda text, values, place: Redirect(text, _value(values, "method"), place),
    "Reject": lambda _text, values, place: Reject(_value(values, "reason"), place),
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What became of a document: ``document`` is None exactly if one of ``diagnostics`` is fatal."""

    document: Document | None
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """A verb as it was read: its element, its schema, its text (of ``<Refer>``: the target) and its attributes."""

    element: etree._Element
    spec: Element
    text: str
    values: Values


def parse(body: bytes) -> Document:
    """Return the document in *body* (what the web server sent, at most 64 kB).

    Raises :class:`DocumentError` if and only if a diagnostic is fatal. The same bytes may give the same object: documents don't change.
    """
    return _known(body) if len(body) <= MAX_KEPT_BYTES else _parse(body)


def _parse(body: bytes) -> Document:
    parsed = parse_with_diagnostics(body)
    if parsed.document is None:
        raise DocumentError(parsed.diagnostics)
    return parsed.document


_known = remembered(MAX_KEPT)(_parse)  # keeps no errors


def lint(body: bytes, name: str = "") -> list[Diagnostic]:
    """Return every finding about the document in *body*, in document order.

    *name* is the file or URL it comes from; a URL also reveals a ``<Redirect>`` to itself.
    """
    base = name if name.startswith(("http://", "https://")) else ""
    return list(parse_with_diagnostics(body, base).diagnostics)


def parse_with_diagnostics(body: bytes, url: str = "") -> Parsed:
    """Parse *body*, which *url* ("" if unknown) answered with, and say all there is to say about it. Never raises.

    The places of the verbs have the true line and column if there is any diagnostic; otherwise the line on which the start
    tag ends, and column 0, for a second pass over every good document would cost more than the first.
    """
    source = parse_xml(body)
    if isinstance(source, Diagnostic):
        return Parsed(None, (source,))
    report = Report()
    read = _read_verbs(source.root, report)
    _check_flow(read, url, report)
    early = [Diagnostic(rules.LEADING_SPACE, *LEADING_SPACE_PLACE)] if source.leading_space else []
    places = validate.find_places(source.xml, source.root) if report else {}
    diagnostics = (*early, *report.located(places))
    if report.fatal:
        return Parsed(None, diagnostics)
    verbs = tuple(_build(verb, places.get(verb.element)) for verb in read)
    return Parsed(Document(verbs), diagnostics)


def _build(verb: _Read, spot: tuple[int, int] | None) -> Verb:
    line, column = spot or (validate.line_of(verb.element), 0)
    return _BUILDERS[verb.spec.name](verb.text, verb.values, Place(line, column))


def _read_verbs(root: etree._Element, report: Report) -> list[_Read]:
    """Read the verbs that can run; everything else is reported."""
    read: list[_Read] = []
    if not validate.check_root(root, ROOT, report):
        return read
    for element in root:
        if report.is_settled:
            report.leave_rest()
            break
        spec = validate.check_verb(element, report)
        if spec is not None:
            read.append(_read_verb(element, spec, report))
    if report.fatal:
        validate.check_depth(root, report)
    return read


def _read_verb(element: etree._Element, spec: Element, report: Report) -> _Read:
    values = validate.read_attributes(element, spec, report)
    text = validate.read_text(element, spec)
    if spec.text is Text.URL:
        validate.check_url(element, text, "URL of", report)
        validate.check_tails(element, report)
    else:
        validate.check_text(element, report)
    sip = None
    for inner, noun in validate.check_children(element, spec, report):
        validate.read_attributes(inner, noun, report)
        text = validate.read_text(inner, noun)
        validate.check_tails(inner, report)
        for _ in validate.check_children(inner, noun, report):
            pass
        sip = inner
    if spec.children:
        validate.check_target(element, sip, text, report)
    return _Read(element, spec, text, values)


def _check_flow(read: list[_Read], url: str, report: Report) -> None:
    """Report verbs that never run, a ``<Reject>`` that comes too late, and a document that asks for itself."""
    answered_by = last = None
    waited = False
    for verb in read:
        name = verb.spec.name
        if last is not None:
            same = name == "Refer" and last.spec is verb.spec and (last.text, last.values) == (verb.text, verb.values)
            because = " with an action" if last.spec.name == "Refer" else ""
            hint = "it repeats the one before: add it once; an SDK's response.refer() has added it already" if same else ""
            message = f"{tag(name)} never runs: it follows {tag(last.spec.name)}{because}"
            report.add(rules.UNREACHABLE, verb.element, message, hint)
            return
        if name == "Reject" and answered_by is not None:
            message = f"<Reject> comes after {tag(answered_by)}, which answers the call: it hangs up"
            report.add(rules.LATE_REJECT, verb.element, message, "write <Hangup>, or put <Reject> first")
        _check_loop(verb, url, waited=waited, report=report)
        waited = waited or (verb.spec.waits and verb.values.get("length") != "0")
        # a <Refer> without target ends before it answers
        answered_by = answered_by or (name if verb.spec.answers and (verb.text or not verb.spec.children) else None)
        last = verb if validate.ends_document(verb.spec, verb.values) else None


def _check_loop(verb: _Read, url: str, *, waited: bool, report: Report) -> None:
    if verb.spec.text is Text.URL and not waited:
        itself = bool(url) and urldefrag(_join(url, verb.text)).url == urldefrag(url).url
        if itself or not verb.text:
            message = f"{tag(verb.spec.name)} asks for this same document at once"
            report.add(rules.LOOP, verb.element, message, "name another URL, or put a <Pause> before it")
    elif verb.values.get("action") == "":
        message = f"the empty action of {tag(verb.spec.name)} asks for this same document again"
        report.add(rules.LOOP, verb.element, message, "name the URL that takes the outcome, or leave action out")


def _join(base: str, url: str) -> str:
    try:
        return urljoin(base, url)
    except ValueError:  # a bad IPv6 host; reported as a bad URL already
        return url
