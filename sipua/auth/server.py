"""Pure. Digest authentication as a server (RFC 3261 §22.1 and §22.4, RFC 7616 §3.3 and §3.4.6, RFC 8760 §2).

A nonce is its time of issue, a number and an HMAC over both and the source's address: nothing is kept for a challenge that nobody answers.
A response is computed only for a nonce of ours that is fresh and was given to this source, so whoever guesses passwords has read our
challenge and cannot hide behind an address that is not theirs.
"""

import hmac
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from typing import Final

from sipua.auth.digest import ALGORITHMS, digest_response, parse_auth
from sipua.errors import ParseError
from sipua.message import Request, Uri
from sipua.message.grammar import quote

MAX_SEEN: Final = 10_000  # nonces in use: a peer has one or a few at a time
MAX_HEADERS: Final = 8  # one Authorization per realm (RFC 3261 §22.3); a request passes few that ask
MAX_CNONCE: Final = 256  # eight times what clients send
WINDOW: Final = 64  # requests that may overtake each other on the way, as in RFC 4303 §3.4.3
IPV6_SUBNET: Final = 64  # one host has all addresses of its subnet (RFC 8981 temporary addresses)

_STAMP_DIGITS: Final = 18  # milliseconds and number
_MAC_OCTETS: Final = 12  # 96 bits, as HMAC is cut elsewhere (RFC 2104 §5)
_NONCE: Final = re.compile(rf"[0-9a-f]{{{_STAMP_DIGITS + 2 * _MAC_OCTETS}}}")
_COUNT: Final = re.compile(r"[0-9A-Fa-f]{8}")


class Result(StrEnum):
    """What a request's credentials are worth."""

    ACCEPTED = "accepted"
    MISSING = "missing"
    STALE = "stale"
    REPLAYED = "replayed"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A *result*, and whose credentials these are; *username* is what was claimed, empty for ``missing``."""

    result: Result
    username: str = ""

    @property
    def is_stale(self) -> bool:
        """True when the same password with a fresh nonce may succeed (``stale=true``, RFC 7616 §3.3)."""
        return self.result in (Result.STALE, Result.REPLAYED)


@dataclass(frozen=True, slots=True)
class Account:
    """A user who may come in: by *password*, or by stored hashes of ``user:realm:password``, hexadecimal, by algorithm name."""

    username: str
    password: str = field(default="", repr=False)
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class _Uses:
    """The counts that came with one nonce: the highest, and which of the :data:`WINDOW` below it, as bits."""

    issued_ms: int
    highest: int = 0
    bits: int = 0

    def take(self, count: int) -> bool:
        """Note *count*; False if it came before or may have."""
        if count > self.highest:
            self.bits = (self.bits << min(count - self.highest, WINDOW) | 1) & ((1 << WINDOW) - 1)
            self.highest = count
            return True
        if not self.is_new(count):
            return False
        self.bits |= 1 << (self.highest - count)
        return True

    def is_new(self, count: int) -> bool:
        """Tell whether *count* certainly didn't come before."""
        behind = self.highest - count
        return behind < 0 or (behind < WINDOW and not self.bits >> behind & 1)


class DigestServer:
    """Challenges requests and checks what comes back.

    *key* is at least 16 secret random octets, *algorithms* are offered in this order (RFC 8760 §2.3: the first is preferred), *lifetime_s*
    is how long a nonce may be used. ``now`` is in seconds of any clock that never goes back.
    """

    def __init__(self, accounts: Sequence[Account], realm: str, key: bytes, algorithms: Sequence[str], lifetime_s: float) -> None:
        self.realm = realm
        self._key = key
        self._algorithms = tuple(name for name in algorithms if name in ALGORITHMS)
        self._lifetime_ms = int(lifetime_s * 1000)
        self._hashes = {account.username: self._stored(account) for account in accounts}
        # what no password hashes to: a stranger's name costs the same work as a user's
        self._nobody = {name: ALGORITHMS[name](b"nobody:" + key) for name in self._algorithms}
        self._number = 0
        self._seen: OrderedDict[str, _Uses] = OrderedDict()
        self._forgotten_ms = -1

    def _stored(self, account: Account) -> dict[str, str]:
        stored = {name: text.lower() for name, text in account.hashes.items()}
        if account.password:
            text = f"{account.username}:{self.realm}:{account.password}".encode("utf-8", "surrogateescape")
            stored |= {name: ALGORITHMS[name](text) for name in self._algorithms}
        return stored

    def challenge(self, source: str, now: float, *, is_stale: bool = False) -> tuple[str, ...]:
        """Return WWW-Authenticate values for a request from the address *source*, one for each algorithm (RFC 8760 §2.3)."""
        nonce = self._new_nonce(source, now)
        stale = ", stale=true" if is_stale else ""
        realm = quote(self.realm)
        return tuple(f'Digest realm={realm}, nonce="{nonce}", algorithm={name}, qop="auth"{stale}' for name in self._algorithms)

    def check(self, request: Request, source: str, now: float) -> Verdict:
        """Return what the credentials of *request*, from the address *source*, are worth. Never raises."""
        params = self._params(request)
        if params is None:
            return Verdict(Result.MISSING)
        username, nonce, count = params["username"], params["nonce"], int(params["nc"], 16)
        issued_ms = self._issued(nonce, source)
        if issued_ms is None or not self._is_fresh(nonce, issued_ms, now):
            return Verdict(Result.STALE, username)
        uses = self._seen.get(nonce)
        if uses is not None and not uses.is_new(count):
            return Verdict(Result.REPLAYED, username)
        if not self._is_right(request, params):
            return Verdict(Result.WRONG, username)
        self._note(nonce, issued_ms, count, now)
        return Verdict(Result.ACCEPTED, username)

    def _params(self, request: Request) -> dict[str, str] | None:
        """Return the parameters of the credentials for our realm; None where there are none that follow our challenge."""
        for text in request.headers.lines("Authorization")[:MAX_HEADERS]:
            try:
                scheme, params = parse_auth(text)
            except ParseError:
                continue
            if scheme.lower() == "digest" and params.get("realm") == self.realm:
                return params if self._is_complete(params) else None
        return None

    def _is_complete(self, params: dict[str, str]) -> bool:
        """Tell whether *params* answer what was asked: a qop always, since without one nothing stops a replay (RFC 8760 §2.6)."""
        params["algorithm"] = params.get("algorithm", "MD5").upper()
        return (
            params["algorithm"] in self._algorithms
            and all(params.get(name) for name in ("username", "nonce", "uri", "response", "cnonce"))
            and params.get("qop", "").lower() == "auth"
            and _COUNT.fullmatch(params.get("nc", "")) is not None
            and int(params["nc"], 16) > 0
            and len(params["cnonce"]) <= MAX_CNONCE
        )

    def _is_right(self, request: Request, params: Mapping[str, str]) -> bool:
        algorithm = params["algorithm"]
        stored = self._hashes.get(params["username"], self._nobody).get(algorithm)
        expected = digest_response(
            algorithm,
            stored or self._nobody[algorithm],
            f"{params['nonce']}:{params['nc']}:{params['cnonce']}:{params['qop']}",
            f"{request.method}:{params['uri']}",
        )
        given = params["response"].lower().encode("utf-8", "surrogateescape")
        is_equal = hmac.compare_digest(expected.encode(), given)
        return is_equal and stored is not None and params["username"] in self._hashes and _is_for(params["uri"], request)

    # -- nonces -----------------------------------------------------------------------------------------------------------------------

    def _new_nonce(self, source: str, now: float) -> str:
        self._number = (self._number + 1) & 0xFFFFFF
        stamp = f"{int(now * 1000):012x}{self._number:06x}"
        return stamp + self._mac(stamp, source)

    def _mac(self, stamp: str, source: str) -> str:
        return hmac.digest(self._key, f"{stamp} {subnet_of(source)}".encode(), "sha256")[:_MAC_OCTETS].hex()

    def _issued(self, nonce: str, source: str) -> int | None:
        """Return when we gave *nonce* to *source*, None if we didn't."""
        if not _NONCE.fullmatch(nonce):
            return None
        stamp, mac = nonce[:_STAMP_DIGITS], nonce[_STAMP_DIGITS:]
        return int(stamp[:12], 16) if hmac.compare_digest(mac, self._mac(stamp, source)) else None

    def _is_fresh(self, nonce: str, issued_ms: int, now: float) -> bool:
        """Tell whether *nonce* may still be used: it isn't too old, and whether it was used before is still known."""
        return now * 1000 - issued_ms <= self._lifetime_ms and (issued_ms > self._forgotten_ms or nonce in self._seen)

    def _note(self, nonce: str, issued_ms: int, count: int, now: float) -> None:
        uses = self._seen.get(nonce)
        if uses is None:
            uses = self._seen[nonce] = _Uses(issued_ms)
        uses.take(count)
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drop nonces that can't be used any more; beyond the limit also others, and with them every unknown one that is as old."""
        while self._seen:
            nonce, first = next(iter(self._seen.items()))
            is_over = now * 1000 - first.issued_ms > self._lifetime_ms
            if not is_over and len(self._seen) <= MAX_SEEN:
                return
            if not is_over:
                self._forgotten_ms = max(self._forgotten_ms, first.issued_ms)
            del self._seen[nonce]


def subnet_of(source: str) -> str:
    """Return what stands for the host at the address *source*: itself, or the /64 of an IPv6 address; a mapped IPv4 address as IPv4."""
    try:
        address = ip_address(source.partition("%")[0])
    except ValueError:
        return source
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> IPV6_SUBNET << IPV6_SUBNET)) + f"/{IPV6_SUBNET}"
    return str(address)


def _is_for(text: str, request: Request) -> bool:
    """Tell whether the digest-uri *text* is the Request-URI of *request*; a proxy may have put another host in (RFC 8760 §2.6).

    The user part must be the same: it says which document runs.
    """
    try:
        uri, target = Uri.parse(text), request.request_uri
    except ParseError:
        return False
    if not uri.is_sip or not target.is_sip:
        return uri.text == target.text
    return uri.unescaped_user == target.unescaped_user
