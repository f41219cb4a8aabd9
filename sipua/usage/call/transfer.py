"""The transferor: REFERs the peer of a call, at the right moment, and once more where that is known to help (RFC 5589 §6)."""

import asyncio
import logging
import urllib.parse
from collections.abc import Mapping

from sipua.errors import ParseError, printable
from sipua.latch import Latch
from sipua.message import Address, Uri
from sipua.message.grammar import is_token
from sipua.usage.call.machine.glare import wait_range
from sipua.usage.call.session import Session
from sipua.usage.subscription.outcome import TransferKind, TransferOutcome
from sipua.usage.subscription.refer import ReferSettings
from sipua.usage.subscription.session import TransferSession

log = logging.getLogger("sipua.refer")

TOO_EARLY_WAIT_S = 0.5
"""How long to wait before a REFER is repeated that the peer was not ready for."""

PAUSE_S = 5.0
"""How long audio stops for a REFER, at most: Asterisk reports a packet of ours that it still passes on as the answer of the target."""

QUIET_S = 0.06
"""How long it has stopped before the REFER goes out: three packets that may be under way."""

MAX_RETRY_AFTER_S = 10
"""The longest Retry-After of a 500 that is waited for (RFC 3261 §14.2 gives 0 to 10)."""

_SENT_HEADERS = ("replaces", "user-to-user")
"""The URI headers that Refer-To may have besides X- ones (RFC 3891 §4, RFC 7433 §4.1): others would make the peer's INVITE say anything."""


class Transferor:
    """Runs the transfers of one call, one at a time."""

    __slots__ = ("_is_heir", "_is_running", "_session", "_turn", "heir")

    def __init__(self, session: Session, *, is_heir: bool = False) -> None:
        """*is_heir*: *session* takes the place of another one, and may have its ACK still to come."""
        self.heir: Transferor | None = None
        """Runs the transfers from now on: another party has taken over."""
        self._is_heir = is_heir
        self._session = session
        self._is_running = False
        self._turn: Latch | None = None  # of those who wait until the transfer that runs is over

    async def transfer(
        self,
        target: str,
        headers: Mapping[str, str],
        settings: ReferSettings | None = None,
        settle_s: float | None = None,
        *,
        any_scheme: bool = False,
    ) -> TransferOutcome:
        """Refer the peer to *target*; never raises for what the network or the target does. What is not sent yet goes on with the heir."""
        if self._is_heir:
            await self._session.wait_confirmed()
        shared = self._session.core.settings
        settings = settings or shared.refer
        settle_s = shared.refer_settle_s if settle_s is None else settle_s
        while self._is_running:
            self._turn = self._turn or Latch()
            await self._turn.wait()
        self._is_running = True
        try:
            fault = target_fault(target, any_scheme=any_scheme)
            if fault:
                return TransferOutcome(TransferKind.INVALID_TARGET, detail=fault)
            is_first = True
            while True:
                await self._settle(settle_s)
                if not self._session.is_confirmed:
                    break
                transfer = self._begin(target, headers, settings)
                self._session.watchers = (*self._session.watchers, transfer)
                try:
                    outcome = await transfer.outcome
                except asyncio.CancelledError:
                    transfer.close()
                    raise
                finally:
                    self._forget(transfer)
                if outcome.call_lost and self._session.role is not None:
                    self._session.role.lost()
                wait_s = self._retry_wait(outcome, transfer) if is_first else None
                if wait_s is None or self._session.is_ended:
                    return outcome
                is_first = False
                log.info("transfer of Call-ID %s is tried again: %s", printable(self._session.call_id), outcome.detail)
                await self._wait(wait_s)
                if self._session.is_ended:
                    return outcome
        finally:
            self._is_running = False
            self._session.media.pause(0)
            turn, self._turn = self._turn, None
            if turn is not None:
                turn.open()
        if self.heir is None:
            return self._not_up()
        return await self.heir.transfer(target, headers, settings, settle_s, any_scheme=any_scheme)

    def _forget(self, transfer: TransferSession) -> None:
        """The end of the call is no news for *transfer* any more."""
        self._session.watchers = tuple([other for other in self._session.watchers if other is not transfer])

    def _begin(self, target: str, headers: Mapping[str, str], settings: ReferSettings) -> TransferSession:
        """Send one REFER."""
        session = self._session
        core = session.core
        transfer = TransferSession(session.dialog, core.loop, settings, core.settings.timing, core.tasks, confirmed_at=session.confirmed_at)
        referred_by = str(Address(Address.parse(session.dialog.state.local_address).uri))
        lines = {"Referred-By": referred_by, **headers}
        transfer.start(f"<{target}>", [(name, value) for name, value in lines.items() if value])
        return transfer

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
        """Give the peer the moment it needs between ACK and REFER, and between our audio and REFER."""
        session = self._session
        if session.confirmed_at is not None:
            quiet_s = QUIET_S if session.media.pause(PAUSE_S) else 0.0
            await self._wait(max(quiet_s, session.confirmed_at + settle_s - session.core.loop.time()))

    async def _wait(self, seconds: float) -> None:
        """Wait *seconds*, less when the call ends."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._session.wait_over()
        except TimeoutError:
            return


def target_fault(target: str, *, any_scheme: bool = False) -> str:
    """Say why *target* can't stand in Refer-To, ``""`` when it can.

    It has to be a SIP URI, with *any_scheme* any URI, without brackets or line ends, without a password, and with no header that would
    forge the peer's INVITE.
    """
    try:
        uri = Uri.parse(target)
    except ParseError as error:
        return f"bad transfer target: {error.reason}"
    if not uri.is_sip and not any_scheme:
        return f"bad transfer target: scheme {printable(uri.scheme, 20)} is not sip"
    if not target.isprintable() or "<" in target or ">" in target or '"' in target or " " in target:
        return "bad transfer target: a character that must be escaped"
    if uri.is_sip and uri.password is not None:
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
