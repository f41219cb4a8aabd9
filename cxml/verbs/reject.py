"""``<Reject>``: refuse a call without answering it; an answered call is hung up."""

from cxml.document.nodes import Reject
from cxml.interpreter.context import Context
from cxml.interpreter.outcome import End, Outcome
from cxml.interpreter.ports import RejectReason


async def run(node: Reject, ctx: Context) -> Outcome:
    """Refuse as ``busy`` or ``rejected``; both end the call."""
    if ctx.call.is_answered:
        return End("hangup")
    await ctx.call.reject(RejectReason(node.reason))
    return End("rejected")
