"""Branches, which name transactions (RFC 3261 §8.1.1.7)."""

from sipua.entropy import system_bits
from sipua.message import MAGIC_COOKIE


def random_branch() -> str:
    """Return a branch that nobody can guess (RFC 3261 §8.1.1.7)."""
    return MAGIC_COOKIE + system_bits.token_hex(10)
