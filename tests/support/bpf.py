"""Runs classic BPF programs as the kernel does, so that those for sockets can be tested without sockets."""

import struct

_SIZE = struct.calcsize("=HBBI")


def run(program: bytes, packet: bytes) -> int:
    """Return what *program* returns for *packet*; reading behind its end returns 0, as in the kernel."""
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), _SIZE)]
    a = x = place = 0
    memory = [0] * 16
    while True:
        op, yes, no, k = code[place]
        place += 1
        kind = op & 0x07
        if kind == 0x06:
            return a if op & 0x10 else k
        if kind == 0x00:
            mode = op & 0xE0
            if mode in (0x20, 0x40):
                size, at = {0x00: 4, 0x08: 2, 0x10: 1}[op & 0x18], k + (x if mode == 0x40 else 0)
                if at + size > len(packet):
                    return 0
                a = int.from_bytes(packet[at : at + size], "big")
            else:
                a = {0x00: k, 0x60: memory[k & 15], 0x80: len(packet)}[mode]
        elif kind == 0x01:
            x = {0x00: k, 0x60: memory[k & 15]}[op & 0xE0]
        elif kind == 0x02:
            memory[k] = a
        elif kind == 0x04:
            a = _calculate(op & 0xF0, a, x if op & 0x08 else k)
        elif kind == 0x05:
            other = x if op & 0x08 else k
            condition = op & 0xF0
            if condition == 0x00:
                place += k
            else:
                place += yes if {0x10: a == other, 0x20: a > other, 0x30: a >= other}[condition] else no
        elif op & 0x80:
            a = x
        else:
            x = a


def _calculate(op: int, a: int, other: int) -> int:
    match op:
        case 0x00:
            result = a + other
        case 0x10:
            result = a - other
        case 0x20:
            result = a * other
        case 0x30:
            result = a // other
        case 0x40:
            result = a | other
        case 0x60:
            result = a << other
        case 0x70:
            result = a >> other
        case 0x90:
            result = a % other
        case 0xA0:
            result = a ^ other
        case _:
            raise AssertionError(f"operation {op:#x}")
    return result & 0xFFFFFFFF
