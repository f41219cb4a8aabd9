"""The network of one worker of several behind one address: its listeners' sockets are inherited, strays are handed over."""

import os
import socket
from collections.abc import Mapping

from sipua.transport.network import AsyncioNetwork, DatagramReceiver, DatagramSocket, HostPort, Listener, Opened
from sipua.transport.relay import Kind, Relay
from sipua.transport.sharing import Sharing
from sipua.transport.unreachable import UnreachableError


class WorkerNetwork(AsyncioNetwork):
    """*udp* and *tcp* have the inherited sockets by the address that they are bound to; other addresses are opened as usual."""

    def __init__(
        self, sharing: Sharing, relay: Relay, udp: Mapping[HostPort, socket.socket], tcp: Mapping[HostPort, socket.socket]
    ) -> None:
        super().__init__()
        self._sharing = sharing
        self._relay = relay
        self._udp = dict(udp)
        self._numbers = {address: number for number, address in enumerate(udp)}
        self._tcp = dict(tcp)
        self._receivers: dict[int, DatagramReceiver] = {}
        relay.handlers[Kind.DATAGRAM] = self._handed_over
        relay.handlers[Kind.UNREACHABLE] = self._handed_over_error

    async def open_udp(self, host: str, port: int, receiver: DatagramReceiver) -> DatagramSocket:
        """Use the inherited socket of this address, bind one where there is none."""
        sock = self._udp.pop((host, port), None)
        if sock is None:
            return await super().open_udp(host, port, receiver)
        number = self._numbers[host, port]
        self._receivers[number] = receiver
        return self.datagram_socket(sock, _Sorting(receiver, number, self._sharing, self._relay))

    async def listen_tcp(self, host: str, port: int, opened: Opened) -> Listener:
        """Accept from the inherited socket of this address, bind one where there is none."""
        sock = self._tcp.pop((host, port), None)
        return await (super().listen_tcp(host, port, opened) if sock is None else self.listen_at(sock, opened))

    def _handed_over(self, listener: int, source: HostPort, data: bytes, _error: int) -> None:
        receiver = self._receivers.get(listener)
        if receiver is not None:
            receiver.on_datagram(data, source)

    def _handed_over_error(self, listener: int, destination: HostPort, quoted: bytes, error: int) -> None:
        receiver = self._receivers.get(listener)
        if receiver is not None:
            receiver.on_datagram_error(UnreachableError(error, os.strerror(error), destination, quoted))


class _Sorting:
    """Stands before the receiver of one listener and keeps only what is ours."""

    def __init__(self, receiver: DatagramReceiver, listener: int, sharing: Sharing, relay: Relay) -> None:
        self._receiver = receiver
        self._listener = listener
        self._sharing = sharing
        self._relay = relay

    def on_datagram(self, data: bytes, source: HostPort) -> None:
        """Pass a datagram up, or over."""
        owner = self._sharing.owner_of(data)
        if owner == self._sharing.worker:
            self._receiver.on_datagram(data, source)
        else:
            self._relay.send(owner, Kind.DATAGRAM, self._listener, source, data)

    def on_datagram_error(self, error: OSError) -> None:
        """Pass an error up, or over: the kernel tells any socket of the group."""
        if isinstance(error, UnreachableError):
            sender = self._sharing.sender_of(error.quoted)
            if sender != self._sharing.worker:
                self._relay.send(sender, Kind.UNREACHABLE, self._listener, error.destination, error.quoted, error.errno or 0)
                return
        self._receiver.on_datagram_error(error)
