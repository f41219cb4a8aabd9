"""Pure. What silence looks like in G.711 (ITU-T G.711; RFC 3551 §4.5.14)."""

from sipua.sdp.model import CLOCK_RATE, Codec

PACKET_MS = 20
"""Audio in one packet, in milliseconds (RFC 3551 §4.2)."""

SAMPLES_PER_PACKET = CLOCK_RATE * PACKET_MS // 1000
"""Samples, and octets, in one packet."""

_ZERO = {Codec.PCMU: 0xFF, Codec.PCMA: 0xD5}  # the code words of amplitude +0, even bits inverted in A-law

SILENCE = {codec: bytes([zero]) * SAMPLES_PER_PACKET for codec, zero in _ZERO.items()}
"""One packet's payload of silence by codec."""
