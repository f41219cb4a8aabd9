"""No parser takes more than linear time, whatever a peer repeats: four times the octets cost about four times the time.

A quadratic parser costs sixteen times as much. Times that are too short to compare are no finding: at 32 KiB a quadratic loop is not short.
"""

import contextlib
import sys
import time
from collections.abc import Callable

import pytest

from cxml.document.uris import target_problem, url_problem
from cxml.services.fragment import parse_fragment
from cxml.services.target import TargetError, parse_target
from sipua.auth.digest import parse_auth
from sipua.errors import ParseError, printable
from sipua.message import Address, Broken, CSeq, Params, StreamFramer, Uri, Value, Via, parse_message
from sipua.message.fields import delta_seconds
from sipua.message.grammar import split_list
from sipua.rtp.packet import parse_packet
from sipua.sdp import parse_sdp
from sipua.usage.subscription.sipfrag import parse_sipfrag

pytestmark = pytest.mark.slow

LARGE = 32_768
SMALL = LARGE // 4
COMPARABLE_S = 0.03
RATIO = 10.0
TRIES = 5
PATTERNS = (
    ",", ";", '"', "\\", "<", ">", " ", "@", ":", "%", "=", "[", "(", "/", "?", "a", "0", "\r\n", "\n", "\r\n ", "\x00", "é",
    ";a=b", 'a="b",', "<,", '" "', "a: b\r\n", "sip:a@b,", "a=b\r\n", "--x\r\n", "a.", "%00",
)  # fmt: skip


def octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def by_octets(text: str) -> None:
    """Give a stream to a framer one octet at a time, the worst way to send it."""
    framer = StreamFramer()
    for octet in octets(text):
        frames = framer.feed(bytes((octet,)))
        if frames and isinstance(frames[-1], Broken) and frames[-1].fatal:
            break


REQUEST = "INVITE sip:a@b SIP/2.0\r\n"
PARSERS: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "address": (Address.parse, ("", "<sip:a@b>", "<sip:a@b>;", '"', '"a" <sip:', "sip:a;")),
    "addresses": (Address.parse_list, ("", "<sip:a@b>,", "sip:a;")),
    "Via": (Via.parse, ("", "SIP/2.0/UDP ", "SIP/2.0/UDP a", "SIP/2.0/UDP a;", "SIP/2.0/UDP [")),
    "CSeq": (CSeq.parse, ("", "1", "1 ")),
    "parameters": (Params.parse, ("", ";a=", ';a="')),
    "value": (Value.parse, ("", "a;", "a / ")),
    "URI": (Uri.parse, ("", "sip:", "sip:a@b;", "sip:a@[", "tel:")),
    "seconds": (delta_seconds, ("", "1")),
    "list": (split_list, ("", '"', "<")),
    "credentials": (parse_auth, ("", "Digest ", 'Digest a="', "Digest a=b,")),
    "text for a log": (printable, ("",)),
    "webhook": (parse_target, ("", "http://", "http://a/", "http://a@", "http://a/#")),
    "fragment": (parse_fragment, ("", "rc=", "rp=")),
    "transfer target": (target_problem, ("", "sip:", "sip:a@b;", "sip:a@b?")),
    "URL of a document": (url_problem, ("", "http://")),
    "sipfrag": (lambda text: parse_sipfrag("message/sipfrag", octets(text)), ("", "SIP/2.0 200 ", "SIP/2.0 200 OK\r\na: b")),
    "multipart": (lambda text: parse_sipfrag("multipart/mixed;boundary=x", octets(text)), ("", "--x\r\n")),
    "SDP": (lambda text: parse_sdp(octets(text)), ("", "v=0\r\n", "v=0\r\no=- 1 1 IN IP4 h\r\nm=")),
    "datagram": (lambda text: parse_message(octets(text)), ("", "INVITE ", REQUEST, f"{REQUEST}Via: SIP/2.0/UDP a", "SIP/2.0 200 ")),
    "stream": (by_octets, ("", REQUEST, f"{REQUEST}l: 60000\r\n\r\n", f"{REQUEST}l: 1\r\n\r\n")),  # in a body, and behind one
    "RTP": (lambda text: parse_packet(octets(text)), ("", "\x1f")),
}


def seconds(parse: Callable[[str], object], text: str) -> float:
    """Return the processor time that *parse* takes for *text*: the better of two tries."""
    times = []
    for _ in range(2):
        before = time.process_time()
        with contextlib.suppress(ParseError, TargetError):
            parse(text)
        times.append(time.process_time() - before)
        if times[0] < COMPARABLE_S:
            break
    return min(times)


def in_proportion(parse: Callable[[str], object], prefix: str, pattern: str) -> tuple[float, float] | None:
    """Return None when the long text takes no longer than it may, else the best times of both texts.

    Others on the machine may slow one try down, for caches and clock are shared; a parser that is too slow is so in each. The time of the
    short text is always the better of two, or one slow try of it would hide such a parser.
    """
    small = large = float("inf")
    for _ in range(TRIES):
        large = min(large, seconds(parse, prefix + pattern * (LARGE // len(pattern))))
        if large < COMPARABLE_S:
            return None
        small = min(small, *(seconds(parse, prefix + pattern * (SMALL // len(pattern))) for _ in range(2)))
        if large <= small * RATIO:
            return None
    return small, large


@pytest.mark.parametrize("name", PARSERS)
def test_time_grows_no_faster_than_the_text(name: str) -> None:
    parse, prefixes = PARSERS[name]
    slow = []
    for prefix in prefixes:
        for pattern in PATTERNS:
            times = in_proportion(parse, prefix, pattern)
            if times is not None:
                slow.append(f"{prefix!r} and {pattern!r}: {times[0] * 1000:.0f} ms, four times as long {times[1] * 1000:.0f} ms")
    assert slow == []


@pytest.mark.parametrize(
    ("power", "disturbed", "is_found"),
    [(1, (), False), (2, (), True), (1, (0,), False), (1, (0, 3), False), (2, (0,), True), (2, (1,), True), (2, (2,), True)],
)
def test_a_quadratic_parser_is_found_and_a_disturbed_one_is_not(
    power: int, disturbed: tuple[int, ...], is_found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = iter(range(3 * TRIES))  # the long text, and the short one twice

    def told(_parse: Callable[[str], object], text: str) -> float:
        return (len(text) / LARGE) ** power * (20 if next(tries) in disturbed else 1)

    monkeypatch.setattr(sys.modules[__name__], "seconds", told)
    assert (in_proportion(len, "", "a") is not None) is is_found


def test_a_loop_that_looks_back_to_the_start_at_each_character_is_found() -> None:
    """The yardstick itself, by the clock."""

    def quadratic(text: str) -> int:
        return sum(text.count(",", 0, end) for end in range(len(text)))

    assert in_proportion(quadratic, "", ",") is not None
