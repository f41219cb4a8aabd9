"""Pure. Whose password answers which realm, nonce counts, and when to give up (RFC 3261 §22.1 to §22.3, RFC 8760 §2.4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sipua.auth.digest import Challenge, make_credentials, parse_auth
from sipua.errors import ParseError
from sipua.message import Request, Response
from sipua.message.via import CSeq

MAX_TRIES = 3  # the first, one for a fresh nonce, one for a stale one
MAX_REALMS = 8  # a request rarely passes two that ask; a peer that invents realms must not make our requests grow
_PAIRS = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and password; *realm* None answers every realm."""

    username: str
    password: str = field(repr=False)
    realm: str | None = None


@dataclass(slots=True)
class _Known:
    """A challenge that was met, how often its nonce was used, and our nonce of a ``-sess`` algorithm, which stays (RFC 7616 §3.4.2)."""

    challenge: Challenge
    credential: Credential
    count: int = 0
    cnonce: str = ""


class Authenticator:
    """Answers the challenges of one peer and remembers its nonces, so that later requests carry credentials at once (RFC 3261 §22.2)."""

    def __init__(self, credentials: Sequence[Credential], new_cnonce: Callable[[], str]) -> None:
        self._credentials = tuple(credentials)
        self._new_cnonce = new_cnonce
        self._known: dict[tuple[str, str], _Known] = {}  # by request header name and realm

    def authorize(self, request: Request) -> None:
        """Add credentials for every realm met so far, in place of those that *request* has; never to ACK and CANCEL (§22.1)."""
        request.headers.remove("Authorization")
        request.headers.remove("Proxy-Authorization")
        for (name, _realm), known in self._known.items():
            known.count += 1
            challenge, credential = known.challenge, known.credential
            if not known.cnonce or not challenge.is_session:
                known.cnonce = self._new_cnonce()
            value = make_credentials(
                challenge,
                credential.username,
                credential.password,
                request.method,
                request.uri,
                request.body,
                known.count,
                known.cnonce,
            )
            request.headers.add(name, value)

    def learn(self, response: Response) -> dict[tuple[str, str], Challenge]:
        """Take the challenges of a 401 or 407 for which a password is known; return them by request header name and realm.

        Of several for one realm the topmost that we speak counts (RFC 8760 §2.4); broken ones are passed over.
        """
        asked, answer = _PAIRS[response.status]
        learnt: dict[tuple[str, str], Challenge] = {}
        for text in response.headers.lines(asked):
            try:
                challenge = Challenge.parse(text)
            except ParseError:
                continue
            if challenge is None or (answer, challenge.realm) in learnt:
                continue
            credential = next((c for c in self._credentials if c.realm in (None, challenge.realm)), None)
            if credential is not None:
                learnt[answer, challenge.realm] = challenge
                self._remember((answer, challenge.realm), challenge, credential)
        return learnt

    def _remember(self, key: tuple[str, str], challenge: Challenge, credential: Credential) -> None:
        former = self._known.pop(key, None)
        known = self._known[key] = _Known(challenge, credential)
        if former is not None and former.challenge.nonce == challenge.nonce:
            # another request was challenged with the same nonce: its count goes on (RFC 7616 §3.4)
            known.count, known.cnonce = former.count, former.cnonce
        while len(self._known) > MAX_REALMS:
            del self._known[next(iter(self._known))]

    def nonces(self) -> dict[tuple[str, str], str]:
        """Return the nonces that :meth:`authorize` uses, by request header name and realm."""
        return {key: known.challenge.nonce for key, known in self._known.items()}

    def forget(self, key: tuple[str, str]) -> None:
        """A password was refused: don't send it again unasked."""
        self._known.pop(key, None)

    def renew_nonce(self, response: Response) -> None:
        """Use the ``nextnonce`` of Authentication-Info from now on (RFC 7616 §3.5)."""
        text = response.headers.get("Authentication-Info")
        if text is None:
            return
        try:
            _, params = parse_auth(f"Digest {text}")
        except ParseError:
            return
        nonce = params.get("nextnonce")
        for (name, _realm), known in self._known.items():
            if nonce and name == "Authorization":
                old = known.challenge
                known.challenge = Challenge(old.realm, nonce, old.algorithm, old.opaque, old.qops, is_session=old.is_session)
                known.count, known.cnonce = 0, ""


class Attempt:
    """One request on its way through challenges: what is sent next, and whether to go on.

    A realm's challenge is answered once, and once more when it says that the nonce was stale (RFC 3261 §22.2, §22.3); not at all when its
    nonce is the one that the request has answered unasked.
    """

    def __init__(self, authenticator: Authenticator | None, request: Request) -> None:
        self.request = request
        self._authenticator = authenticator
        self._answered: dict[tuple[str, str], str] = {}
        self._unasked: dict[tuple[str, str], str] = {}
        self._tries = 1
        if authenticator is not None:
            self._unasked = authenticator.nonces()
            authenticator.authorize(request)

    def retry(self, response: Response) -> bool:
        """Tell whether *response* is a challenge that a new attempt may satisfy."""
        if self._authenticator is None:
            return False
        if response.status not in _PAIRS:
            self._authenticator.renew_nonce(response)
            return False
        learnt = self._authenticator.learn(response)
        fresh = False
        for key, challenge in learnt.items():
            former = self._answered.get(key)
            is_new = challenge.nonce not in (former, self._unasked.get(key))
            if is_new and (former is None or challenge.is_stale):
                fresh = True
                self._answered[key] = challenge.nonce
            else:
                self._authenticator.forget(key)
        return fresh and self._tries < MAX_TRIES

    def renew(self, cseq: CSeq) -> Request:
        """Make the next attempt: the same request with a new CSeq and credentials, and no Via yet."""
        self._tries += 1
        request = self.request.copy()
        request.headers.remove("Via")
        request.headers.set("CSeq", str(cseq))
        if self._authenticator is not None:
            self._authenticator.authorize(request)
        self.request = request
        return request
