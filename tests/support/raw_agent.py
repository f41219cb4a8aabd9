"""A user agent that is nothing but a script over one UDP socket: it shows what the PBX does when the project's own stack is absent."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

HOST = "127.0.0.1"

_SDP = "v=0\r\no=raw 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=inactive\r\n"
_TAG = ";tag=raw-agent"


def _header(text: str, name: str) -> str:
    found = re.search(rf"^{name}:[ \t]*(.*?)\r$", text, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""


class RawAgent(asyncio.DatagramProtocol):
    """Answers one call, sends REFER and BYE in it, and writes down what the PBX sends; one made by :func:`raw_agent`."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()
        self.accepted: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.notified: list[str] = []
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._peer = (HOST, 0)
        self._invite = ""
        self._cseq = 100

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: before Python 3.12 the loop's datagram transport does not derive from the class.
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        text = data.decode()
        self._peer = addr
        if text.startswith("SIP/2.0 "):
            if _header(text, "CSeq").endswith(" REFER") and text[8] != "1" and not self.accepted.done():
                self.accepted.set_result(text[8:11])
            return
        method = text.partition(" ")[0]
        match method:
            case "INVITE":
                self._invite = text
                self._answer(text, _SDP)
            case "ACK":
                self.answered.set()
            case "NOTIFY":
                self._answer(text)
                self._note(text)
            case "BYE":
                self._answer(text)
                self.ended.set()
            case _:
                self._answer(text)

    async def refer(self, user: str) -> str:
        """Transfer the call to *user* at the PBX and return the status of the answer to REFER."""
        # The PBX bridges the call after the ACK; a REFER in the same millisecond is refused.
        await asyncio.sleep(0.2)
        self._request("REFER", f"Refer-To: <sip:{user}@{HOST}>\r\n")
        async with asyncio.timeout(5):
            return await self.accepted

    def bye(self) -> None:
        """Hang up."""
        self._request("BYE")

    def _note(self, text: str) -> None:
        status = text.partition("\r\n\r\n")[2][8:11]
        self.notified.append(status)
        if _header(text, "Subscription-State").startswith("terminated") and not self.outcome.done():
            self.outcome.set_result(status)

    def _answer(self, request: str, body: str = "") -> None:
        to = _header(request, "To")
        lines = [
            "SIP/2.0 200 OK",
            *(f"Via: {value}" for value in re.findall(r"^Via:[ \t]*(.*?)\r$", request, re.MULTILINE | re.IGNORECASE)),
            f"From: {_header(request, 'From')}",
            f"To: {to if ';tag=' in to else to + _TAG}",
            *(f"{name}: {_header(request, name)}" for name in ("Call-ID", "CSeq")),
            f"Contact: <sip:raw@{HOST}:{self.port}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self._send("\r\n".join(lines) + "\r\n\r\n" + body)

    def _request(self, method: str, extra: str = "") -> None:
        self._cseq += 1
        target = re.search(r"<(.*?)>", _header(self._invite, "Contact"))
        lines = [
            f"{method} {target[1] if target else ''} SIP/2.0",
            f"Via: SIP/2.0/UDP {HOST}:{self.port};rport;branch=z9hG4bKraw{self.port}-{self._cseq}",
            "Max-Forwards: 70",
            f"From: {_header(self._invite, 'To')}{_TAG}",
            f"To: {_header(self._invite, 'From')}",
            f"Call-ID: {_header(self._invite, 'Call-ID')}",
            f"CSeq: {self._cseq} {method}",
            f"Contact: <sip:raw@{HOST}:{self.port}>",
        ]
        self._send("\r\n".join(lines) + f"\r\n{extra}Content-Length: 0\r\n\r\n")

    def _send(self, text: str) -> None:
        if self._transport is not None:
            self._transport.sendto(text.encode(), self._peer)


@asynccontextmanager
async def raw_agent() -> AsyncIterator[RawAgent]:
    """Open the socket on a free port and close it at the end."""
    transport, agent = await asyncio.get_running_loop().create_datagram_endpoint(RawAgent, local_addr=(HOST, 0))
    try:
        yield agent
    finally:
        transport.close()
