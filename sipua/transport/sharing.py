"""Pure. Which of several processes behind one address a message belongs to (docs/spec/workers.md).

Each process, a *worker*, marks what it gives to peers: its tags begin with :func:`tag_mark`, and its Contact bears the URI parameter
:data:`PARAMETER`. What bears no mark belongs to a worker by a hash of its Call-ID, so that an INVITE, its copies and its CANCEL meet.
"""

import re
from collections.abc import Callable
from typing import Final

from sipua.message import Request, Response

MAX_WORKERS: Final = 64  # more than a machine that this daemon runs on has cores
LOOK_OCTETS: Final = 4096  # what an honest sender writes before the fields that are looked at; see sipua.transport.triage
HASHED_OCTETS: Final = 64  # of a Call-ID: what differs between two calls of one peer stands in the beginning
PARAMETER: Final = "worker"

PRIME: Final = 16_777_213  # the largest below 2**24: a remainder and an octet fit into the 32 bits that the kernel's program has
MIX: Final = ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1))
"""The last steps of MurmurHash3, shift and factor: near values come far apart."""

_MASK: Final = 0xFFFFFFFF
_NUMBER: Final = rb"(0|[1-9][0-9]?)"
_CALL_ID: Final = re.compile(rb"\n(?:call-id|i)[ \t]*:[ \t]*([^\s]+)", re.IGNORECASE)
_TO: Final = re.compile(rb"\n(?:to|t)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE)
_FROM: Final = re.compile(rb"\n(?:from|f)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE)
_REPLACES: Final = re.compile(rb"\nreplaces[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE)
_TAG: Final = re.compile(rb";\s*tag\s*=\s*w" + _NUMBER + rb"-", re.IGNORECASE)
_TO_TAG: Final = re.compile(rb";\s*to-tag\s*=\s*w" + _NUMBER + rb"-", re.IGNORECASE)
_IN_URI: Final = re.compile(rb";worker=" + _NUMBER + rb"(?=[; ?])", re.IGNORECASE)


def tag_mark(worker: int) -> str:
    """Return what the tags of *worker* begin with."""
    return f"w{worker}-"


def uri_mark(worker: int) -> str:
    """Return the parameter of the Contact URIs of *worker*, with its semicolon."""
    return f";{PARAMETER}={worker}"


def call_hash(call_id: bytes) -> int:
    """Return 32 bits that follow from the beginning of *call_id*; near values come far apart.

    A remainder is what Python has in one step, and a program of the kernel, which knows no loops, octet by octet
    (:mod:`sipua.transport.steering`).
    """
    value = int.from_bytes(call_id[:HASHED_OCTETS]) % PRIME
    for shift, factor in MIX:
        value = (value ^ value >> shift) * factor & _MASK
    return value


def owner_by_hash(value: int, count: int, live: tuple[int, ...]) -> int:
    """Return whose a call with the :func:`call_hash` *value* is: one worker's while it lives, else evenly one of those in *live*."""
    worker = value % count
    return worker if worker in live else live[value // count % len(live)]


class Sharing:
    """What one worker, number *worker* of *count*, knows of all. *live* gives the numbers of those that serve, in ascending order."""

    def __init__(self, worker: int, count: int, live: Callable[[], tuple[int, ...]] | None = None) -> None:
        everybody = tuple(range(count))
        self.worker = worker
        self.count = count
        self.live = live or (lambda: everybody)

    def owner_of(self, data: bytes) -> int:
        """Return the number of the worker that the message *data* belongs to; what says nothing of it is ours."""
        live = self.live()
        marked = _mark(_FROM, _TAG, data) if data.startswith(b"SIP/2.0 ") else _marked_request(data)
        if marked is not None and self._serves(marked, live):
            return marked
        found = _CALL_ID.search(data, 0, LOOK_OCTETS)
        if found is None or not live:
            return self.worker
        return owner_by_hash(call_hash(found[1]), self.count, live)

    def owner_of_message(self, message: Request | Response) -> int:
        """Return the same of a *message* that was read already."""
        live = self.live()
        marked = self._marked(message)
        if marked is not None and self._serves(marked, live):
            return marked
        call_id = message.headers.get("Call-ID")
        if call_id is None or not live:
            return self.worker
        return owner_by_hash(call_hash(_octets(call_id)), self.count, live)

    def _serves(self, worker: int, live: tuple[int, ...]) -> bool:
        """We do, even before all know of it: what we ask while we start, a registration for one, is answered to us."""
        return worker == self.worker or worker in live

    def _marked(self, message: Request | Response) -> int | None:
        if isinstance(message, Response):
            return _tag_in(message.headers.get("From"), _TAG)
        marked = _tag_in(message.headers.get("To"), _TAG)
        if marked is None and (found := _IN_URI.search(_octets(f"{message.uri} "))) is not None:
            marked = int(found[1])
        return _tag_in(message.headers.get("Replaces"), _TO_TAG) if marked is None and message.method == "INVITE" else marked

    def sender_of(self, data: bytes) -> int:
        """Return the number of the worker that sent the request *data*, which may be cut off; ours when that can't be told."""
        marked = _mark(_FROM, _TAG, data)
        return marked if marked is not None and marked in self.live() else self.worker


def _marked_request(data: bytes) -> int | None:
    marked = _mark(_TO, _TAG, data)
    if marked is not None:
        return marked
    in_uri = _IN_URI.search(data, 0, max(0, data.find(b"\n", 0, LOOK_OCTETS)))
    if in_uri is not None:
        return int(in_uri[1])
    if data.startswith(b"INVITE ") and b"\nreplaces" in data[:LOOK_OCTETS].lower():  # few have it, and looking for it takes long
        return _mark(_REPLACES, _TO_TAG, data)
    return None


def _tag_in(value: str | None, tag: re.Pattern[bytes]) -> int | None:
    found = None if value is None else tag.search(_octets(value))
    return None if found is None else int(found[1])


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _mark(header: re.Pattern[bytes], tag: re.Pattern[bytes], data: bytes) -> int | None:
    line = header.search(data, 0, LOOK_OCTETS)
    found = None if line is None else tag.search(line[1])
    return None if found is None else int(found[1])
