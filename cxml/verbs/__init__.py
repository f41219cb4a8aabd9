"""The verbs, one file each, and the table that says which function runs which node."""

from types import MappingProxyType
from typing import Final

from cxml.document import nodes
from cxml.interpreter.context import VerbEntry, Verbs, VerbTraits
from cxml.verbs import hangup, pause, redirect, refer, reject

__all__ = ["VERBS"]

VERBS: Final[Verbs] = MappingProxyType(
    {
        nodes.Hangup: VerbEntry(hangup.run),
        nodes.Pause: VerbEntry(pause.run),
        nodes.Redirect: VerbEntry(redirect.run),
        nodes.Refer: VerbEntry(refer.run, VerbTraits(outlives_call=True)),
        nodes.Reject: VerbEntry(reject.run, VerbTraits(outlives_call=True)),
    }
)
