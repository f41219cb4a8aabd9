"""Random bits: as good as the operating system's, fetched in advance, never twice."""

import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from sipua import entropy
from sipua.entropy import MAX_POOLED_BITS, POOL_OCTETS, SystemBits, hex_digits, system_bits


def test_every_word_of_the_pool_is_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[bytes] = []

    def urandom(octets: int) -> bytes:
        fetched.append(random.Random(len(fetched)).randbytes(octets))
        return fetched[-1]

    monkeypatch.setattr(os, "urandom", urandom)
    bits = SystemBits()
    taken = [bits.getrandbits(32).to_bytes(4, "big") for _ in range(POOL_OCTETS // 4)]
    assert len(fetched) == 1
    assert sorted(taken) == sorted(fetched[0][at : at + 4] for at in range(0, POOL_OCTETS, 4))
    bits.getrandbits(1)
    assert [len(each) for each in fetched] == [POOL_OCTETS] * 2


def test_a_number_may_begin_in_one_pool_and_end_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = iter(b"\x55\xaa")
    monkeypatch.setattr(os, "urandom", lambda count: bytes([next(octets)]) * count)
    bits = SystemBits()
    for _ in range(POOL_OCTETS // 4 - 1):
        assert bits.getrandbits(32) == 0x55555555
    assert bits.getrandbits(40) == 0x55555555_AA


def test_threads_that_ask_at_once_get_different_bits() -> None:
    bits = SystemBits()
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            parts = list(threads.map(lambda _: [bits.getrandbits(96) for _ in range(20_000)], range(4)))
    finally:
        sys.setswitchinterval(usual)
    assert len({number for part in parts for number in part}) == 80_000


@pytest.mark.parametrize("width", [0, 1, 7, 8, 9, 31, 64, 80, 128, MAX_POOLED_BITS, MAX_POOLED_BITS + 1])
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


@pytest.mark.parametrize("octets", [1, 3, 4, 8, 10, 16])
@pytest.mark.parametrize("rng", [system_bits, random.Random(7)])
def test_digits_come_from_any_generator(rng: random.Random, octets: int) -> None:
    seen = {hex_digits(rng, octets) for _ in range(200)}
    assert {len(digits) for digits in seen} == {2 * octets}
    assert set("".join(seen)) == set("0123456789abcdef")
    assert len(seen) > 100


@pytest.mark.parametrize("octets", [0, -1, -5])
def test_no_digits_can_be_asked_for(octets: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        system_bits.token_hex(octets)
