"""Pure. Digest authentication as a client (RFC 3261 §22, RFC 7616, RFC 8760)."""

from sipua.auth.credentials import Attempt, Authenticator, Credential
from sipua.auth.digest import Challenge

__all__ = ["Attempt", "Authenticator", "Challenge", "Credential"]
