"""Messages that came on one worker's connection and are another's: that one is lent the connection (docs/spec/workers.md).

The borrower sees a stream like any other, on which only its own messages come. What it writes leaves by the real one.
"""

import asyncio
import json
import secrets
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sipua.errors import TransportError
from sipua.message import Request, Response
from sipua.transport.base import Channel, Transports, TransportUser
from sipua.transport.network import HostPort, Stream, StreamReceiver
from sipua.transport.relay import NOWHERE, Kind, Relay
from sipua.transport.sharing import Sharing

_NUMBER = struct.Struct("!Q")

Adopt = Callable[[Stream], StreamReceiver | None]
"""Makes a connection of a stream that is ready, and returns who reads it; None when it is refused."""


class LentStream:
    """A stream of the worker *lender* (:class:`sipua.transport.network.Stream`). *way* says whose it is."""

    unsent = 0  # what a peer doesn't read is seen by the lender

    def __init__(self, way: Mapping[str, Any], lender: int, write: Callable[[bytes], None], forget: Callable[[], None]) -> None:
        self.transport: str = way["transport"]
        self.identity: tuple[str, ...] = tuple(way["identity"])
        self.local: HostPort = (way["local"][0], way["local"][1])
        self.remote: HostPort = (way["remote"][0], way["remote"][1])
        self.lender = lender
        self.receiver: StreamReceiver | None = None
        self._write = write
        self._forget = forget

    def write(self, data: bytes) -> None:
        """Let the lender write."""
        self._write(data)

    def close(self) -> None:
        """Give the stream back; for others it stays open."""
        self._forget()
        self.closed()

    abort = close

    def closed(self) -> None:
        """Tell the reader, in its own turn, that the stream is no more."""
        if self.receiver is not None:
            asyncio.get_running_loop().call_soon(self.receiver.on_closed)
            self.receiver = None


@dataclass(slots=True)
class _Loan:
    """A connection of ours, and the workers that have borrowed it; *release* ends our watch for its close."""

    channel: Channel
    borrowers: set[int]
    release: Callable[[], None]


class Lending:
    """Stands between the transport layer and its user, and hands over what comes on a connection and is another worker's.

    Connections have random numbers, so that a successor never writes on one of its own what was meant for its predecessor's. One that is
    lent stays open while a borrower has it.
    """

    def __init__(self, sharing: Sharing, relay: Relay, adopt: Adopt) -> None:
        self._sharing = sharing
        self._relay = relay
        self._adopt = adopt
        self._loans: dict[int, _Loan] = {}
        self._numbers: dict[Channel, int] = {}
        self._lent: dict[int, LentStream] = {}
        self._borrowed: set[object] = set()
        relay.handlers[Kind.LENT] = self._on_lent
        relay.handlers[Kind.WRITE] = self._on_write
        relay.handlers[Kind.CLOSED] = self._on_closed

    def stand_before(self, transports: Transports) -> None:
        """Take the place of the user of *transports*, who gets what is ours."""
        if transports.user is None:
            raise ValueError("the transports have no user")
        self._user: TransportUser = transports.user
        transports.user = self

    # -- the lender -------------------------------------------------------------------------------------------------------------------

    def on_request(self, request: Request, channel: Channel) -> None:
        """Pass a request up, or over."""
        if not self._hand_over(request, channel):
            self._user.on_request(request, channel)

    def on_response(self, response: Response, channel: Channel) -> None:
        """Pass a response up, or over."""
        if not self._hand_over(response, channel):
            self._user.on_response(response, channel)

    def _hand_over(self, message: Request | Response, channel: Channel) -> bool:
        if not channel.remote.is_reliable or channel in self._borrowed:
            return False  # a datagram was looked at before it was parsed; what was handed over once stays
        owner = self._sharing.owner_of_message(message)
        if owner == self._sharing.worker:
            return False
        remote, local = channel.remote, channel.local
        way = {"number": self._lend(channel, owner), "transport": remote.transport, "identity": channel.identity}
        way |= {"local": (local.host, local.port), "remote": (remote.host, remote.port)}
        self._send(owner, Kind.LENT, json.dumps(way).encode() + b"\n" + message.encode())
        return True

    def _lend(self, channel: Channel, borrower: int) -> int:
        number = self._numbers.get(channel)
        if number is None:
            number = self._numbers[channel] = secrets.randbits(64)
            self._loans[number] = _Loan(channel, set(), channel.on_close(lambda: self._lost(number)))
        self._loans[number].borrowers.add(borrower)
        return number

    def _lost(self, number: int) -> None:
        """A connection that is lent was closed."""
        loan = self._loans.pop(number)
        del self._numbers[loan.channel]
        for borrower in loan.borrowers:
            self._send(borrower, Kind.CLOSED, _NUMBER.pack(number))

    def _give_back(self, number: int, borrowers: set[int]) -> None:
        loan = self._loans[number]
        loan.borrowers -= borrowers
        if not loan.borrowers:
            loan.release()
            del self._numbers[self._loans.pop(number).channel]

    def forget(self, worker: int) -> None:
        """*worker* is dead: what it has borrowed is given back, what it has lent is closed."""
        for number in [number for number, loan in self._loans.items() if worker in loan.borrowers]:
            self._give_back(number, {worker})
        for stream in [stream for stream in self._lent.values() if stream.lender == worker]:
            stream.close()

    def _on_write(self, worker: int, _address: object, frame: bytes, _error: int) -> None:
        """*worker* writes on a connection of ours."""
        loan = self._loans.get(_NUMBER.unpack_from(frame)[0])
        if loan is None:
            self._send(worker, Kind.CLOSED, frame[: _NUMBER.size])
            return
        try:
            loan.channel.send(frame[_NUMBER.size :])
        except TransportError:
            self._send(worker, Kind.CLOSED, frame[: _NUMBER.size])

    # -- the borrower -----------------------------------------------------------------------------------------------------------------

    def _on_lent(self, worker: int, _address: object, frame: bytes, _error: int) -> None:
        """A message of ours came to *worker*."""
        text, _, data = frame.partition(b"\n")
        way = json.loads(text)
        stream = self._lent.get(way["number"]) or self._borrow(way, worker)
        if stream is not None and stream.receiver is not None:
            stream.receiver.on_data(data)

    def _borrow(self, way: Mapping[str, Any], lender: int) -> LentStream | None:
        number: int = way["number"]
        packed = _NUMBER.pack(number)

        def write(data: bytes) -> None:
            self._send(lender, Kind.WRITE, packed + data)

        def forget() -> None:
            if self._lent.pop(number, None) is not None:
                self._borrowed.discard(stream.receiver)
                self._send(lender, Kind.CLOSED, packed)

        stream = LentStream(way, lender, write, forget)
        stream.receiver = self._adopt(stream)
        if stream.receiver is None:
            return None
        self._lent[number] = stream
        self._borrowed.add(stream.receiver)
        return stream

    def _on_closed(self, worker: int, _address: object, frame: bytes, _error: int) -> None:
        """*worker* gives a connection of ours back, or one of its own that it has lent to us is no more."""
        (number,) = _NUMBER.unpack_from(frame)
        if number in self._loans:
            self._give_back(number, {worker})
        stream = self._lent.pop(number, None)
        if stream is not None:
            self._borrowed.discard(stream.receiver)
            stream.closed()

    def _send(self, worker: int, kind: Kind, data: bytes) -> None:
        self._relay.send(worker, kind, self._sharing.worker, NOWHERE, data)
