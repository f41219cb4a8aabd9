"""Pure. What a verb tells the engine when it is done."""

from dataclasses import dataclass

from cxml.interpreter.ports import FetchedDocument


@dataclass(frozen=True, slots=True)
class Continue:
    """Run the next verb of the same document."""


@dataclass(slots=True)
class Replace:
    """A document was fetched; it replaces whatever was left of the one that runs."""

    document: FetchedDocument


@dataclass(frozen=True, slots=True)
class End:
    """No verb follows. *reason* is one word for the log."""

    reason: str


Outcome = Continue | Replace | End
