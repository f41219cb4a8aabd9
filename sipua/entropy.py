"""Random bits from the operating system, fetched in advance: a call needs ten numbers that nobody can guess."""

import os
import random
from typing import Final

POOL_OCTETS: Final = 4096
"""Fetched with one system call, the largest part of what a single number would cost."""

MAX_POOLED_BITS: Final = 512
"""Larger numbers, which no call needs, are fetched by themselves."""

_WORD_BITS: Final = 32
_WORD_DIGITS: Final = _WORD_BITS // 4
_POOL_DIGITS: Final = POOL_OCTETS * 2


class SystemBits(random.SystemRandom):
    """The generator :class:`random.SystemRandom`, whose integers come out of a pool, each word of which is used once.

    Threads may ask at the same time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pool: list[str] = []

    def getrandbits(self, k: int, /) -> int:
        """Return *k* random bits as an integer. Raises ValueError for a negative number of them."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        if k > MAX_POOLED_BITS:
            return super().getrandbits(k)
        if not k:
            return 0
        digits = self.token_hex(-(-k // 8))
        return int(digits, 16) >> (len(digits) * 4 - k)

    def _word(self) -> str:
        pool = self._pool
        while True:
            try:
                return pool.pop()  # one step for the interpreter: no other thread gets the same
            except IndexError:
                text = os.urandom(POOL_OCTETS).hex()
                pool.extend([text[at : at + _WORD_DIGITS] for at in range(0, _POOL_DIGITS, _WORD_DIGITS)])

    def token_hex(self, octets: int) -> str:
        """Return *octets* random octets, at least one, as hexadecimal text: no large integer is made on the way. Raises ValueError."""
        if octets < 1:
            raise ValueError("number of octets must be positive")
        word, digits = self._word, octets * 2
        text = word()
        while len(text) < digits:
            text += word()
        return text[:digits]

    def forget(self) -> None:
        """Fetch the next bits anew."""
        self._pool.clear()


def hex_digits(rng: random.Random, octets: int) -> str:
    """Return *octets* random octets of *rng* as hexadecimal text."""
    return rng.token_hex(octets) if isinstance(rng, SystemBits) else f"{rng.getrandbits(octets * 8):0{octets * 2}x}"


system_bits: Final = SystemBits()
"""What everybody shares who needs no repeatable numbers."""

os.register_at_fork(after_in_child=system_bits.forget)  # two processes with the same pool would use the same tags
