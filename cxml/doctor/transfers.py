"""Pure. From a transfer that was seen to findings (docs/spec/doctor.md)."""

from collections.abc import Iterator

from cxml.doctor.findings import Finding, finding
from cxml.doctor.pbx import PbxKind
from cxml.doctor.seen import CallSeen, Messages, Purpose, Seen, TransferSeen, final, requests, responses, status_of
from sipua.errors import ParseError
from sipua.message import Request
from sipua.usage.subscription.confidence import PROMPT_S
from sipua.usage.subscription.package import NotifyInfo
from sipua.usage.subscription.sipfrag import Sipfrag, parse_sipfrag

SHORT_EXPIRY_S = 30
"""A phone may well ring so long."""

_FORBIDDEN = (403, 405, 501, 603)
_CHALLENGES = (401, 407)


def _info(seen: Seen) -> NotifyInfo | None:
    """Read a NOTIFY; None when it is none or its CSeq is broken."""
    try:
        return NotifyInfo.from_request(seen.message) if isinstance(seen.message, Request) else None
    except ParseError:
        return None


def reported(seen: Seen) -> int:
    """Return the status that a NOTIFY reports, 0 when it can't be read."""
    info = _info(seen)
    fragment = None if info is None else parse_sipfrag(info.content_type, info.body)
    return fragment.status if isinstance(fragment, Sipfrag) else 0


def transfer_findings(call: CallSeen, transfer: TransferSeen, kind: PbxKind) -> Iterator[Finding]:
    """Yield what one transfer shows."""
    answer = final(call.messages, "REFER")
    notifies = requests(call.messages, "NOTIFY", ours=False)
    if not requests(call.messages, "REFER", ours=True):
        return
    if call.purpose is Purpose.TEL:
        yield from _tel(answer, notifies, kind)
    elif answer is None and not notifies:
        yield finding("refer_unanswered", kind, f"> REFER {transfer.target}: no answer")
    elif answer is not None and status_of(answer) >= 300:
        yield from _refused(call, transfer, answer, kind)
    else:
        yield from _accepted(call, transfer, notifies, kind)


def _tel(answer: Seen | None, notifies: list[Seen], kind: PbxKind) -> Iterator[Finding]:
    last = reported(notifies[-1]) if notifies else 0
    if answer is not None and status_of(answer) >= 300:
        yield finding("tel_refused", kind, answer.line)
    elif last >= 300:
        yield finding("tel_refused", kind, _told(notifies[-1]))


def _refused(call: CallSeen, transfer: TransferSeen, answer: Seen, kind: PbxKind) -> Iterator[Finding]:
    status = status_of(answer)
    if call.purpose is Purpose.HOST:
        return  # a PBX that minds the host refuses it
    if status in _FORBIDDEN:
        yield finding("transfer_forbidden", kind, answer.line)
    elif status in (404, 484, 604):
        yield finding("target_unknown", kind, answer.line, transfer.target)
    elif status in _CHALLENGES:
        yield finding("wrong_password", kind, answer.line)
    else:
        yield finding("refer_refused", kind, answer.line)


def _accepted(call: CallSeen, transfer: TransferSeen, notifies: list[Seen], kind: PbxKind) -> Iterator[Finding]:
    accepted = final(call.messages, "REFER")
    line = accepted.line if accepted else ""
    if not notifies:
        if accepted is not None and accepted.header("Refer-Sub").strip().lower() == "false":
            yield finding("no_subscription", kind, line, "Refer-Sub: false")
        else:
            yield finding("no_notify", kind, line, f"Contact: {_contact_of(call.messages)}")
        return
    if call.purpose is Purpose.HOST:
        yield from _host(transfer, notifies, kind)
        return
    if not any("id=" in seen.header("Event").replace(" ", "").lower() for seen in notifies):
        yield finding("notify_without_id", kind, f"Event: {notifies[0].header('Event')}")
    yield from _expiry(notifies, kind)
    yield from _outcome(call, transfer, notifies, kind)


def _host(transfer: TransferSeen, notifies: list[Seen], kind: PbxKind) -> Iterator[Finding]:
    best = max(reported(seen) for seen in notifies)
    if 100 < best < 300:
        yield finding("host_ignored", kind, transfer.target, _told(notifies[-1]))


def _expiry(notifies: list[Seen], kind: PbxKind) -> Iterator[Finding]:
    for seen in notifies:
        info = _info(seen)
        if info is not None and not info.is_terminated and info.expires is not None and info.expires < SHORT_EXPIRY_S:
            yield finding("subscription_short", kind, f"Subscription-State: {seen.header('Subscription-State')}")
            return


def _outcome(call: CallSeen, transfer: TransferSeen, notifies: list[Seen], kind: PbxKind) -> Iterator[Finding]:
    told = tuple(_told(seen) for seen in notifies)
    last = max((reported(seen) for seen in notifies if reported(seen) >= 200), default=0)
    if transfer.kind == "transferred":
        ringing = "_ringing" if any(100 < reported(seen) < 200 for seen in notifies) else ""
        if call.purpose is Purpose.UNANSWERED:
            yield finding(f"false_success{ringing}", kind, *told, f"{transfer.target} never answers")
        elif transfer.doubt:
            limit = f"less than {PROMPT_S:g} s after it {'began to ring' if ringing else 'was accepted'}"
            yield finding(f"early_success{ringing}", kind, *told, limit)
    elif _is_unbridged(call.messages, notifies, last, kind):
        yield finding("not_bridged", kind, *told)
    elif last == 404:
        yield finding("target_unknown", kind, *told, transfer.target)
    elif call.purpose is Purpose.UNANSWERED:
        yield finding("not_settled", kind, *told[-1:])
    elif last:
        yield finding("transfer_failed", kind, *told)
    elif transfer.kind in ("unknown", "peer_hangup"):
        yield finding("transfer_unreported", kind, *told)
    else:
        yield finding("not_settled", kind, *told[-1:])


def _is_unbridged(messages: Messages, notifies: list[Seen], last: int, kind: PbxKind) -> bool:
    """Asterisk reports 400 for a call without another party, FreeSWITCH 403 at once; both without ringing."""
    refers = [seen for seen in responses(messages, "REFER") if status_of(seen) >= 200]
    soon = bool(refers) and notifies[-1].at_s - refers[-1].at_s < PROMPT_S
    rang = any(100 < reported(seen) < 200 for seen in notifies)
    return not rang and (last == 400 or (last == 403 and soon and kind is not PbxKind.ASTERISK))


def _told(seen: Seen) -> str:
    return f"{seen.at_s:.3f} s < NOTIFY {reported(seen)}, {seen.header('Subscription-State')}"


def _contact_of(messages: Messages) -> str:
    return next((seen.header("Contact") for seen in requests(messages, "REFER", ours=True)), "")
