"""The interpreter's ``Call`` port over a SIP call."""

from collections.abc import Callable, Mapping

import structlog

from cxml.access.peers import ReferRules
from cxml.calls.facts import CallStatus, plain_uri
from cxml.interpreter.ports import CallEndedError, RejectReason, TransferKind, TransferResult
from sipua.errors import CallError, printable
from sipua.usage.call.call import Call
from sipua.usage.call.machine.effects import EndedBy

log = structlog.get_logger(__name__)

REJECT_STATUS = {RejectReason.REJECTED: 603, RejectReason.BUSY: 486}
"""Status by ``<Reject reason>``."""

HANGUP_STATUS = 480
"""What an unanswered call gets that its document ends without a word."""

FAIL_STATUS = 500
"""What an unanswered call gets when its document can't be had."""

TRANSFERRED = 'SIP;cause=200;text="transferred"'
"""Reason of the BYE to a caller who is with somebody else now (RFC 3326)."""

_REFUSED = {486: CallStatus.BUSY, 603: CallStatus.NO_ANSWER, HANGUP_STATUS: CallStatus.NO_ANSWER}


class SipCall:
    """One SIP call as verbs see it."""

    __slots__ = ("_bye_reason", "_is_ending", "_peer", "_refer", "_sid", "sip")

    def __init__(self, call: Call, sid: str, refer: ReferRules, peer: str = "") -> None:
        self.sip = call
        self._peer = peer
        self._sid = sid
        self._refer = refer
        self._is_ending = False
        self._bye_reason = ""

    @property
    def sid(self) -> str:
        """The CallSid."""
        return self._sid

    @property
    def is_answered(self) -> bool:
        """True while the call is confirmed."""
        return self.sip.is_confirmed

    @property
    def is_ended(self) -> bool:
        """True once the call is over."""
        return self.sip.is_ended

    @property
    def status(self) -> CallStatus:
        """The value of ``CallStatus`` now (docs/spec/call-status.md)."""
        if not self.sip.is_ended:
            if self._is_ending and self.sip.is_answered:
                return CallStatus.COMPLETED  # over for everybody but the peer, whose ACK is still missing
            return CallStatus.IN_PROGRESS if self.sip.was_confirmed else CallStatus.RINGING
        if self.sip.was_confirmed:
            return CallStatus.COMPLETED
        ending = self.sip.ending
        if ending is None or ending.by is EndedBy.PEER:
            return CallStatus.CANCELED
        return _REFUSED.get(ending.status, CallStatus.FAILED)

    def on_ended(self, told: Callable[[], None]) -> None:
        """Have *told* called once when the call is over: at once if it is."""
        self.sip.on_end(told)

    async def answer(self) -> None:
        """Answer and wait for the ACK. Raises :class:`CallEndedError`, also when no media could be agreed on."""
        if self.sip.is_confirmed:
            return
        try:
            await self.sip.answer()
        except CallError as error:
            raise CallEndedError(str(error)) from error

    async def reject(self, reason: RejectReason) -> None:
        """Refuse an unanswered call; hang up an answered one."""
        if self.sip.was_confirmed:
            await self.hangup()
            return
        await self.sip.reject(REJECT_STATUS[reason])

    async def hangup(self) -> None:
        """End the call: BYE, which says so when the caller was transferred, or 480 before it was answered."""
        self._is_ending = True
        await self.sip.hangup(HANGUP_STATUS, self._bye_reason)

    async def fail(self) -> None:
        """End a call that an error keeps from going on."""
        self._is_ending = True
        await self.sip.hangup(FAIL_STATUS, f'SIP;cause={FAIL_STATUS};text="Application error"')

    def status_now(self) -> str:
        """:attr:`status` as text."""
        return str(self.status)

    def replaced(self, former: str) -> None:
        """Note that the caller, whose Call-ID was *former*, was exchanged by an attended transfer; the document goes on."""
        log.info(
            "call_replaced",
            call_sid=self._sid,
            peer=self._peer,
            former_sip_call_id=printable(former),
            sip_call_id=printable(self.sip.id),
            from_=plain_uri(self.sip.from_.uri),
            source=str(self.sip.remote),
        )

    def dialog(self) -> Mapping[str, object]:
        """The dialog as plain data."""
        return self.sip.dialog_as_plain()

    async def transfer(self, target: str) -> TransferResult:
        """Refer the peer to *target* if the rules allow it, and wait for the outcome."""
        if not self._refer.is_allowed(target):
            log.warning(
                "refer_target_refused",
                call_sid=self._sid,
                peer=self._peer,
                sip_call_id=printable(self.sip.id, 80),
                target=printable(target),
                remedy="[refer] allow names what is allowed",
            )
            return TransferResult(TransferKind.INVALID_TARGET, detail="the target is not among those that [refer] allow names")
        outcome = await self.sip.transfer(target, settings=self._refer.settings, settle_s=self._refer.settle_s)
        kind = TransferKind(outcome.kind.value)
        self._bye_reason = TRANSFERRED if kind is TransferKind.TRANSFERRED else ""
        return TransferResult(kind, outcome.refer_code, outcome.notify_code, outcome.notified, outcome.detail, str(outcome.doubt))
