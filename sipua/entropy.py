"""Random bits from the operating system, fetched in advance: a call needs ten numbers that nobody can guess."""

import os
import random
from typing import Final

POOL_OCTETS: Final = 4096
"""Fetched with one system call, the largest part of what a single number would cost."""


class SystemBits(random.SystemRandom):
    """The generator :class:`random.SystemRandom`, whose integers come out of a pool. Each octet of it is used once.

    For one thread: two that ask at the same time may get the same bits.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pool = b""
        self._used = 0

    def getrandbits(self, k: int, /) -> int:
        """Return *k* random bits as an integer. Raises ValueError for a negative number of them."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        octets = (k + 7) >> 3
        begin = self._used
        end = begin + octets
        if end > len(self._pool):
            if octets > POOL_OCTETS:
                return super().getrandbits(k)
            self._pool = os.urandom(POOL_OCTETS)
            begin, end = 0, octets
        self._used = end
        return int.from_bytes(self._pool[begin:end], "big") >> (octets * 8 - k)

    def token_hex(self, octets: int) -> str:
        """Return *octets* random octets as hexadecimal text."""
        return f"{self.getrandbits(octets * 8):0{octets * 2}x}"

    def forget(self) -> None:
        """Fetch the next bits anew."""
        self._pool = b""
        self._used = 0


system_bits: Final = SystemBits()
"""What everybody shares who needs no repeatable numbers."""

os.register_at_fork(after_in_child=system_bits.forget)  # two processes with the same pool would use the same tags
