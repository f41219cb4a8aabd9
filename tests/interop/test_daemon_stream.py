"""A caller over TCP who cuts the stream where it likes, and datagrams that are no SIP: what SIPp can't send."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.ami import Ami
from tests.support.asterisk import Asterisk
from tests.support.daemon import HOST, DaemonUnderTest, action_parameters, daemon_under_test
from tests.support.pbx_calls import call_daemon, is_at, target_uri, trunk

SDP = f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=inactive\r\n"


class StreamCaller:
    """A caller that is nothing but a script over one TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: str, port: int) -> None:
        self._reader = reader
        self._writer = writer
        self._uri = f"sip:{user}@{HOST}:{port}"
        self._port = writer.get_extra_info("sockname")[1]
        self._to = f"<{self._uri}>"
        self._cseq = 0

    def request(self, method: str, body: str = "", headers: str = "") -> bytes:
        """Return a request; ACK keeps the number of the INVITE."""
        self._cseq += method != "ACK"
        lines = [
            f"{method} {self._uri} SIP/2.0",
            f"Via: SIP/2.0/TCP {HOST}:{self._port};branch=z9hG4bK-{self._port}-{method}-{self._cseq}",
            "Max-Forwards: 70",
            f"From: <sip:stream@{HOST}>;tag=stream",
            f"To: {self._to}",
            f"Call-ID: stream-{self._port}",
            f"CSeq: {self._cseq} {method}",
            f"Contact: <sip:stream@{HOST}:{self._port};transport=tcp>",
        ]
        content = f"Content-Type: {'application/sdp' if method == 'INVITE' else 'message/sipfrag'}\r\n" if body else ""
        return ("\r\n".join(lines) + f"\r\n{headers}{content}Content-Length: {len(body)}\r\n\r\n{body}").encode()

    def answer(self, request: str, status: str) -> bytes:
        """Return a response."""
        kept = [line for line in request.split("\r\n") if re.match(r"(Via|From|To|Call-ID|CSeq):", line)]
        contact = f"Contact: <sip:stream@{HOST}:{self._port};transport=tcp>"
        return ("\r\n".join([f"SIP/2.0 {status}", *kept, contact, "Content-Length: 0"]) + "\r\n\r\n").encode()

    async def send(self, data: bytes, *, pieces: int = 1) -> None:
        """Write in so many pieces, each in a segment of its own."""
        size = -(-len(data) // pieces)
        for start in range(0, len(data), size):
            self._writer.write(data[start : start + size])
            await self._writer.drain()
            await asyncio.sleep(0)

    def cut(self) -> None:
        """Break the connection."""
        self._writer.transport.abort()

    async def receive(self, start: str) -> str:
        """Return the next message that begins with *start*; others are passed over."""
        async with asyncio.timeout(10):
            while True:
                head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lstrip("\r\n")
                length = re.search(r"^Content-Length:\s*(\d+)", head, re.MULTILINE)
                if length is not None:
                    await self._reader.readexactly(int(length[1]))
                if found := re.search(r"^To: (.*;tag=.*?)\r$", head, re.MULTILINE):
                    self._to = found[1] if head.startswith("SIP/2.0") else self._to
                if head.startswith(start):
                    return head


@asynccontextmanager
async def connected(daemon: DaemonUnderTest, user: str) -> AsyncIterator[StreamCaller]:
    """Connect to the daemon over TCP."""
    reader, writer = await asyncio.open_connection(HOST, daemon.port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield StreamCaller(reader, writer, user, daemon.port)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_messages_that_share_a_segment_and_messages_in_many_segments() -> None:
    async with daemon_under_test() as daemon:
        daemon.app.calls["stream"] = "<Refer action='done'><Sip>sip:target@127.0.0.1:9</Sip></Refer>"
        daemon.app.pages["/done"] = "<Hangup/>"
        async with connected(daemon, "stream") as caller:
            await caller.send(b"\r\n\r\n" + caller.request("INVITE", SDP), pieces=40)
            await caller.receive("SIP/2.0 200")
            await caller.send(caller.request("ACK") + caller.request("OPTIONS") + caller.request("INFO"))
            await caller.receive("SIP/2.0 200")
            await caller.receive("SIP/2.0 200")
            refer = await caller.receive("REFER ")
            states = ("active;expires=60", "terminated;reason=noresource")
            reports = [
                caller.request("NOTIFY", f"SIP/2.0 {status}\r\n", f"Event: refer\r\nSubscription-State: {state}\r\n")
                for status, state in zip(("100 Trying", "200 OK"), states, strict=True)
            ]
            await caller.send(b"".join([caller.answer(refer, "202 Accepted"), *reports]), pieces=3)
            bye = await caller.receive("BYE ")
            await caller.send(caller.answer(bye, "200 OK"))
            assert action_parameters(daemon.app.of("/done")[0].form) == ("transferred", "in-progress", "202", "200")
            await daemon.wait_idle()


async def test_a_connection_that_breaks_during_a_transfer_gives_a_defined_end() -> None:
    async with daemon_under_test() as daemon:
        daemon.app.calls["broken"] = "<Refer action='done'><Sip>sip:target@127.0.0.1:9</Sip></Refer>"
        daemon.app.pages["/done"] = "<Hangup/>"
        async with connected(daemon, "broken") as caller:
            await caller.send(caller.request("INVITE", SDP))
            await caller.receive("SIP/2.0 200")
            await caller.send(caller.request("ACK"))
            await caller.receive("REFER ")
            caller.cut()
            done = await daemon.app.wait("/done")
            assert action_parameters(done.form) == ("unreachable", "failed", "503", "-")
            await daemon.wait_idle()


async def test_junk_on_the_wire_does_not_disturb_a_transfer(ami: Ami, asterisk: Asterisk) -> None:
    junk = [
        b"",
        b"\x00" * 60_000,
        b"INVITE\r\n\r\n",
        b"INVITE sip:x SIP/2.0\r\nVia: x\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"\xff\xfe" * 500,
    ]
    async with daemon_under_test() as daemon:
        daemon.app.calls["calm"] = f"<Refer action='done'><Sip>{target_uri(asterisk, 'true-slow')}</Sip></Refer>"
        daemon.app.pages["/done"] = "<Hangup/>"
        call = await call_daemon(ami, trunk("calm", daemon.port))
        await daemon.app.wait("/voice")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            for data in junk * 20:
                noise.sendto(data, (HOST, daemon.port))
        for data in junk:
            with socket.create_connection((HOST, daemon.port)) as stream:
                stream.sendall(data)
        done = await daemon.app.wait("/done")
        assert action_parameters(done.form) == ("transferred", "in-progress", "202", "200")
        await call.wait(lambda channels: is_at("true-slow", channels), "the caller at the target")
        await daemon.wait_idle()
