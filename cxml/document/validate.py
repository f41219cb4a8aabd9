"""Pure. Checks the elements of a document against the schema and collects what is wrong."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Final
from xml.parsers import expat

from lxml import etree

from cxml.document import diagnostics as rules
from cxml.document import uris
from cxml.document.diagnostics import Diagnostic, Rule, shown, tag
from cxml.document.schema import (
    FOREIGN,
    KNOWN_NOUNS,
    KNOWN_VERBS,
    MAX_DEPTH,
    REFER_SIP,
    SUGGESTIONS,
    VERB_NAMES,
    VERBS,
    Attribute,
    Element,
    Ends,
    Kind,
    Text,
)

MAX_FINDINGS: Final = 50
"""Findings that are kept: nobody reads more, and a hostile document of thousands must not cost seconds."""

_SPACE: Final = " \t\r\n"  # XML 1.0 §2.3
_SECONDS: Final = re.compile(r"[0-9]{1,9}")

Values = Mapping[str, str | None]
"""The attributes of one element by name, checked, with defaults filled in; None is an absent attribute without default."""


class Report:
    """The findings about one document, in the order in which they were made; ``fatal`` if one of them is."""

    def __init__(self) -> None:
        self.fatal = False
        self._dropped = False
        self._findings: list[tuple[Rule, etree._Element, str, str]] = []

    def __bool__(self) -> bool:
        """True if there is any finding."""
        return bool(self._findings)

    @property
    def is_settled(self) -> bool:
        """True if nothing more need be looked for: the document can't run and the list is full."""
        return self.fatal and len(self._findings) >= MAX_FINDINGS

    def add(self, rule: Rule, element: etree._Element, message: str, hint: str = "") -> None:
        """Keep a finding about *element*; of those over :data:`MAX_FINDINGS` only the first fatal one is kept."""
        if len(self._findings) < MAX_FINDINGS or (rule.fatal and not self.fatal):
            self._findings.append((rule, element, message, hint))
        else:
            self._dropped = True
        self.fatal = self.fatal or rule.fatal

    def leave_rest(self) -> None:
        """Say that part of the document was not looked at, which :attr:`is_settled` permits."""
        self._dropped = True

    def located(self, places: Mapping[etree._Element, tuple[int, int]]) -> list[Diagnostic]:
        """Return the findings as diagnostics in document order; *places* maps elements to line and column."""
        found = []
        for rule, element, message, hint in self._findings:
            line, column = places.get(element) or (line_of(element), 1)
            found.append(Diagnostic(rule, message, hint, line, column))
        found.sort(key=lambda finding: (finding.line, finding.column))
        if self._dropped:
            message = f"there is more to say about this document: only {MAX_FINDINGS} findings are listed"
            found.append(Diagnostic(rules.TOO_MANY, message, "", found[-1].line, found[-1].column))
        return found


def line_of(element: etree._Element) -> int:
    """Return the line on which the start tag of *element* ends, which is all that lxml keeps."""
    line: object = element.sourceline
    return line if isinstance(line, int) else 1


def find_places(xml: bytes, root: etree._Element) -> dict[etree._Element, tuple[int, int]]:
    """Map each element below and including *root* to the line and column, from 1, of its ``<``.

    *xml* is the UTF-8 text *root* was parsed from. lxml keeps only the line where a start tag ends, so a second parser
    tells the places: the n-th start tag is the n-th element. Should the two disagree the map is incomplete.
    """
    spots: list[tuple[int, int]] = []
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = lambda _name, _attributes: spots.append((parser.CurrentLineNumber, parser.CurrentColumnNumber + 1))
    try:
        parser.Parse(xml, True)
    except expat.ExpatError:
        return {}
    return dict(zip(root.iter(), spots, strict=False))


def read_attributes(element: etree._Element, spec: Element, report: Report) -> Values:
    """Return the attributes of *element*, checked by *spec*; what is wrong goes to *report*.

    Methods come back in capitals, numbers as plain digits. A bad value comes back as the default.
    """
    values: dict[str, str | None] = {}
    raw = element.attrib
    for attribute in spec.attributes:
        text = raw.get(attribute.name)
        if text is None:
            values[attribute.name] = attribute.default
            if attribute.required:
                message = f"{tag(spec.name)} needs the attribute {attribute.name}"
                report.add(rules.ATTRIBUTE_MISSING, element, message)
        else:
            values[attribute.name] = _read_value(element, attribute, text, report)
    if len(raw) > sum(attribute.name in raw for attribute in spec.attributes):
        _report_unknown_attributes(element, tuple(a.name for a in spec.attributes), report)
    return values


def _read_value(element: etree._Element, attribute: Attribute, text: str, report: Report) -> str | None:
    value = text.strip(_SPACE)
    if attribute.kind is Kind.URL:
        check_url(element, value, f"{attribute.name} of", report)
        return value
    if attribute.kind is Kind.METHOD:
        if value.upper() in {"GET", "POST"}:
            return value.upper()
        _report_value(rules.METHOD, element, attribute, text, "it is GET or POST", report)
    elif attribute.kind is Kind.SECONDS:
        if _SECONDS.fullmatch(value) and attribute.minimum <= int(value) <= attribute.maximum:
            return str(int(value))
        hint = f"it is a whole number of seconds from {attribute.minimum} to {attribute.maximum}"
        _report_value(rules.ATTRIBUTE_VALUE, element, attribute, text, hint, report)
    elif value in attribute.choices:
        return value
    else:
        hint = f"it is {' or '.join(attribute.choices)}"
        _report_value(rules.ATTRIBUTE_VALUE, element, attribute, text, hint, report)
    return attribute.default


def _report_value(rule: Rule, element: etree._Element, attribute: Attribute, text: str, hint: str, report: Report) -> None:
    message = f"{attribute.name}={shown(text)} of {tag(str(element.tag))} is not allowed"
    report.add(rule, element, message, hint)


def check_url(element: etree._Element, url: str, what: str, report: Report) -> None:
    """Report what keeps *url* from being requested; *what* of *element* it is begins the message."""
    problem, hint = uris.url_problem(url)
    if problem:
        report.add(rules.URL, element, f"the {what} {tag(str(element.tag))}, {shown(url)}, {problem}", hint)
    elif " " in url:
        message = f"the {what} {tag(str(element.tag))}, {shown(url)}, has a space in it"
        report.add(rules.SPACE_IN_URL, element, message, "write it as %20")


def _report_unknown_attributes(element: etree._Element, names: tuple[str, ...], report: Report) -> None:
    for key in element.attrib:
        name = str(key)
        if name in names or name.startswith("{"):  # an attribute in a namespace belongs to another tool
            continue
        message = f"{tag(str(element.tag))} has no attribute {shown(name)}; it is ignored"
        report.add(rules.UNKNOWN_ATTRIBUTE, element, message, _did_you_mean(name, names, "{}"))


def check_root(root: etree._Element, name: str, report: Report) -> bool:
    """Check the root element, which must be called *name*; False if there is no point in looking further."""
    found = str(root.tag)
    if found != name:
        if found.startswith("{"):
            _report_namespace(root, report)
        else:
            hint = f"did you mean {tag(name)}?" if found.lower() == name.lower() else ""
            if found.lower() == "html":
                hint = "this is a web page, perhaps an error page: check the URL"
            report.add(rules.ROOT, root, f"the root element is {tag(found)}, not {tag(name)}", hint)
        return False
    if root.attrib:
        _report_unknown_attributes(root, (), report)
    check_text(root, report)
    return True


def check_text(element: etree._Element, report: Report) -> None:
    """Report text in and between the children of *element*, which holds none."""
    if element.text is not None:
        _report_stray(element, element.text, report)
    check_tails(element, report)


def check_tails(element: etree._Element, report: Report) -> None:
    """Report text after the children of *element*."""
    for child in element:
        if child.tail is not None:
            _report_stray(element, child.tail, report)


def _report_stray(element: etree._Element, text: str, report: Report) -> None:
    bare = text.strip(_SPACE)
    if bare:
        message = f"the text {shown(bare)} in {tag(str(element.tag))} is ignored"
        hint = "put the SIP URI into <Sip>" if element.tag == "Refer" else ""
        report.add(rules.STRAY_TEXT, element, message, hint)


def read_text(element: etree._Element, spec: Element) -> str:
    """Return the text of *element* without white space around it; "" if *spec* says that it has none."""
    return "" if spec.text is Text.NONE or element.text is None else element.text.strip()


def check_verb(element: etree._Element, report: Report) -> Element | None:
    """Return the schema of the verb *element*, or None after reporting why it is not one that runs."""
    name = str(element.tag)
    spec = VERBS.get(name)
    if spec is not None:
        return spec
    if name in KNOWN_VERBS:
        known = KNOWN_VERBS[name]
        hint = f"it {known.about}; this version runs {', '.join(tag(verb) for verb in VERBS)}"
        report.add(rules.NOT_SUPPORTED, element, f"{tag(name)} is not supported yet", hint)
        _report_inner_refers(element, report)
    elif name == REFER_SIP.name:
        report.add(rules.NESTING, element, f"{tag(name)} is no verb", "put it into <Refer>")
    elif name in KNOWN_NOUNS:
        owners = " or ".join(tag(verb) for verb in KNOWN_NOUNS[name])
        message = f"{tag(name)} belongs in {owners}, which is not supported yet"
        report.add(rules.NOT_SUPPORTED, element, message)
    else:
        report_unknown(element, report)
    return None


def report_unknown(element: etree._Element, report: Report) -> None:
    """Report an element that is no part of cXML."""
    name = str(element.tag)
    if name.startswith("{"):
        _report_namespace(element, report)
    elif name in FOREIGN:
        hint = "it is Twilio's; write the document without it"
        report.add(rules.NOT_CXML, element, f"{tag(name)} is not part of cXML", hint)
    else:
        hint = _did_you_mean(name, SUGGESTIONS, "<{}>")
        report.add(rules.UNKNOWN_ELEMENT, element, f"{tag(name)} is not known", hint)


def _report_namespace(element: etree._Element, report: Report) -> None:
    name = etree.QName(element)
    message = f"{tag(name.localname)} is in the namespace {shown(name.namespace or '')}; cXML has none"
    report.add(rules.NAMESPACE, element, message, "remove xmlns and the prefix")


def _report_inner_refers(element: etree._Element, report: Report) -> None:
    for inner in element.iter("Refer"):
        if report.is_settled:
            report.leave_rest()
            return
        message = f"<Refer> can't stand in {tag(str(element.tag))}"
        report.add(rules.REFER_NESTING, inner, message, "put it directly into <Response>")


def check_children(element: etree._Element, spec: Element, report: Report) -> Iterator[tuple[etree._Element, Element]]:
    """Yield the nouns of the verb or noun *element* with their schemas; report whatever else stands in it."""
    rule = rules.REFER_NESTING if spec.name == "Refer" else rules.NESTING
    counts = {child.element.name: 0 for child in spec.children}
    for inner in element:
        name = str(inner.tag)
        child = next((child for child in spec.children if child.element.name == name), None)
        if child is None:
            _report_misplaced(element, inner, rule, report)
            continue
        counts[name] += 1
        if counts[name] > child.maximum:
            message = f"{tag(spec.name)} has more than {child.maximum} {tag(name)}"
            report.add(rule, inner, message, f"write one {tag(spec.name)} for each of them")
        else:
            yield inner, child.element


def _report_misplaced(element: etree._Element, inner: etree._Element, rule: Rule, report: Report) -> None:
    name, parent = str(inner.tag), str(element.tag)
    if name == "Refer":
        message = f"<Refer> can't stand in {tag(parent)}"
        report.add(rules.REFER_NESTING, inner, message, "put it directly into <Response>")
    elif name in VERB_NAMES:
        report.add(rule, inner, f"the verb {tag(name)} can't stand in {tag(parent)}", "put it after it")
    elif name == REFER_SIP.name or name in KNOWN_NOUNS:
        hint = "it holds one <Sip>" if parent == "Refer" else "it holds no elements"
        report.add(rule, inner, f"{tag(name)} can't stand in {tag(parent)}", hint)
    else:
        report_unknown(inner, report)


def check_target(refer: etree._Element, sip: etree._Element | None, target: str, report: Report) -> None:
    """Report what is wrong with the target of a ``<Refer>``: none of it is fatal (``<Refer>`` ends as ``failed``)."""
    if sip is None and len(refer):
        return  # whatever stands there in its place has been reported
    if sip is None:
        report.add(rules.TARGET_MISSING, refer, "<Refer> has no <Sip>", "the transfer will end as failed")
    elif not target:
        report.add(rules.TARGET_MISSING, sip, "<Sip> is empty", "the transfer will end as failed")
    elif uris.is_tel(target):
        hint = "no REFER is sent, and the transfer will end as failed; write sip:number@host"
        report.add(rules.TEL_TARGET, sip, f"{shown(target)} is a tel: URI", hint)
    else:
        problem, hint = uris.target_problem(target)
        if problem:
            report.add(rules.TARGET, sip, f"{shown(target)} {problem}", hint)


def check_depth(root: etree._Element, report: Report) -> None:
    """Report the first element that is nested deeper than :data:`~cxml.document.schema.MAX_DEPTH`."""
    depth = 0
    for event, element in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > MAX_DEPTH:
            report.add(rules.TOO_DEEP, element, f"more than {MAX_DEPTH} elements are nested in each other")
            return


def ends_document(spec: Element, values: Values) -> bool:
    """True if no verb after this one runs."""
    return spec.ends is Ends.ALWAYS or (spec.ends is Ends.WITH_ACTION and values.get("action") is not None)


def _did_you_mean(name: str, names: tuple[str, ...], form: str) -> str:
    """Return ``did you mean …?`` for the one of *names* that is most like *name*, or "" if none is."""
    short = name[:40]
    same = [other for other in names if other.lower() == short.lower()]
    best = same or difflib.get_close_matches(short, names, n=1, cutoff=0.7)
    return f"did you mean {form.format(best[0])}?" if best else ""
