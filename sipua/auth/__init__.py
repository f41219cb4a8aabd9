"""Pure. Digest authentication as a client and as a server (RFC 3261 §22, RFC 7616, RFC 8760)."""

from sipua.auth.credentials import Attempt, Authenticator, Credential
from sipua.auth.digest import Challenge
from sipua.auth.server import Account, DigestServer, Result, Verdict

__all__ = ["Account", "Attempt", "Authenticator", "Challenge", "Credential", "DigestServer", "Result", "Verdict"]
