"""Pure. Documents: bytes to verbs, and what is wrong with them.

:func:`parse` is for running a document, :func:`lint` for its author, :func:`parse_with_diagnostics` for both at once.
"""

from cxml.document.diagnostics import Diagnostic, DocumentError, Level, Rule
from cxml.document.nodes import Document, Hangup, Pause, Place, Redirect, Refer, Reject, Verb
from cxml.document.parse import Parsed, lint, parse, parse_with_diagnostics
from cxml.document.schema import MAX_BYTES

__all__ = [
    "MAX_BYTES",
    "Diagnostic",
    "Document",
    "DocumentError",
    "Hangup",
    "Level",
    "Parsed",
    "Pause",
    "Place",
    "Redirect",
    "Refer",
    "Reject",
    "Rule",
    "Verb",
    "lint",
    "parse",
    "parse_with_diagnostics",
]
