"""Pure. The dialect in one table: every element, its attributes, children and text, and how it steers the call.

The parser, the validator and ``docs/reference/verbs.md`` read this table and hold no list of names of their own. A verb is
added by moving its entry from :data:`KNOWN_VERBS` to :data:`VERBS` and naming its node in ``parse.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_BYTES: Final = 65_536
"""Largest document: the vendors' 64 kB."""

MAX_DEPTH: Final = 16
"""Deepest nesting that is looked into; the dialect's deepest construct (marked-up speech in ``<Gather>``) needs 8."""

MAX_PAUSE_S: Final = 86_400
"""Longest ``<Pause>``: a day, the longest call that a vendor lets stand."""

ROOT: Final = "Response"
"""Name of the root element."""


class Kind(StrEnum):
    """What an attribute's value is."""

    URL = "URL"
    METHOD = "HTTP method"
    SECONDS = "whole seconds"
    CHOICE = "word"


class Text(StrEnum):
    """What an element's text is."""

    NONE = "none"
    SIP_URI = "SIP URI"
    URL = "URL"


class Ends(StrEnum):
    """When a verb is the last one of its document that runs."""

    NEVER = "no"
    ALWAYS = "yes"
    WITH_ACTION = "with `action`"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute. ``default`` is None when absence has a meaning of its own; ``choices`` belong to ``Kind.CHOICE``."""

    name: str
    kind: Kind
    about: str
    default: str | None = None
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 0
    since: str = "0.1"


@dataclass(frozen=True, slots=True)
class Child:
    """A noun that may stand in a verb, at most ``maximum`` times."""

    element: "Element"
    maximum: int = 1


@dataclass(frozen=True, slots=True)
class Element:
    """A supported verb or noun.

    ``answers``: running it answers the call. ``waits``: running it takes time, so a document that asks for itself after it
    does not spin.
    """

    name: str
    about: str
    attributes: tuple[Attribute, ...] = ()
    children: tuple[Child, ...] = ()
    text: Text = Text.NONE
    ends: Ends = Ends.NEVER
    answers: bool = False
    waits: bool = False
    since: str = "0.1"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """A verb of cXML that is known by name only: using it is an error that says so. ``nouns`` are what it contains."""

    name: str
    about: str
    nouns: tuple[str, ...] = ()


def _by_name(*elements: Element) -> Mapping[str, Element]:
    return {element.name: element for element in elements}


_METHOD_NOTE = "in capitals or not"

REFER_SIP: Final = Element(
    name="Sip",
    about="The SIP URI that the peer is asked to call.",
    text=Text.SIP_URI,
    notes=(
        "The URI goes into Refer-To as it stands; white space around it is removed.",
        "The scheme is `sip` or `sips`. For `tel:` no REFER is sent: no peer can be asked to call it. Write `sip:number@host`.",
        "Of URI headers `Replaces`, `User-to-User` and `X-…` are allowed (`sip:bob@example.com?X-Case=17`); write `&` as `&amp;`.",
        "A password in it is refused: the peer would be told it.",
    ),
)

VERBS: Final[Mapping[str, Element]] = _by_name(
    Element(
        name="Refer",
        about="Transfers the call by SIP REFER and waits for the outcome; the call is answered first, but for an empty target.",
        attributes=(
            Attribute(
                "action",
                Kind.URL,
                "Gets the outcome; the document it answers with replaces the rest of this one. Absolute or relative to this "
                "document's URL. Absent: the next verb runs. Empty: this document's own URL.",
            ),
            Attribute("method", Kind.METHOD, f"How `action` is requested: GET or POST, {_METHOD_NOTE}.", default="POST"),
        ),
        children=(Child(REFER_SIP),),
        ends=Ends.WITH_ACTION,
        answers=True,
        waits=True,
        notes=(
            "Exactly one `<Sip>`; no verb stands in `<Refer>` and `<Refer>` stands in no verb.",
            "Without `<Sip>`, or with a URI that is no SIP URI, the document runs and the transfer ends as `failed`.",
            "The verb never hangs up.",
        ),
    ),
    Element(name="Hangup", about="Ends the call; one that is not answered yet is answered first.", ends=Ends.ALWAYS, answers=True),
    Element(
        name="Pause",
        about="Waits. It does not answer the call.",
        attributes=(Attribute("length", Kind.SECONDS, "How long.", default="1", minimum=0, maximum=MAX_PAUSE_S),),
        waits=True,
    ),
    Element(
        name="Redirect",
        about="Goes on with the document at the URL in its text, absolute or relative to this document's URL.",
        attributes=(Attribute("method", Kind.METHOD, f"How the URL is requested: GET or POST, {_METHOD_NOTE}.", default="POST"),),
        text=Text.URL,
        ends=Ends.ALWAYS,
        notes=("Without text it asks for this document's own URL again, which is a loop unless the answer changes.",),
    ),
    Element(
        name="Reject",
        about="Refuses a call that is not answered yet; an answered one is hung up.",
        attributes=(
            Attribute(
                "reason",
                Kind.CHOICE,
                "What the caller is told.",
                default="rejected",
                choices=("rejected", "busy"),
            ),
        ),
        ends=Ends.ALWAYS,
    ),
)
"""The verbs that run."""

_SPEECH: Final = ("break", "emphasis", "lang", "p", "phoneme", "prosody", "s", "say-as", "sub")

KNOWN_VERBS: Final[Mapping[str, Known]] = {
    known.name: known
    for known in (
        Known("Connect", "connects the call to a room or a media stream", ("Room", "Stream", "VirtualAgent")),
        Known("Denoise", "switches noise reduction on or off"),
        Known("Dial", "calls someone else and connects the two", ("Number", "Sip", "Conference", "Queue", "Verto")),
        Known("Echo", "plays the caller's voice back"),
        Known("Enqueue", "puts the caller into a queue"),
        Known("Gather", "collects digits or speech", ("Play", "Pause", "Say")),
        Known("Leave", "takes the caller out of a queue"),
        Known("Pay", "takes a payment", ("Prompt", "Parameter")),
        Known("Play", "plays a sound file or tones"),
        Known("Record", "records the caller"),
        Known("Say", "speaks a text", _SPEECH),
        Known("Sms", "sends a text message"),
        Known("Start", "starts a media stream beside the call", ("Stream", "Parameter")),
        Known("Stop", "stops a media stream", ("Stream",)),
    )
}
"""The other verbs of SignalWire's cXML reference."""

KNOWN_NOUNS: Final[Mapping[str, tuple[str, ...]]] = {
    noun: tuple(verb.name for verb in KNOWN_VERBS.values() if noun in verb.nouns)
    for noun in sorted({noun for verb in KNOWN_VERBS.values() for noun in verb.nouns} - KNOWN_VERBS.keys() - VERBS.keys())
}
"""The nouns of the verbs in :data:`KNOWN_VERBS`, each with the verbs that it belongs to."""

FOREIGN: Final[frozenset[str]] = frozenset(
    {
        "AiSession",
        "Application",
        "Assistant",
        "Autopilot",
        "Client",
        "Config",
        "Conversation",
        "ConversationRelay",
        "ConversationRelaySession",
        "Identity",
        "Recording",
        "Sim",
        "Siprec",
        "Task",
        "Transcription",
        "WhatsApp",
    }
)
"""Names that only Twilio's TwiML has."""

VERB_NAMES: Final[frozenset[str]] = frozenset(VERBS) | frozenset(KNOWN_VERBS)
"""Every verb of cXML, supported or not."""

SUGGESTIONS: Final[tuple[str, ...]] = (*VERBS, REFER_SIP.name, *sorted(KNOWN_VERBS), *sorted(KNOWN_NOUNS))
"""What a misspelt element may have meant, the supported ones first."""
