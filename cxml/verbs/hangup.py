"""``<Hangup>``: end the call.

An unanswered call is answered first, as the hosted platforms do: only ``<Reject>`` refuses a call.
"""

from cxml.document.nodes import Hangup
from cxml.interpreter.context import Context
from cxml.interpreter.outcome import End, Outcome


async def run(node: Hangup, ctx: Context) -> Outcome:  # noqa: ARG001 - every verb has this signature
    """Answer if need be; the engine hangs up where no verb follows."""
    await ctx.call.answer()
    return End("hangup")
