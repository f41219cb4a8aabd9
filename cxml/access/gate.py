"""The gate: finds out who sent a request outside a dialog, then asks each limit whether it may come in.

Everything that can refuse stands in one chain, so that there is one door for every method, one log line and one count for each refusal.
What a stranger gets depends on nothing that it asks for: neither method nor extension, user name or password (docs/spec/access.md).
"""

import secrets
from collections.abc import Callable
from typing import Final

import structlog

from cxml.access.peers import Peer, Peers, Proof
from cxml.access.quiet import Quiet
from cxml.access.rules import AccessRules, Check, Denial, GateObserver, Strangers, Visit
from cxml.access.sources import AnswerLimit, Bans, Proven
from sipua.auth import DigestServer, Result, Verdict
from sipua.auth.server import subnet_of
from sipua.errors import printable
from sipua.message import Request
from sipua.transaction.admission import SILENCE, Refusal
from sipua.transport.base import Channel

log = structlog.get_logger(__name__)

PROVEN_S: Final = 600.0  # how long a source that has shown a password is no stranger: two lives of a nonce
KEY_OCTETS: Final = 32  # the block of SHA-256's output: a longer key adds nothing (RFC 2104 §3)

SILENT: Final = Refusal(SILENCE)
FORBIDDEN: Final = Refusal(403)
UNKNOWN: Final = Refusal(481)  # for a CANCEL, which can't be challenged (RFC 3261 §22.1)

NO_PEER: Final = "name this address in the match of a [[peers]] table if it is a PBX of yours"
NO_PASSWORD: Final = "a PBX of yours answers with inbound_username and inbound_password of its [[peers]] table"
WRONG: Final = "compare inbound_username and inbound_password of the [[peers]] table with what the PBX has"


class Gate:
    """The door of the daemon. ``checks`` are asked in order once the peer is known; the first denial counts."""

    def __init__(self, peers: Peers, observer: GateObserver, now: Callable[[], float], rules: AccessRules | None = None) -> None:
        self.peers = peers
        self.checks: list[Check] = []
        self.on_failure: Callable[[str], None] = lambda _host: None
        """Told of each wrong password that counts, for other processes to count it, too (:meth:`heard_failure`)."""
        self.on_proven: Callable[[str], None] = lambda _host: None
        """Told when a source has shown a password and wasn't known before (:meth:`heard_proven`)."""
        self._rules = rules = rules or AccessRules()
        self._bans = Bans(rules.bans)
        self._digest = DigestServer(peers.accounts, rules.realm, secrets.token_bytes(KEY_OCTETS), rules.algorithms, rules.nonce_lifetime_s)
        self._answers = AnswerLimit(rules.max_answers_per_s)
        self._proven = Proven(PROVEN_S)
        self._observer = observer
        self._now = now
        self._quiet = Quiet()

    # -- what the layers of SIP ask ---------------------------------------------------------------------------------------------------

    def admit(self, request: Request, channel: Channel) -> Refusal | None:
        """Return what *request*, which belongs to no dialog, gets that isn't let in; one that is bears its peer's name in ``sender``."""
        found = self._identify(request, channel)
        if isinstance(found, Denial):
            return self._deny(found, request, channel)
        request.sender = found.name
        if request.method == "CANCEL" or request.to.tag:
            return None  # it opens nothing, and gets its 481
        visit = Visit(request, channel, found)
        for check in self.checks:
            denial = check(visit)
            if denial is not None:
                return self._deny(denial, request, channel)
        return None

    def may_answer(self, channel: Channel) -> bool:
        """Tell whether a broken message that came by *channel* gets an answer: one of a stranger only where strangers are refused."""
        host, now = channel.remote.host, self._now()
        if self.is_known(host) or self.peers.of_certificate(channel.identity) is not None:
            return True
        if self._bans.is_banned(host, now):
            return False
        return self._rules.strangers is Strangers.REFUSE and self._answers.takes(host, now)

    def is_known(self, host: str) -> bool:
        """Tell whether *host* is the address of a peer, or has shown the password of one lately."""
        return self.peers.at(host) is not None or self._proven.has(host, self._now())

    def heard_failure(self, host: str) -> None:
        """Another process was given a wrong password by *host*: it counts here, too, and is told there."""
        if self._bans.failed(host, self._now()):
            self._proven.drop(host)

    def heard_proven(self, host: str) -> None:
        """Another process was shown a password by *host*."""
        self._proven.note(host, self._now())

    def banned_count(self) -> int:
        """Return how many sources are banned now."""
        return self._bans.count(self._now())

    # -- who is it? (docs/spec/access.md) -----------------------------------------------------------------------------------------------

    def _identify(self, request: Request, channel: Channel) -> Peer | Denial:
        by_certificate = self.peers.of_certificate(channel.identity)
        if by_certificate is not None:
            return by_certificate
        at_address = self.peers.find(channel.remote)
        if at_address is not None and at_address.proof is Proof.ADDRESS:
            return at_address
        host, now = channel.remote.host, self._now()
        if at_address is None:
            if self._bans.is_banned(host, now):
                return Denial("banned", SILENT)
            if not self.peers.is_anywhere:
                is_told = self._rules.strangers is Strangers.REFUSE and self._answers.takes(host, now)
                return Denial("stranger", FORBIDDEN if is_told else SILENT, NO_PEER)
        return self._by_password(request, channel, is_configured=at_address is not None)

    def _by_password(self, request: Request, channel: Channel, *, is_configured: bool) -> Peer | Denial:
        host, now = channel.remote.host, self._now()
        if request.method == "CANCEL":
            return Denial("challenged", self._limited(host, now, UNKNOWN), NO_PASSWORD, is_refusal=False)
        verdict = self._digest.check(request, host, now)
        if verdict.result is Result.ACCEPTED:
            peer = self.peers.of_user(verdict.username, channel.remote)
            if peer is not None:
                if not self._proven.has(host, now):
                    self.on_proven(host)
                self._proven.note(host, now)
                return peer
            verdict = Verdict(Result.WRONG, verdict.username)  # right, but from an address that isn't the peer's
        is_wrong = verdict.result is Result.WRONG
        if is_wrong and not is_configured:
            self.on_failure(host)
            if self._bans.failed(host, now):
                self._ban(host)
                return Denial("banned", SILENT)
        values = self._digest.challenge(host, now, is_stale=verdict.is_stale)
        challenge = self._limited(host, now, Refusal(401, headers=tuple(("WWW-Authenticate", value) for value in values)))
        return Denial("wrong_password", challenge, WRONG) if is_wrong else Denial("challenged", challenge, NO_PASSWORD, is_refusal=False)

    def _limited(self, host: str, now: float, answer: Refusal) -> Refusal:
        """Return *answer* for a source that may be a peer's: within the limit of answers until it has shown a password."""
        return answer if self._proven.has(host, now) or self._answers.takes(host, now) else SILENT

    # -- refusals are told --------------------------------------------------------------------------------------------------------------

    def _ban(self, host: str) -> None:
        self._proven.drop(host)
        self._observer.source_banned()
        rules = self._bans.rules
        log.warning("source_banned", source=subnet_of(host), failures=rules.max_failures, ban_s=rules.ban_s, remedy="[access] never_ban")

    def _deny(self, denial: Denial, request: Request, channel: Channel) -> Refusal:
        self._observer.request_refused(denial.reason, request.method)
        now = self._now()
        if not denial.is_refusal and self._proven.has(channel.remote.host, now):
            return denial.refusal  # a peer is asked again
        held_back = self._quiet.held_back((denial.reason, request.sender), now)
        if held_back is not None:
            told = log.warning if denial.is_refusal else log.info
            told(
                "request_refused" if denial.is_refusal else "request_challenged",
                reason=denial.reason,
                peer=request.sender,
                method=printable(request.method, 20),
                sip_call_id=printable(request.call_id, 80),
                source=str(channel.remote),
                status=denial.refusal.status,
                held_back=held_back,
                remedy=denial.remedy,
            )
        return denial.refusal
