"""``<Redirect>``: go on with another document. Does not answer the call; verbs behind it never run."""

from cxml.document.nodes import Redirect
from cxml.interpreter.context import Context
from cxml.interpreter.outcome import Outcome, Replace


async def run(node: Redirect, ctx: Context) -> Outcome:
    """Fetch the document; an empty URL asks for the current one again."""
    return Replace(await ctx.fetch(node.url, node.method))
