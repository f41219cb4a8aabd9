"""The network: UDP and TCP, an in-memory one for tests, and the routing of requests and responses (RFC 3261 §18)."""

from sipua.transport.base import Channel, Endpoint, Transports, TransportUser
from sipua.transport.layer import TransportLayer
from sipua.transport.memory import MemoryHost, MemoryNetwork, Packet
from sipua.transport.network import AsyncioNetwork, Network
from sipua.transport.resolver import Resolver

__all__ = [
    "AsyncioNetwork",
    "Channel",
    "Endpoint",
    "MemoryHost",
    "MemoryNetwork",
    "Network",
    "Packet",
    "Resolver",
    "TransportLayer",
    "TransportUser",
    "Transports",
]
