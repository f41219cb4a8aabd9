"""What ICMP says about our datagrams, and what it can't make us believe (RFC 3261 §18.4)."""

import asyncio
import errno
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.agent import UserAgent
from sipua.transport import MemoryNetwork
from sipua.transport.memory import MemoryUdp
from sipua.transport.unreachable import UnreachableError, is_unreachable, quoted_request

AGENT, GONE, LIVING = "10.0.0.1", "10.0.0.11", "10.0.0.12"
QUOTE = b"OPTIONS sip:pbx SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK7;rport\r\nMax-Forw"


@pytest.mark.parametrize(
    ("origin", "kind", "code", "expected"),
    [
        (2, 3, 3, True),
        (2, 3, 1, True),
        (2, 3, 4, False),  # the path's size
        (2, 11, 0, False),  # TTL ran out
        (2, 4, 0, False),  # source quench
        (3, 1, 4, True),
        (3, 1, 0, True),
        (3, 2, 0, False),  # packet too big
        (3, 3, 0, False),
        (1, 3, 3, False),  # an error of this machine
    ],
)
def test_only_unreachable_is_a_failure(origin: int, kind: int, code: int, expected: bool) -> None:
    assert is_unreachable(struct.pack("=IBBBxII", errno.ECONNREFUSED, origin, kind, code, 0, 0)) is expected


@given(st.binary(max_size=64))
def test_any_octets_are_an_extended_error_or_none(data: bytes) -> None:
    assert is_unreachable(data) in (True, False)


@pytest.mark.parametrize(
    ("quoted", "expected"),
    [
        (QUOTE, ("z9hG4bK7", "OPTIONS")),
        (QUOTE[:20], None),
        (QUOTE[: QUOTE.index(b"7;rport")], None),  # half a branch
        (b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK7;rport\r\n", None),
        (b"", None),
        (b"\xff" * 100, None),
    ],
)
def test_a_quotation_names_a_request_only_when_it_has_the_whole_branch(quoted: bytes, expected: tuple[str, str] | None) -> None:
    assert quoted_request(quoted) == expected


@given(st.binary(max_size=600))
def test_any_quotation_is_read(quoted: bytes) -> None:
    assert quoted_request(quoted) is None or quoted.startswith(quoted_request(quoted)[1].encode())  # type: ignore[index]


@pytest.mark.looptime
async def test_a_port_that_nobody_holds_ends_a_request_at_once_and_leads_to_the_next_server() -> None:
    network = MemoryNetwork(random.Random(1))
    network.host(GONE, "alone", "both")
    network.host(LIVING, "both")
    network.refuse_udp(GONE)
    loop = asyncio.get_running_loop()
    async with (
        UserAgent(listen=[f"udp:{LIVING}:5060"], network=network.host(LIVING)),
        UserAgent(listen=[f"udp:{AGENT}:5060"], network=network.host(AGENT)) as agent,
    ):
        start = loop.time()
        assert (await agent.options("sip:both")).status == 200
        assert (await agent.options("sip:alone")).status == 503
        assert loop.time() - start < 1
        assert agent.exchanger.failovers == {"transport": 1}


@pytest.mark.looptime
@pytest.mark.parametrize("forgery", ["branch", "destination", "port", "short"])
async def test_forged_icmp_ends_no_request(forgery: str) -> None:
    network = MemoryNetwork(random.Random(1), record=True)
    network.host(GONE, "silent")
    async with UserAgent(listen=[f"udp:{AGENT}:5060"], network=network.host(AGENT)) as agent:
        waiting = asyncio.create_task(agent.options("sip:silent"))
        await asyncio.sleep(1)
        sent = network.packets[0].data
        quoted, destination = sent, (GONE, 5060)
        match forgery:
            case "branch":
                quoted = sent.replace(b"branch=z9hG4bK", b"branch=z9hG4bKguess")
            case "destination":
                destination = (LIVING, 5060)
            case "port":
                destination = (GONE, 5061)
            case _:
                quoted = sent[:8]
        sock: MemoryUdp = network.host(AGENT).udp[5060]
        sock.receiver.on_datagram_error(UnreachableError(errno.ECONNREFUSED, "Connection refused", destination, quoted))
        await asyncio.sleep(5)
        assert not waiting.done()
        sock.receiver.on_datagram_error(UnreachableError(errno.ECONNREFUSED, "Connection refused", (GONE, 5060), sent))
        assert (await waiting).status == 503
        assert not sock.receiver._watched  # type: ignore[attr-defined]
