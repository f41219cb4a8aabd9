"""Pure. What a parsed document consists of: one frozen dataclass a verb."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element stands in its document: line and column, both counted from 1."""

    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Refer:
    """``<Refer>``: transfer the call to the URI of its ``<Sip>``.

    ``target`` is the text of ``<Sip>`` without surrounding white space, empty when there is none (the verb then ends as ``failed``);
    ``action`` is None when the attribute is absent; ``method`` is ``GET`` or ``POST``.
    """

    target: str
    action: str | None = None
    method: str = "POST"
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True)
class Hangup:
    """``<Hangup>``: end the call."""

    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True)
class Pause:
    """``<Pause>``: wait ``length_s`` seconds; does not answer the call."""

    length_s: int = 1
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True)
class Redirect:
    """``<Redirect>``: go on with the document at ``url``; an empty URL is the current document's."""

    url: str
    method: str = "POST"
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True)
class Reject:
    """``<Reject>``: refuse an unanswered call; ``reason`` is ``rejected`` or ``busy``."""

    reason: str = "rejected"
    place: Place = field(default_factory=Place, compare=False)


Verb = Refer | Hangup | Pause | Redirect | Reject


@dataclass(frozen=True, slots=True)
class Document:
    """A valid document: its verbs in order."""

    verbs: tuple[Verb, ...]
