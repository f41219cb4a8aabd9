"""``<Pause>``: wait. Does not answer the call, so a leading pause delays the answer."""

import asyncio

from cxml.document.nodes import Pause
from cxml.interpreter.context import Context
from cxml.interpreter.outcome import Continue, Outcome


async def run(node: Pause, ctx: Context) -> Outcome:  # noqa: ARG001 - every verb has this signature
    """Wait ``length_s`` seconds."""
    await asyncio.sleep(node.length_s)
    return Continue()
