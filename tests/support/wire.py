"""A SIP peer that is nothing but a script: it sends octets on the in-memory network and keeps what comes back."""

import asyncio
from typing import Self

from sipua.message import Message, Request, Response, make_response, parse_message
from sipua.transport.memory import MemoryNetwork, MemoryUdp

SDP = "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"


class Wire:
    """One UDP socket at *address* port 5060; talks to ``10.0.0.1:5060``."""

    def __init__(self, address: str = "10.0.0.9", target: tuple[str, int] = ("10.0.0.1", 5060)) -> None:
        self.address = address
        self.target = target
        self.received: list[bytes] = []
        self._news = asyncio.Event()
        self._socket: MemoryUdp | None = None

    async def open(self, network: MemoryNetwork) -> Self:
        """Bind the socket."""
        self._socket = await network.host(self.address).open_udp(self.address, 5060, self)
        return self

    def close(self) -> None:
        """Close the socket: what comes from now on is lost."""
        if self._socket is not None:
            self._socket.close()

    def on_datagram(self, data: bytes, source: tuple[str, int]) -> None:
        """Keep what comes."""
        del source
        self.received.append(data)
        self._news.set()

    def on_datagram_error(self, error: OSError) -> None:
        """The in-memory network reports none."""

    def send(self, data: bytes | str) -> None:
        """Send a datagram."""
        if self._socket is None:
            raise RuntimeError("open the wire first")
        self._socket.send(data if isinstance(data, bytes) else data.encode(), self.target)

    def request(
        self,
        method: str = "OPTIONS",
        *,
        number: int = 1,
        call_id: str = "",
        branch: str = "",
        to_tag: str = "",
        extra: tuple[str, ...] = (),
        body: str = "",
        uri: str = "sip:1000@10.0.0.1",
        from_: str = "<sip:9@10.0.0.9>",
        to: str = "<sip:1000@10.0.0.1>",
    ) -> str:
        """Return a request of ours; *extra* are whole header lines."""
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {_bracketed(self.address)}:5060;branch=z9hG4bK{branch or f'{method}{number}{call_id}'}",
            "Max-Forwards: 70",
            f"From: {from_};tag=wire",
            f"To: {to}" + (f";tag={to_tag}" if to_tag else ""),
            f"Call-ID: {call_id or 'wire-call'}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:9@{_bracketed(self.address)}>",
            *extra,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body.encode())}",
        ]
        return "\r\n".join(lines) + "\r\n\r\n" + body

    def invite(
        self,
        *,
        call_id: str = "wire-call",
        branch: str = "",
        extra: tuple[str, ...] = (),
        uri: str = "sip:1000@10.0.0.1",
        from_: str = "<sip:9@10.0.0.9>",
        to: str = "<sip:1000@10.0.0.1>",
        sdp: str = "",
    ) -> str:
        """Return an INVITE with an offer of PCMU."""
        body = sdp or SDP.format(host="10.0.0.9")
        return self.request("INVITE", call_id=call_id, branch=branch, extra=extra, uri=uri, from_=from_, to=to, body=body)

    @property
    def messages(self) -> list[Message]:
        """What came, parsed."""
        return [parse_message(data) for data in self.received]

    def statuses(self, method: str) -> list[int]:
        """Return the statuses of the responses to *method*, in order of arrival, with repetitions."""
        return [message.status for message in self.messages if isinstance(message, Response) and message.cseq.method == method]

    async def final(self, method: str, within_s: float = 60.0) -> Response:
        """Wait for a final response to *method*; TimeoutError when none comes."""
        async with asyncio.timeout(within_s):
            while True:
                for message in self.messages:
                    if isinstance(message, Response) and message.status >= 200 and message.cseq.method == method:
                        return message
                self._news.clear()
                await self._news.wait()

    async def request_of(self, method: str, at_least: int = 1, within_s: float = 60.0) -> Request:
        """Wait until *at_least* different requests *method* came and return the newest; TimeoutError when they don't come."""
        async with asyncio.timeout(within_s):
            while True:
                found = {m.cseq.number: m for m in self.messages if isinstance(m, Request) and m.method == method}
                if len(found) >= at_least:
                    return found[max(found)]
                self._news.clear()
                await self._news.wait()

    def answer(self, request: Request, status: int, *extra: tuple[str, str]) -> None:
        """Answer *request* with *status* and *extra* headers."""
        response = make_response(request, status)
        for name, value in extra:
            response.headers.add(name, value)
        self.send(response.encode())

    def ack(self, response: Response, *, number: int = 1, branch: str = "ack") -> None:
        """Acknowledge a 2xx."""
        self.send(self.request("ACK", number=number, call_id=response.call_id, branch=branch, to_tag=response.to.tag))


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
