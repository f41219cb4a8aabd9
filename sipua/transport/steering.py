"""Pure. A program for the kernel that gives a datagram to the socket of its worker, of several that are bound to one port.

It is a classic BPF program for ``SO_ATTACH_REUSEPORT_CBPF``, which anybody may set: it looks for ``Call-ID:`` in the datagram, computes
:func:`sipua.transport.sharing.call_hash` and returns the number of a socket in the order of their binding. What it can't read it leaves to
the kernel, which goes by addresses. It is there for speed alone: whoever gets a datagram looks whose it is.

Such programs have no loops: the search is written out for each word, the hash for each octet. Numbers of instructions are in
``<linux/bpf_common.h>``.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sipua.transport.sharing import HASHED_OCTETS, MIX, PRIME

MAX_INSTRUCTIONS: Final = 4096  # BPF_MAXINSNS
WINDOWS: Final = (1024, 512)
"""How far into a datagram the program looks, the widest first: older kernels have no room for it."""

_NO_WORKER: Final = 0xFFFFFFFF  # no socket has this number: the kernel goes by addresses
_LOWER: Final = 0x20202020  # set, it makes letters small
_NAME: Final = b"\ncall-id:"
_SHIFTS: Final = (4, 5, 2, 3)  # of words within _NAME: one of them is aligned wherever it stands, and each is rare elsewhere
_WORDS_A_CHECK: Final = 8  # for which the length of the datagram is looked at once
_INDEX, _REMAINDER, _OCTET = range(3)  # of the scratch memory


class Op:
    """The instructions that are used."""

    LD_WORD = 0x20
    LD_LENGTH = 0x80
    LD_IND_WORD = 0x40
    LD_IND_BYTE = 0x50
    LD_IMM = 0x00
    LD_MEM = 0x60
    LDX_IMM = 0x01
    LDX_MEM = 0x61
    ST = 0x02
    ADD_X = 0x0C
    ADD = 0x04
    SUB = 0x14
    MUL = 0x24
    DIV = 0x34
    OR = 0x44
    LSH = 0x64
    RSH = 0x74
    MOD = 0x94
    XOR_X = 0xAC
    JA = 0x05
    JEQ = 0x15
    JGT = 0x25
    JGE = 0x35
    RET = 0x06
    RET_A = 0x16
    TAX = 0x07
    TXA = 0x87


@dataclass(slots=True)
class Instruction:
    """One instruction; *yes* and *no* are labels to jump to, ``""`` for the next one."""

    op: int
    value: int = 0
    yes: str = ""
    no: str = ""


@dataclass(slots=True)
class Assembler:
    """Collects instructions and labels; only forward jumps are possible."""

    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def put(self, op: int, value: int = 0) -> None:
        """Append an instruction."""
        self.code.append(Instruction(op, value))

    def jump(self, label: str) -> None:
        """Go on at *label*."""
        self.code.append(Instruction(Op.JA, 0, label))

    def when(self, op: int, value: int, label: str) -> None:
        """Go on at *label*, less than 256 instructions away, when the condition holds."""
        self.code.append(Instruction(op, value, label, ""))

    def require(self, op: int, value: int, otherwise: str) -> None:
        """Go on at *otherwise*, however far, unless the condition holds."""
        here = f"#{len(self.code)}"
        self.when(op, value, here)
        self.jump(otherwise)
        self.mark(here)

    def mark(self, label: str) -> None:
        """Let *label* stand for the next instruction."""
        self.labels[label] = len(self.code)

    def finish(self) -> bytes:
        """Return the program as the kernel takes it."""
        if len(self.code) > MAX_INSTRUCTIONS:
            raise ValueError(f"{len(self.code)} instructions are too many")
        return b"".join(self._packed(place, each) for place, each in enumerate(self.code))

    def _packed(self, place: int, each: Instruction) -> bytes:
        yes, no = (self.labels[label] - place - 1 if label else 0 for label in (each.yes, each.no))
        if each.op == Op.JA:
            return struct.pack("=HBBI", each.op, 0, 0, yes)
        return struct.pack("=HBBI", each.op, yes, no, each.value)


def steering_program(count: int, live: Sequence[int], window: int = WINDOWS[0]) -> bytes:
    """Return the program for *count* workers of which those in *live* serve; it looks for Call-ID in the first *window* octets."""
    program = Assembler()
    _find_call_id(program, window)
    _hash(program)
    _choose(program, count, tuple(live))
    program.mark("unknown")
    program.put(Op.RET, _NO_WORKER)
    return program.finish()


def _find_call_id(program: Assembler, window: int) -> None:
    """Set X to the place of the line feed before Call-ID."""
    for start in range(0, window, 4 * _WORDS_A_CHECK):
        program.put(Op.LD_LENGTH)
        program.require(Op.JGE, start + 4 * _WORDS_A_CHECK, "unknown")
        for place in range(start, start + 4 * _WORDS_A_CHECK, 4):
            program.put(Op.LDX_IMM, place)
            program.put(Op.LD_WORD, place)
            program.put(Op.OR, _LOWER)
            for shift in _SHIFTS:
                program.when(Op.JEQ, _word(shift), f"{start} shift {shift}")
        program.jump(f"{start} no")
        for shift in _SHIFTS:
            program.mark(f"{start} shift {shift}")
            program.put(Op.TXA)
            program.put(Op.SUB, shift)
            program.jump(f"{start} look")
        program.mark(f"{start} look")
        program.put(Op.TAX)
        _expect(program, 0, f"{start} no")
        _expect(program, 4, f"{start} no")
        program.jump("found")
        program.mark(f"{start} no")
    program.jump("unknown")
    program.mark("found")


def _word(shift: int) -> int:
    return int.from_bytes(_NAME[shift : shift + 4]) | _LOWER


def _expect(program: Assembler, place: int, otherwise: str) -> None:
    """Go on only when the word at X + *place* is that of the name, whatever the case."""
    program.put(Op.LD_IND_WORD, place)
    program.put(Op.OR, _LOWER)
    program.require(Op.JEQ, _word(place), otherwise)


def _hash(program: Assembler) -> None:
    """Put the hash of the value behind the name at X into A.

    A datagram that ends within the value is no message: reading behind its end gives it to the first socket.
    """
    program.put(Op.TXA)
    program.put(Op.ADD, len(_NAME))
    program.put(Op.ST, _INDEX)
    program.put(Op.LD_IND_BYTE, len(_NAME) - 1)
    program.require(Op.JEQ, ord(":"), "unknown")
    program.put(Op.LD_IND_BYTE, len(_NAME))
    program.require(Op.JEQ, ord(" "), "value")
    program.put(Op.LD_MEM, _INDEX)
    program.put(Op.ADD, 1)
    program.put(Op.ST, _INDEX)
    program.mark("value")
    program.put(Op.LD_IMM, 0)
    program.put(Op.ST, _REMAINDER)
    for place in range(HASHED_OCTETS):
        _add_octet(program, place)
    program.mark("hashed")
    program.put(Op.LD_MEM, _REMAINDER)
    for shift, factor in MIX:
        program.put(Op.TAX)
        program.put(Op.RSH, shift)
        program.put(Op.XOR_X)
        program.put(Op.MUL, factor)


def _add_octet(program: Assembler, place: int) -> None:
    """Add the octet at *place* of the value to the remainder of all octets as one number; white space ends the value."""
    program.put(Op.LDX_MEM, _INDEX)
    program.put(Op.LD_IND_BYTE, place)
    program.require(Op.JGT, ord(" "), "hashed")
    program.put(Op.ST, _OCTET)
    program.put(Op.LDX_MEM, _OCTET)
    program.put(Op.LD_MEM, _REMAINDER)
    program.put(Op.LSH, 8)
    program.put(Op.ADD_X)
    program.put(Op.MOD, PRIME)
    program.put(Op.ST, _REMAINDER)


def _choose(program: Assembler, count: int, live: tuple[int, ...]) -> None:
    """Return the worker for the hash in A: see :func:`sipua.transport.sharing.owner_by_hash`."""
    if not live:
        return
    program.put(Op.ST, _INDEX)
    program.put(Op.MOD, count)
    for worker in range(count):
        if worker not in live:
            program.when(Op.JEQ, worker, "absent")
    program.put(Op.RET_A)
    program.mark("absent")
    program.put(Op.LD_MEM, _INDEX)
    program.put(Op.DIV, count)
    program.put(Op.MOD, len(live))
    for place, worker in enumerate(live):
        another = f"not {place}"
        program.require(Op.JEQ, place, another)
        program.put(Op.RET, worker)
        program.mark(another)
