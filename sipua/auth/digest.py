"""Pure. Challenges and the digest itself (RFC 7616 §3.4, RFC 8760 §2)."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from sipua.errors import ParseError
from sipua.message.grammar import TOKEN, quote, unquote

MAX_CHALLENGE_LENGTH = 4096  # nonces are below 300 characters in the field

_SCHEME = re.compile(rf"\s*({TOKEN})\s+")
# the possessive quantifiers keep white space without an end from costing quadratic time
_PARAM = re.compile(rf'\s*+({TOKEN})\s*+=\s*+("(?:[^"\\]|\\.)*+"|[^\s",]*+)\s*+(?:,|$)')


def _hash(name: str) -> Callable[[bytes], str]:
    return lambda data: hashlib.new(name, data, usedforsecurity=False).hexdigest()


ALGORITHMS: dict[str, Callable[[bytes], str]] = {
    name: _hash(hashed)
    for name, hashed in (("MD5", "md5"), ("SHA-256", "sha256"), ("SHA-512-256", "sha512_256"))
    if hashed in hashlib.algorithms_available
}
"""Hash by algorithm name without ``-sess``. SHA-512-256 is SHA-512/256 of FIPS 180-4, not SHA-512 cut (RFC 8760 §2.2)."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A WWW-Authenticate or Proxy-Authenticate value of scheme Digest."""

    realm: str
    nonce: str
    algorithm: str = "MD5"
    opaque: str | None = None
    qops: tuple[str, ...] = ()
    is_stale: bool = False
    is_session: bool = field(default=False)

    @classmethod
    def parse(cls, text: str) -> "Challenge | None":
        """Parse one value; None for a scheme, algorithm or qop that we don't speak: another challenge may serve (RFC 8760 §2.4).

        Raises :class:`ParseError` for a broken one.
        """
        scheme, params = parse_auth(text)
        if scheme.lower() != "digest":
            return None
        algorithm = params.get("algorithm", "MD5").upper()
        is_session = algorithm.endswith("-SESS")
        base = algorithm.removesuffix("-SESS")
        qops = tuple(q.strip().lower() for q in params.get("qop", "").split(",") if q.strip())
        if base not in ALGORITHMS or (qops and not {"auth", "auth-int"} & set(qops)):
            return None
        if "nonce" not in params or "realm" not in params:
            raise ParseError("challenge without nonce or realm")
        return cls(
            realm=params["realm"],
            nonce=params["nonce"],
            algorithm=base,
            opaque=params.get("opaque"),
            qops=qops,
            is_stale=params.get("stale", "").lower() == "true",
            is_session=is_session,
        )


def parse_auth(text: str) -> tuple[str, dict[str, str]]:
    """Split a challenge or credentials into scheme and parameters (names in lower case, values unquoted). Raises :class:`ParseError`."""
    if len(text) > MAX_CHALLENGE_LENGTH:
        raise ParseError("challenge too long")
    match = _SCHEME.match(text)
    if match is None:
        raise ParseError("broken challenge")
    params: dict[str, str] = {}
    position = match.end()
    while position < len(text):
        param = _PARAM.match(text, position)
        if param is None or param.end() == position:
            raise ParseError("broken challenge parameter")
        params.setdefault(param[1].lower(), unquote(param[2]))
        position = param.end()
    return match[1], params


def digest_response(algorithm: str, a1_hash: str, middle: str, a2: str) -> str:
    """Return the digest itself (RFC 7616 §3.4.1): *middle* is what stands between H(A1) and H(A2)."""
    hashed = ALGORITHMS[algorithm]
    a2_hash = hashed(a2.encode("utf-8", "surrogateescape"))
    return hashed(f"{a1_hash}:{middle}:{a2_hash}".encode("utf-8", "surrogateescape"))


def make_credentials(challenge: Challenge, username: str, password: str, method: str, uri: str, body: bytes, nc: int, cnonce: str) -> str:
    """Return the Authorization value for *challenge* (RFC 7616 §3.4.1).

    *uri* is the Request-URI as sent, *nc* counts the requests with this nonce from 1; *cnonce* is used when the challenge offers a qop.
    """
    hashed = ALGORITHMS[challenge.algorithm]

    def h(text: str) -> str:
        return hashed(text.encode("utf-8", "surrogateescape"))

    a1 = h(f"{username}:{challenge.realm}:{password}")
    if challenge.is_session:
        a1 = h(f"{a1}:{challenge.nonce}:{cnonce}")
    qop = "" if not challenge.qops else "auth" if "auth" in challenge.qops else "auth-int"
    a2 = f"{method}:{uri}"
    if qop == "auth-int":
        a2 += f":{hashed(body)}"
    count = f"{nc:08x}"
    middle = f"{challenge.nonce}:{count}:{cnonce}:{qop}" if qop else challenge.nonce
    response = digest_response(challenge.algorithm, a1, middle, a2)
    parts = [
        f"username={quote(username)}",
        f"realm={quote(challenge.realm)}",
        f"nonce={quote(challenge.nonce)}",
        f"uri={quote(uri)}",
        f'response="{response}"',
        f"algorithm={challenge.algorithm}{'-sess' if challenge.is_session else ''}",
    ]
    if qop:
        parts += [f"qop={qop}", f"nc={count}", f"cnonce={quote(cnonce)}"]
    elif challenge.is_session:
        parts.append(f"cnonce={quote(cnonce)}")
    if challenge.opaque is not None:
        parts.append(f"opaque={quote(challenge.opaque)}")
    return "Digest " + ", ".join(parts)
