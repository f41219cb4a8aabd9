"""``<Refer>``: transfer the call by SIP REFER, report the outcome to ``action``, go on with the document it returns.

The verb ends on completion, refusal, hang-up or time-out and never hangs up by itself. It outlives the call, so that the
action request is sent exactly once on every way out. ``docs/spec/refer-outcomes.md`` is normative for the parameters.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cxml.document.nodes import Refer
from cxml.interpreter.context import Context, OnBye
from cxml.interpreter.outcome import Continue, End, Outcome, Replace
from cxml.interpreter.ports import CallEndedError, TransferKind, TransferResult

LOGGED_CHARS: Final = 200
"""A target or a detail in a log is cut here: a log line stays a line."""

_ENDED_WITH_CALL: Final = frozenset({TransferKind.PEER_HANGUP, TransferKind.LOCAL_HANGUP, TransferKind.CALL_LOST})
_ON_BYE: Final[Mapping[OnBye, str | None]] = MappingProxyType(
    {OnBye.CANCELED: "canceled", OnBye.SUCCESS: "in-progress", OnBye.UNKNOWN: None}
)
_STATUS: Final[Mapping[TransferKind, str]] = MappingProxyType(
    {
        TransferKind.TRANSFERRED: "in-progress",
        TransferKind.BUSY: "busy",
        TransferKind.NO_ANSWER: "no-answer",
    }
)


async def run(node: Refer, ctx: Context) -> Outcome:
    """Answer, transfer, report. Raises what :meth:`Context.fetch` raises when the action request fails."""
    await ctx.waiting(_pending(node))
    try:  # one result, whatever goes wrong: an error of ours counts as ``failed``, a call that is gone as lost
        if node.target:
            await ctx.call.answer()
            result = await ctx.call.transfer(node.target)
        else:
            result = TransferResult(TransferKind.INVALID_TARGET, detail="no SIP URI")
    except CallEndedError as error:
        why = f": {error}" if str(error) else ""
        result = TransferResult(TransferKind.CALL_LOST, detail=f"the call ended before the REFER was sent{why}")
    except Exception:
        ctx.log.exception("transfer_crashed", target=_shown(node.target))
        result = TransferResult(TransferKind.FAILED, detail="internal error", doubt="not_reported")
    parameters = action_parameters(result, ctx.settings.refer_on_bye)
    ctx.report(result)
    doubt = {"doubt": result.doubt} if result.doubt else {}
    ctx.log.info("transfer_ended", target=_shown(node.target), detail=_shown(result.detail), **doubt, **parameters)
    if node.action is None:
        return _after(result, Continue())
    await ctx.waiting({**_pending(node), **parameters})
    document = await ctx.fetch(node.action, node.method, parameters)
    return _after(result, Replace(document))


def _pending(node: Refer) -> dict[str, str]:
    """Return what a position says of a transfer that waits."""
    return {"verb": "Refer", "target": node.target, "action": node.action or "", "method": node.method}


def _after(result: TransferResult, outcome: Outcome) -> Outcome:
    """A peer that no longer knows the call can't hear another verb (rows A9a, A9b)."""
    return End(TransferKind.CALL_LOST) if result.kind is TransferKind.CALL_LOST else outcome


def _shown(text: str) -> str:
    return ascii(text[:LOGGED_CHARS])[1:-1]


def action_parameters(result: TransferResult, on_bye: OnBye = OnBye.CANCELED) -> dict[str, str]:
    """Return the parameters that the action request carries besides the standard ones.

    ``CxmldReferOutcome`` and ``CxmldReferConfidence`` always; the vendors' three only where
    ``docs/spec/refer-outcomes.md`` gives them a value.
    """
    parameters = {"CxmldReferOutcome": result.kind.value, "CxmldReferConfidence": result.confidence.value}
    status = call_status(result, on_bye)
    if status is not None:
        parameters["ReferCallStatus"] = status
    if result.refer_code:
        parameters["ReferSipResponseCode"] = str(result.refer_code)
    if result.notify_code:
        parameters["NotifySipResponseCode"] = str(result.notify_code)
    return parameters


def call_status(result: TransferResult, on_bye: OnBye = OnBye.CANCELED) -> str | None:
    """Return ``ReferCallStatus``, None where it is left out. *on_bye* decides for an accepted transfer that ended by BYE."""
    kind = result.kind
    if kind is TransferKind.NO_SUBSCRIPTION:
        return None
    if kind is TransferKind.NOTIFY_TIMEOUT:
        return "failed" if result.notified else None
    if kind in _ENDED_WITH_CALL:
        accepted = 200 <= result.refer_code < 300 or (result.notified and not result.refer_code)
        if not accepted:
            return "failed"
        return _ON_BYE[on_bye] if kind is TransferKind.PEER_HANGUP else "canceled"
    return _STATUS.get(kind, "failed")
