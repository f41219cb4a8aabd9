"""The transferor: REFERs the peer of a call, at the right moment, and once more where that is known to help (RFC 5589 §6)."""

import asyncio
import logging
import urllib.parse
from collections.abc import Mapping

from sipua.errors import ParseError, printable
from sipua.message import Address, Uri
from sipua.message.grammar import is_token
from sipua.usage.call.machine.effects import EndedBy
from sipua.usage.call.machine.glare import wait_range
from sipua.usage.call.session import Session
from sipua.usage.subscription.outcome import TransferKind, TransferOutcome
from sipua.usage.subscription.refer import ReferSettings
from sipua.usage.subscription.session import TransferSession

log = logging.getLogger("sipua.refer")

TOO_EARLY_WAIT_S = 0.5
"""How long to wait before a REFER is repeated that the peer was not ready for."""

MAX_RETRY_AFTER_S = 10
"""The longest Retry-After of a 500 that is waited for (RFC 3261 §14.2 gives 0 to 10)."""

_SENT_HEADERS = ("replaces", "user-to-user")
"""The URI headers that Refer-To may have besides X- ones (RFC 3891 §4, RFC 7433 §4.1): others would make the peer's INVITE say anything."""


class _Watch:
    """Tells a running transfer that the call has ended."""

    def __init__(self, transfer: TransferSession) -> None:
        self._transfer = transfer

    def call_ended(self, by: EndedBy) -> None:
        """The call is over."""
        if by is EndedBy.LOST:
            self._transfer.call_lost()
        else:
            self._transfer.call_ended("peer" if by is EndedBy.PEER else "local")


class Transferor:
    """Runs the transfers of one call, one at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._one = asyncio.Lock()

    async def transfer(
        self,
        target: str,
        headers: Mapping[str, str],
        settings: ReferSettings | None = None,
        settle_s: float | None = None,
    ) -> TransferOutcome:
        """Refer the peer to *target*; never raises for what the network or the target does."""
        shared = self._session.core.settings
        settings = settings or shared.refer
        settle_s = shared.refer_settle_s if settle_s is None else settle_s
        async with self._one:
            fault = target_fault(target)
            if fault:
                return TransferOutcome(TransferKind.INVALID_TARGET, detail=fault)
            outcome, wait_s = await self._attempt(target, headers, settings, settle_s)
            if wait_s is None or self._session.is_ended:
                return outcome
            log.info("transfer of Call-ID %s is tried again: %s", printable(self._session.invite.call_id), outcome.detail)
            await self._wait(wait_s)
            if self._session.is_ended:
                return outcome
            return (await self._attempt(target, headers, settings, settle_s))[0]

    async def _attempt(
        self, target: str, headers: Mapping[str, str], settings: ReferSettings, settle_s: float
    ) -> tuple[TransferOutcome, float | None]:
        """Send one REFER; return its outcome and after how many seconds another one may help, None: never."""
        session = self._session
        await self._settle(settle_s)
        if not session.is_confirmed:
            return self._not_up(), None
        core = session.core
        transfer = TransferSession(session.dialog, core.loop, settings, core.settings.timing, core.tasks, confirmed_at=session.confirmed_at)
        watch = _Watch(transfer)
        session.watchers.append(watch)
        referred_by = str(Address(Address.parse(session.dialog.state.local_address).uri))
        lines = {"Referred-By": referred_by, **headers}
        try:
            outcome = await transfer.run(f"<{target}>", [(name, value) for name, value in lines.items() if value])
        except asyncio.CancelledError:
            transfer.close()
            raise
        finally:
            session.watchers.remove(watch)
        if outcome.call_lost and session.role is not None:
            session.role.lost()
        return outcome, self._retry_wait(outcome, transfer)

    def _retry_wait(self, outcome: TransferOutcome, transfer: TransferSession) -> float | None:
        if outcome.retry_advised:
            return TOO_EARLY_WAIT_S
        if outcome.refer_code == 491:
            return self._session.core.dialogs.uniform(*wait_range(is_owner=self._session.is_owner))
        if outcome.refer_code == 500 and transfer.retry_after_s is not None and transfer.retry_after_s <= MAX_RETRY_AFTER_S:
            return float(transfer.retry_after_s)
        return None

    def _not_up(self) -> TransferOutcome:
        ending = self._session.ending
        if ending is None:
            return TransferOutcome(TransferKind.FAILED, detail="the call is not answered")
        return TransferOutcome(TransferKind.CALL_LOST, detail="the call ended before the REFER was sent")

    async def _settle(self, settle_s: float) -> None:
        """Give the peer the moment it needs between ACK and REFER."""
        session = self._session
        if session.confirmed_at is not None:
            await self._wait(session.confirmed_at + settle_s - session.core.loop.time())

    async def _wait(self, seconds: float) -> None:
        """Wait *seconds*, less when the call ends."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._session.wait_over()
        except TimeoutError:
            return


def target_fault(target: str) -> str:
    """Say why *target* can't stand in Refer-To, ``""`` when it can.

    It has to be a SIP URI without brackets or line ends, without a password, and with no header that would forge the peer's INVITE.
    """
    try:
        uri = Uri.parse(target)
    except ParseError as error:
        return f"bad transfer target: {error.reason}"
    if not uri.is_sip:
        return f"bad transfer target: scheme {printable(uri.scheme, 20)} is not sip"
    if not target.isprintable() or any(c in target for c in '<>" \t'):
        return "bad transfer target: a character that must be escaped"
    if uri.password is not None:
        return "bad transfer target: a password in it would be told to the peer"
    for name, value in _headers(uri):
        if not is_token(name) or (name.lower() not in _SENT_HEADERS and not name.lower().startswith("x-")):
            return f"bad transfer target: header {printable(name, 40)!r} is not Replaces, User-to-User or X-…"
        if not value.isprintable():
            return f"bad transfer target: a control character in header {name}"
    return ""


def _headers(uri: Uri) -> list[tuple[str, str]]:
    """Return names and values of the headers behind ``?`` in *uri*, without escapes."""
    if uri.headers is None:
        return []
    pairs = (line.partition("=") for line in uri.headers.split("&"))
    return [(urllib.parse.unquote(name), urllib.parse.unquote(value)) for name, _, value in pairs]
