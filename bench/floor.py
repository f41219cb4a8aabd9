"""The floor of the bench: the job of the daemon done with as little Python as can be, on the same sockets and event loop.

    python -m bench.floor PORT WEBHOOK

It answers, asks the web application, refers, asks again and hangs up. It checks nothing, sends nothing again, logs nothing and knows one
kind of call, so it is no user agent: it is what the kernel, the event loop and the reading of twelve messages and two responses take on
this machine. Its code is left as it is, so that it can serve as the yardstick of the check in CI.
"""

import asyncio
import contextlib
import re
import sys
from collections import deque
from collections.abc import Callable
from typing import cast

import uvloop

_CRLF2 = b"\r\n\r\n"
_ECHOED = re.compile(rb"\r\n((?:Via|From|To|Call-ID|CSeq):[^\r]*)", re.IGNORECASE)
_CALL_ID = re.compile(rb"\r\nCall-ID: *([^\r]*)", re.IGNORECASE)
_FROM = re.compile(rb"\r\nFrom: *([^\r]*)", re.IGNORECASE)
_CONTACT = re.compile(rb"\r\nContact: *<([^>]*)>", re.IGNORECASE)
_USER = re.compile(rb"sip:([^@]*)@")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=inactive\r\n"

Address = tuple[str, int]
Then = Callable[[], None]


class Web(asyncio.Protocol):
    """One kept connection to the web application; it goes back to *idle* after each response."""

    def __init__(self, idle: "deque[Web]") -> None:
        self._idle = idle
        self._buffer = b""
        self._then: Then | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast("asyncio.Transport", transport)

    def post(self, path: bytes, user: bytes, then: Then) -> None:
        """Ask, and go on with *then*."""
        body = b"From=sip%%3A%s%%40127.0.0.1&To=sip%%3Abench%%40127.0.0.1&CallStatus=in-progress" % user
        head = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"
        self._then = then
        self._transport.write(head % (path, len(body)) + body)

    def data_received(self, data: bytes) -> None:
        """Go on when the response is whole."""
        self._buffer += data
        end = self._buffer.find(_CRLF2)
        length = _LENGTH.search(self._buffer, 0, end) if end >= 0 else None
        if length is None or len(self._buffer) < end + 4 + int(length[1]) or self._then is None:
            return
        then, self._then, self._buffer = self._then, None, b""
        self._idle.append(self)
        then()


class Floor(asyncio.DatagramProtocol):
    """The socket, and the calls by their Call-ID: the lines that requests in the dialog have, its target, and the caller's name."""

    def __init__(self, port: int, webhook: int) -> None:
        self._own = b"127.0.0.1:%d" % port
        self._webhook = webhook
        self._calls: dict[bytes, tuple[bytes, bytes, bytes]] = {}
        self._idle: deque[Web] = deque()
        self._opening: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Do what the caller of the bench waits for."""
        found = _CALL_ID.search(data)
        if found is None:
            return
        call_id = found[1]
        if data.startswith(b"INVITE "):
            self._invite(data, addr, call_id)
        elif data.startswith(b"ACK "):
            self._request(b"REFER", 1, call_id, addr, b"Refer-To: <sip:target@127.0.0.1:9>\r\n")
        elif data.startswith(b"NOTIFY "):
            self._respond(data, addr, b"200 OK", b"", b"")
            if b"terminated" in data and call_id in self._calls:
                self._ask(b"/done", self._calls[call_id][2], lambda: self._request(b"BYE", 2, call_id, addr, b""))
        elif data.startswith(b"OPTIONS "):
            self._respond(data, addr, b"200 OK", b"", b";tag=f")
        elif b" BYE\r\n" in data:
            self._calls.pop(call_id, None)

    def _invite(self, data: bytes, addr: Address, call_id: bytes) -> None:
        sender, contact = _FROM.search(data), _CONTACT.search(data)
        user = _USER.search(data, sender.start()) if sender else None
        if sender is None or contact is None or user is None or call_id in self._calls:
            return
        self._respond(data, addr, b"100 Trying", b"", b"")
        ours = b"From: <sip:bench@%s>;tag=f\r\nTo: %s\r\nCall-ID: %s\r\n" % (self._own, sender[1], call_id)
        self._calls[call_id] = (ours, contact[1], user[1])
        self._ask(b"/voice", user[1], lambda: self._respond(data, addr, b"200 OK", _SDP, b";tag=f"))

    def _ask(self, path: bytes, user: bytes, then: Then) -> None:
        if self._idle:
            self._idle.popleft().post(path, user, then)
            return
        task = asyncio.get_running_loop().create_task(self._open(path, user, then))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, path: bytes, user: bytes, then: Then) -> None:
        _, web = await asyncio.get_running_loop().create_connection(lambda: Web(self._idle), "127.0.0.1", self._webhook)
        web.post(path, user, then)

    def _respond(self, data: bytes, addr: Address, status: bytes, body: bytes, tag: bytes) -> None:
        lines = [line + tag if line[:3] == b"To:" else line for line in _ECHOED.findall(data, 0, data.find(_CRLF2))]
        kind = b"Content-Type: application/sdp\r\n" if body else b""
        head = b"SIP/2.0 %s\r\n%s\r\nContact: <sip:bench@%s>\r\n%sContent-Length: %d\r\n\r\n%s"
        self._transport.sendto(head % (status, b"\r\n".join(lines), self._own, kind, len(body), body), addr)

    def _request(self, method: bytes, cseq: int, call_id: bytes, addr: Address, extra: bytes) -> None:
        if (call := self._calls.get(call_id)) is None:
            return
        via = b"Via: SIP/2.0/UDP %s;branch=z9hG4bK%d%s\r\n" % (self._own, cseq, call_id.partition(b"@")[0])
        head = b"%s %s SIP/2.0\r\n%sMax-Forwards: 70\r\n%sCSeq: %d %s\r\nContact: <sip:bench@%s>\r\n%sContent-Length: 0\r\n\r\n"
        self._transport.sendto(head % (method, call[1], via, call[0], cseq, method, self._own, extra), addr)


async def serve(port: int, webhook: int) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Floor(port, webhook), local_addr=("127.0.0.1", port))
    await loop.create_future()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
