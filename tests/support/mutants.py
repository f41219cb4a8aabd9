"""Messages made of others by the faults that networks, broken peers and attackers make; all from a seeded generator."""

import random
import re
from collections.abc import Callable
from pathlib import Path

from tests.support.torture import corpora, read_index
from tests.support.wire import SDP, Wire

OWN = Path(__file__).resolve().parents[1] / "conformance" / "messages"
MAX_MUTANT_BYTES = 9000
_JUNK = (
    b"\r\n",
    b"\x00",
    b";",
    b",",
    b"<",
    b">",
    b'"',
    b"\\",
    b"\xff",
    b": ",
    b"\r\n\r\n",
    b"%00",
    b"[",
    b"\r\n ",
    b"@",
    b"SIP/2.0 200 OK\r\n",
)
_NUMBERS = (b"0", b"-1", b"4294967295", b"4294967296", b"2147483648", b"9" * 30, b"65536", b"1e9", b"0x10", b"\xd9\xa3")
_DIGITS = re.compile(rb"[0-9]+")
_LENGTH = re.compile(rb"((?:content-length|\nl)[ \t]*:[ \t]*)[^\r\n]*", re.IGNORECASE)


def seeds(host: str) -> list[bytes]:
    """Return whole messages to start from: our torture messages, those of the RFCs where they are found, and the ladder of a transfer."""
    found = [message.data for rfc in ("rfc4475", "rfc5118") for message in read_index(OWN / rfc)]
    for rfc in ("rfc4475", "rfc5118"):
        if (corpora() / rfc / "index.tsv").is_file():
            found += [message.data for message in read_index(corpora() / rfc)]
    return found + ladder(host)


def ladder(host: str) -> list[bytes]:
    """Return the messages of a call that is transferred, in both directions, as peers write them."""
    wire = Wire(host)
    fragment = "SIP/2.0 180 Ringing\r\n"
    texts = [
        wire.invite(extra=("Supported: timer, 100rel, replaces", "Session-Expires: 1800;refresher=uac", "Allow: INVITE, ACK, BYE")),
        wire.invite(extra=("Record-Route: <sip:10.0.0.8;lr>", "P-Asserted-Identity: <sip:9@10.0.0.9>", "Replaces: a;to-tag=b;from-tag=c")),
        wire.request("ACK", to_tag="x"),
        wire.request("PRACK", number=2, to_tag="x", extra=("RAck: 1 1 INVITE",)),
        wire.request("UPDATE", number=3, to_tag="x", extra=("Session-Expires: 90;refresher=uas", "Min-SE: 90")),
        wire.request("REFER", number=4, to_tag="x", extra=("Refer-To: <sip:8@10.0.0.7?Replaces=a%3Bto-tag%3Db>", "Referred-By: <sip:9@b>")),
        wire.request("REFER", extra=("Refer-To: sip:8@10.0.0.7", "Refer-Sub: false")),
        wire.request("NOTIFY", number=5, to_tag="x", extra=("Event: refer;id=4", "Subscription-State: active;expires=60"), body=fragment),
        wire.request("NOTIFY", number=6, extra=("Event: refer", "Subscription-State: terminated;reason=noresource"), body=fragment),
        wire.request("SUBSCRIBE", number=7, extra=("Event: dialog", "Expires: 3600", "Accept: application/dialog-info+xml")),
        wire.request("INFO", number=8, to_tag="x", extra=("Info-Package: dtmf",)),
        wire.request("BYE", number=9, to_tag="x", extra=('Reason: Q.850;cause=16;text="Normal"',)),
        wire.request("CANCEL"),
        wire.request("OPTIONS", extra=("Accept: application/sdp",)),
        wire.request("REGISTER", extra=('Authorization: Digest username="9", realm="x", nonce="n", uri="sip:x", response="0"',)),
        wire.request("INVITE", body=SDP.format(host=host), extra=("Authorization: Digest username=9",)),
    ]
    first = wire.invite().partition("\r\n")
    texts += [
        f"SIP/2.0 {line}\r\n{first[2]}" for line in ("100 Trying", "180 Ringing", "200 OK", "202 Accepted", "302 Moved", "401 No", "603 No")
    ]
    return [text.encode() for text in texts]


def _flip(rng: random.Random, data: bytearray, _all: list[bytes]) -> None:
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _truncate(rng: random.Random, data: bytearray, _all: list[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def _double(rng: random.Random, data: bytearray, _all: list[bytes]) -> None:
    start = rng.randrange(len(data))
    part = data[start : start + rng.randint(1, 400)]
    data[start:start] = part * rng.randint(1, 4)


def _splice(rng: random.Random, data: bytearray, others: list[bytes]) -> None:
    other = rng.choice(others)
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


def _lie_about_length(rng: random.Random, data: bytearray, _all: list[bytes]) -> None:
    value = rng.choice((*_NUMBERS, str(rng.randrange(3000)).encode()))
    data[:] = _LENGTH.sub(lambda match: match[1] + value, bytes(data))


def _insert(rng: random.Random, data: bytearray, _all: list[bytes]) -> None:
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        data[at:at] = rng.choice(_JUNK) * rng.choice((1, 1, 1, 30, 500))


def _renumber(rng: random.Random, data: bytearray, _all: list[bytes]) -> None:
    spots = [match.span() for match in _DIGITS.finditer(bytes(data))]
    if spots:
        start, end = rng.choice(spots)
        data[start:end] = rng.choice(_NUMBERS)


def _repeat_header(rng: random.Random, data: bytearray, _all: list[bytes]) -> None:
    lines = bytes(data).split(b"\r\n")
    at = rng.randrange(len(lines))
    lines[at:at] = [lines[at]] * rng.choice((1, 1, 2, 20, 300))
    data[:] = b"\r\n".join(lines)


def _shuffle(rng: random.Random, data: bytearray, _all: list[bytes]) -> None:
    first, *rest = bytes(data).split(b"\r\n")
    rng.shuffle(rest)
    data[:] = b"\r\n".join([first, *rest])


def _drop_line(rng: random.Random, data: bytearray, _all: list[bytes]) -> None:
    lines = bytes(data).split(b"\r\n")
    del lines[rng.randrange(len(lines))]
    data[:] = b"\r\n".join(lines)


MUTATIONS: tuple[Callable[[random.Random, bytearray, list[bytes]], None], ...] = (
    _flip, _truncate, _double, _splice, _lie_about_length, _insert, _renumber, _repeat_header, _shuffle, _drop_line,
)  # fmt: skip


def mutant(rng: random.Random, originals: list[bytes]) -> bytes:
    """Return one of *originals* with one to four faults; now and then without any."""
    data = bytearray(rng.choice(originals))
    for _ in range(rng.randint(0, 4)):
        if not data:
            break
        rng.choice(MUTATIONS)(rng, data, originals)
        del data[MAX_MUTANT_BYTES:]
    return bytes(data)
