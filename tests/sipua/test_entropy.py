"""Random bits: as good as the operating system's, fetched in advance, never twice."""

import os
import random

import pytest

from sipua import entropy
from sipua.entropy import POOL_OCTETS, SystemBits, system_bits


def test_every_octet_of_the_pool_is_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[int] = []

    def urandom(octets: int) -> bytes:
        fetched.append(octets)
        return random.Random(len(fetched)).randbytes(octets)

    monkeypatch.setattr(os, "urandom", urandom)
    bits = SystemBits()
    taken = b"".join(bits.getrandbits(64).to_bytes(8, "big") for _ in range(POOL_OCTETS // 8 + 1))
    assert fetched == [POOL_OCTETS] * 2
    assert taken == random.Random(1).randbytes(POOL_OCTETS) + random.Random(2).randbytes(POOL_OCTETS)[:8]


def test_a_rest_of_the_pool_that_does_not_suffice_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda octets: bytes(octets - 1) + b"\xff")
    bits = SystemBits()
    for _ in range(POOL_OCTETS // 5):
        assert bits.getrandbits(40) == 0
    assert bits.getrandbits(40) == 0, "one octet was left of the first pool, and it is not zero"


@pytest.mark.parametrize("width", [0, 1, 7, 8, 9, 31, 64, 80, 128, POOL_OCTETS * 8, POOL_OCTETS * 8 + 1])
def test_numbers_have_the_width_that_was_asked_for(width: int) -> None:
    seen = 0
    for _ in range(64):
        number = system_bits.getrandbits(width)
        assert 0 <= number < 1 << width
        seen |= number
    assert seen.bit_length() == width, "64 draws miss the first bit once in 2**64"


def test_a_negative_number_of_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        system_bits.getrandbits(-1)


def test_ranges_and_tokens_come_out_of_the_pool() -> None:
    assert {system_bits.randrange(4) for _ in range(400)} == {0, 1, 2, 3}
    assert len(system_bits.token_hex(10)) == 20
    assert len({system_bits.token_hex(8) for _ in range(2000)}) == 2000


def test_a_forked_process_does_not_go_on_with_the_same_bits() -> None:
    system_bits.getrandbits(8)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, entropy.system_bits.token_hex(16).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 100).decode()
    os.close(reader)
    os.close(writer)
    assert len(theirs) == 32
    assert theirs != system_bits.token_hex(16)
