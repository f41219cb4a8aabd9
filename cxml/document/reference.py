"""Pure. Writes ``docs/reference/verbs.md`` from the schema and the rules."""

from collections.abc import Iterator

from cxml.document.diagnostics import RULES
from cxml.document.schema import (
    FOREIGN,
    KNOWN_VERBS,
    MAX_BYTES,
    MAX_DEPTH,
    VERBS,
    Attribute,
    Element,
    Kind,
    Text,
)

_INTRODUCTION = f"""\
# Verbs

<!-- Generated from cxml/document/schema.py; edit the table there. -->

A document is one `<Response>` element with verbs in it; they run in their order. Names of elements and attributes are
case-sensitive, methods are not. A document has at most {MAX_BYTES} bytes and {MAX_DEPTH} levels of elements.

UTF-8 is read, and by declaration or byte order mark UTF-16, ISO-8859-1 and Windows-1252. Comments, processing instructions and
CDATA are allowed; document types, entities and namespaces are not. An attribute in a namespace (`xsi:…`) is passed over.

A document with an error marked *fatal* below does not run at all. Everything else runs: warnings are advice, and the errors that
are not fatal have a defined outcome.
"""


def verbs_markdown() -> str:
    """Return the reference of the dialect as Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    for verb in VERBS.values():
        yield from _element(verb, "##")
        for child in verb.children:
            yield from _element(child.element, "###", parent=verb)
    yield "## Not supported yet\n"
    yield "These verbs of cXML are known by name. A document that uses one is refused with error 13750.\n"
    yield "| Verb | What it does | Elements in it |"
    yield "|---|---|---|"
    for known in KNOWN_VERBS.values():
        yield f"| `<{known.name}>` | {known.about} | {', '.join(f'`<{noun}>`' for noun in known.nouns) or '–'} |"
    yield ""
    yield f"Twilio's own, not part of cXML: {', '.join(f'`<{name}>`' for name in sorted(FOREIGN))}.\n"
    yield "## Diagnostics\n"
    yield "`cxmld lint` prints `file:line:column: level code message`. The codes are the vendors': 12200 is Twilio's, the others are"
    yield "SignalWire's.\n"
    yield "| Name | Code | Level | Meaning |"
    yield "|---|---|---|---|"
    for rule in RULES:
        level = f"{rule.level}, fatal" if rule.fatal else rule.level
        yield f"| `{rule.slug}` | {rule.code} | {level} | {rule.about} |"
    yield ""


def _element(element: Element, heading: str, parent: Element | None = None) -> Iterator[str]:
    inside = f" in `<{parent.name}>`" if parent else ""
    yield f"{heading} `<{element.name}>`{inside}\n"
    yield f"{element.about}\n"
    if element.attributes:
        yield "| Attribute | Value | Default | Meaning | Since |"
        yield "|---|---|---|---|---|"
        for attribute in element.attributes:
            yield _attribute(attribute)
        yield ""
    else:
        yield "Attributes: none.\n"
    text = "none" if element.text is Text.NONE else f"a {element.text}"
    nouns = ", ".join(f"`<{child.element.name}>`" for child in element.children) or "none"
    steering = "" if parent else f" Last verb of its document: {element.ends}. Answers the call: {_yes(element.answers)}."
    yield f"Text: {text}. Elements in it: {nouns}.{steering} Since {element.since}.\n"
    for note in element.notes:
        yield f"- {note}"
    if element.notes:
        yield ""


def _attribute(attribute: Attribute) -> str:
    value: str = attribute.kind
    if attribute.kind is Kind.CHOICE:
        value = ", ".join(f"`{choice}`" for choice in attribute.choices)
    elif attribute.kind is Kind.SECONDS:
        value = f"{attribute.kind}, {attribute.minimum} to {attribute.maximum}"
    default = "required" if attribute.required else "–" if attribute.default is None else f"`{attribute.default}`"
    return f"| `{attribute.name}` | {value} | {default} | {attribute.about} | {attribute.since} |"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
