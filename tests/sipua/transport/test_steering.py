"""The kernel's program finds the same worker as we do; where it can't tell it leaves the datagram to the kernel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.transport.sharing import MAX_WORKERS, Sharing
from sipua.transport.steering import MAX_INSTRUCTIONS, WINDOWS, steering_program
from tests.support.bpf import run
from tests.support.wire import Wire

UNKNOWN = 0xFFFFFFFF
TOKENS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=90)
PROGRAM = steering_program(5, (0, 1, 2, 3, 4))


def invite(call_id: str, before: str = "", header: str = "Call-ID: ", after: str = "CSeq: 1 INVITE\r\n") -> bytes:
    """Return an INVITE with *before* before its Call-ID."""
    text = f"INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n{before}{header}{call_id}\r\n{after}"
    return (text + "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n").encode()


@given(TOKENS, st.text("abcXYZ:;\r\n 019", max_size=60), st.integers(1, MAX_WORKERS), st.data())
def test_the_program_agrees_with_the_look_in_each_worker(call_id: str, before: str, count: int, draw: st.DataObject) -> None:
    live = tuple(sorted(draw.draw(st.sets(st.integers(0, count - 1), min_size=1))))
    sharing = Sharing(live[0], count, lambda: live)
    data = invite(call_id, f"X: {before.replace(chr(10), ' ').replace(chr(13), ' ')}\r\n")
    assert run(steering_program(count, live), data) == sharing.owner_of(data)


@pytest.mark.parametrize("shift", range(8))
@pytest.mark.parametrize("header", ["Call-ID: ", "call-id: ", "CALL-ID:", "Call-Id: "])
def test_the_call_id_is_found_at_any_place_and_in_any_case(shift: int, header: str) -> None:
    data = invite("0a1b2c@pbx", f"Subject: {'x' * shift}\r\n", header)
    assert run(PROGRAM, data) == Sharing(0, 5).owner_of(data)


@pytest.mark.parametrize("method", ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "NOTIFY"])
def test_the_requests_of_a_call_meet(method: str) -> None:
    assert run(PROGRAM, Wire().request(method).encode()) == run(PROGRAM, Wire().invite().encode()) != UNKNOWN


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"x" * 3000,
        invite("1@a", header="i: "),
        invite("1@a", header="Call-ID  : "),
        invite("1@a", "Via: " + "x" * 1000 + "\r\n"),
        b"OPTIONS sip:Callcenter@192.0.2.1 SIP/2.0\r\n" + b"x" * 100,
    ],
    ids=["empty", "keep-alive", "junk", "compact", "spaces", "far behind", "a word like it"],
)
def test_what_the_program_can_not_read_is_left_to_the_kernel(data: bytes) -> None:
    assert run(PROGRAM, data) == UNKNOWN


@given(st.binary(max_size=1500))
def test_any_datagram_ends_the_program(data: bytes) -> None:
    assert run(PROGRAM, data) in {0, 1, 2, 3, 4, UNKNOWN}


@pytest.mark.parametrize("window", WINDOWS)
def test_the_largest_program_fits_into_the_kernel(window: int) -> None:
    assert len(steering_program(MAX_WORKERS, tuple(range(0, MAX_WORKERS, 2)), window)) // 8 <= MAX_INSTRUCTIONS
