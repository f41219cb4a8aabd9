"""RTP: packets, ports and the socket of a call that plays nothing (RFC 3550, RFC 3551)."""

from sipua.rtp.packet import RtpPacket, build_packet, parse_packet
from sipua.rtp.ports import PortAllocator
from sipua.rtp.session import RtpCounters, RtpSession
from sipua.rtp.silence import SilenceClock

__all__ = ["PortAllocator", "RtpCounters", "RtpPacket", "RtpSession", "SilenceClock", "build_packet", "parse_packet"]
