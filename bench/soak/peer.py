"""The caller of the soak: a raw SIP endpoint on real sockets that does what a story says, well or badly.

It sends requests again and answers repeated ones as RFC 3261 wants it, and loses packets of calls whose stories want that. It is no user
agent: what it sends is written out, and it believes nothing but status codes, tags and Contact.
"""

import asyncio
import random
import re
from collections.abc import Callable
from typing import cast

T1_S, T2_S = 0.5, 4.0
GIVE_UP_S = 64 * T1_S
LINGER_S = GIVE_UP_S + 3
"""How long repeated requests of a call that is over are still answered."""
CRLF2 = b"\r\n\r\n"

_LENGTH = re.compile(rb"\r\n(?:content-length|l) *: *(\d+)", re.IGNORECASE)
_URI = re.compile(r"<([^>]*)>")
_ECHOED = ("via", "from", "to", "call-id", "cseq")
OFFER = (
    "v=0\r\no=soak 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 9 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)

Address = tuple[str, int]
Send = Callable[[bytes], None]


class CallError(Exception):
    """The other side did not do what the story needs; the text says what."""


class Received:
    """A message: its first line, and the lines of the header fields by lower-case name."""

    def __init__(self, data: bytes) -> None:
        head = data.partition(CRLF2)[0].decode("utf-8", "replace")
        self.start, *lines = head.split("\r\n")
        self.lines: dict[str, list[str]] = {}
        for line in lines:
            self.lines.setdefault(line.partition(":")[0].strip().lower(), []).append(line)
        number, _, self.method = self.value("cseq").partition(" ")
        self.cseq = int(number) if number.isdigit() else 0

    def value(self, name: str) -> str:
        """Return the first value of a header field, ``""`` without one."""
        lines = self.lines.get(name)
        return lines[0].partition(":")[2].strip() if lines else ""

    @property
    def status(self) -> int:
        """The status code of a response, 0 of a request."""
        return int(self.start[8:11]) if self.start.startswith("SIP/2.0 ") else 0


class RawCall:
    """One call: stories ``ask``, ``expect`` and ``reply``."""

    def __init__(self, number: int, target: str, contact: str, transport: str, send: Send) -> None:
        self.number = number
        self.call_id = f"soak{number}@127.0.0.1"
        self.is_deaf = False
        """Nothing that comes is looked at any more: the caller has vanished."""
        self._target = target
        self._remote = f"<{target}>"
        self._local = f"<sip:soak{number}@127.0.0.1>;tag=s{number}"
        self._contact = contact
        self._transport = transport
        self._send = send
        self._cseq = 0
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._provisional: set[int] = set()
        self._replies: dict[tuple[int, str], bytes] = {}
        self._requests: list[Received] = []
        self._news = asyncio.Event()
        self._ack = b""

    async def invite(self) -> None:
        """Open the call and acknowledge it. Raises :class:`CallError`."""
        await self.ask("INVITE", body=OFFER, kind="application/sdp")

    async def notify(self, status: str, state: str = "active;expires=60") -> None:
        """Report on the transfer. Raises :class:`CallError` unless it is taken."""
        headers = ["Event: refer", f"Subscription-State: {state}"]
        await self.ask("NOTIFY", *headers, body=f"SIP/2.0 {status}\r\n", kind="message/sipfrag;version=2.0")

    async def ask(self, method: str, *headers: str, body: str = "", kind: str = "") -> None:
        """Send a request, again and again over UDP, until it is answered. Raises :class:`CallError` unless by 2xx."""
        self._cseq += 1
        cseq = self._cseq
        data = self._request(method, cseq, headers, body, kind)
        answer = self._answers[cseq] = asyncio.get_running_loop().create_future()
        self._send(data)
        wait, waited = T1_S, 0.0
        try:
            while not answer.done():
                limit = GIVE_UP_S if cseq in self._provisional or self._transport != "UDP" else wait
                await asyncio.wait((answer,), timeout=limit)
                waited += limit
                if waited >= GIVE_UP_S:
                    break
                if not answer.done() and cseq not in self._provisional:
                    self._send(data)
                    wait = wait * 2 if method == "INVITE" else min(wait * 2, T2_S)
        finally:
            del self._answers[cseq]
        if not answer.done():
            raise CallError(f"no answer to {method}")
        if not 200 <= answer.result() < 300:
            raise CallError(f"{answer.result()} to {method}")

    async def expect(self, method: str, within_s: float) -> Received:
        """Wait for a request. Raises :class:`CallError` when it doesn't come, or another one does."""
        try:
            async with asyncio.timeout(within_s):
                while not self._requests:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise CallError(f"no {method} within {within_s:g} s") from None
        request = self._requests.pop(0)
        if request.method != method:
            self.reply(request, "500 Unexpected")
            raise CallError(f"{request.method} in place of {method}")
        return request

    def reply(self, request: Received, status: str) -> None:
        """Answer a request; repetitions get the same answer."""
        lines = [f"SIP/2.0 {status}", *(line for name in _ECHOED for line in request.lines.get(name, ())), f"Contact: <{self._contact}>"]
        data = "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()
        self._replies[request.cseq, request.method] = data
        self._send(data)

    def took(self, message: Received) -> None:
        """A message of this call came."""
        if self.is_deaf:
            return
        if message.status:
            self._took_response(message)
        elif (known := self._replies.get((message.cseq, message.method))) is not None:
            self._send(known)
        elif not any(one.cseq == message.cseq for one in self._requests):
            self._requests.append(message)
            self._news.set()

    def _took_response(self, message: Received) -> None:
        if message.method == "INVITE" and message.status >= 200:
            self._acknowledge(message)
        answer = self._answers.get(message.cseq)
        if answer is None or answer.done():
            return
        if message.status < 200:
            self._provisional.add(message.cseq)
        else:
            answer.set_result(message.status)

    def _acknowledge(self, message: Received) -> None:
        if not self._ack:
            self._remote = message.value("to")
            if message.status < 300 and (uri := _URI.search(message.value("contact"))):
                self._target = uri[1]
            branch = message.value("via").partition("branch=")[2].partition(";")[0] if message.status >= 300 else ""
            self._ack = self._request("ACK", message.cseq, (), "", "", branch)
        self._send(self._ack)

    def _request(self, method: str, cseq: int, headers: tuple[str, ...], body: str, kind: str, branch: str = "") -> bytes:
        own = self._contact.partition("@")[2].partition(";")[0]
        lines = [
            f"{method} {self._target} SIP/2.0",
            f"Via: SIP/2.0/{self._transport} {own};rport;branch={branch or f'z9hG4bKs{self.number}.{cseq}.{method}'}",
            "Max-Forwards: 70",
            f"From: {self._local}",
            f"To: {self._remote}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <{self._contact}>",
            "Allow: INVITE, ACK, BYE, CANCEL, REFER, NOTIFY",
            *headers,
            *([f"Content-Type: {kind}"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*lines, "", body]).encode()


class Peer(asyncio.DatagramProtocol):
    """All calls of the soak: those over UDP share a socket, those over TCP have a connection each."""

    def __init__(self, daemon: Address, tcp_port: int, *, loss: float, seed: int = 1) -> None:
        self._daemon = daemon
        self._tcp_port = tcp_port
        self._loss = loss
        self._random = random.Random(seed)
        self._calls: dict[str, RawCall] = {}
        self._lossy: set[str] = set()
        self.strays = 0
        """Messages for calls that nobody knows (any more)."""

    async def open(self) -> None:
        """Bind the socket."""
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self._own: Address = self._udp.get_extra_info("sockname")

    def close(self) -> None:
        """Close the socket."""
        self._udp.close()

    def call(self, number: int, *, is_lossy: bool = False) -> RawCall:
        """Make a call over UDP; of a lossy one packets get lost both ways."""
        host, port = self._own
        target = f"sip:soak@{self._daemon[0]}:{self._daemon[1]}"

        def send(data: bytes) -> None:
            if not (is_lossy and self._random.random() < self._loss):
                self._udp.sendto(data, self._daemon)

        call = RawCall(number, target, f"sip:soak{number}@{host}:{port}", "UDP", send)
        if is_lossy:
            self._lossy.add(call.call_id)
        self._calls[call.call_id] = call
        return call

    async def call_by_tcp(self, number: int) -> tuple[RawCall, asyncio.Transport]:
        """Make a call over a connection of its own."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: _Stream(self), self._daemon[0], self._tcp_port)
        host, port = transport.get_extra_info("sockname")
        target = f"sip:soak@{self._daemon[0]}:{self._tcp_port};transport=tcp"
        call = RawCall(number, target, f"sip:soak{number}@{host}:{port};transport=tcp", "TCP", transport.write)
        self._calls[call.call_id] = call
        return call, transport

    def over(self, call: RawCall) -> None:
        """Forget the call when nothing of it can be repeated any more."""
        asyncio.get_running_loop().call_later(LINGER_S, self._forget, call.call_id)

    def _forget(self, call_id: str) -> None:
        self._calls.pop(call_id, None)
        self._lossy.discard(call_id)

    def datagram_received(self, data: bytes, addr: Address) -> None:  # noqa: ARG002  # the protocol's signature
        """Take a datagram, unless it gets lost."""
        message = Received(data)
        if message.value("call-id") in self._lossy and self._random.random() < self._loss:
            return
        self.took(message)

    def took(self, message: Received) -> None:
        """Hand a message to its call."""
        call = self._calls.get(message.value("call-id"))
        if call is None:
            self.strays += 1
        else:
            call.took(message)


class _Stream(asyncio.Protocol):
    """Cuts a connection's bytes into messages."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(CRLF2)) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            total = end + len(CRLF2) + (int(cast("bytes", length[1])) if length else 0)
            if len(self._buffer) < total:
                return
            message, self._buffer = self._buffer[:total], self._buffer[total:]
            self._peer.took(Received(message))
