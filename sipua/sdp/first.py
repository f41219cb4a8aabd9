"""Pure. The answer to the first offer of a dialog, by what is known of offers like it.

A PBX makes all its offers alike: from call to call only the ``o=`` line, the address and the port differ. What such an offer comes to is
worked out once, by the machine, and kept under everything else that the offer says and that we would answer it with.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from sipua.sdp.negotiate import LocalMedia, Negotiated

MAX_KNOWN: Final = 256
"""Offers that are remembered: a PBX has a few, one for each list of codecs. The oldest is forgotten first."""

MAX_BYTES: Final = 2048
"""A longer offer is not remembered: it is a browser's, with keys that never come twice."""

_OFFER: Final = re.compile(
    rb"v=0\r\no=(?:[!-~]+ ){5}[!-~]+"
    rb"(\r\n(?:[^cm\r\n]=[^\r\n]*\r\n)*c=IN IP[46] )([0-9A-Fa-f.:]{2,39})"
    rb"(\r\n(?:[^cm\r\n]=[^\r\n]*\r\n)*m=audio )([1-9][0-9]{0,4})"
    rb"( .*)",
    re.DOTALL,
)
"""An offer with its address before its first stream, which is audio: the address and the port stand between what is remembered."""

_UNSPECIFIED: Final = (b"0.0.0.0", b"::")  # the old form of hold: another direction


@dataclass(frozen=True, slots=True)
class Offer:
    """The parts of an offer: *kind* is all but the ``o=`` line, *address* and *port*."""

    kind: tuple[bytes, bytes, bytes]
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """What a kind of offer came to: the text before and behind our port, and what was agreed besides the peer's address and port."""

    before: str
    behind: str
    agreed: Negotiated

    def text(self, head: str, local: LocalMedia) -> bytes:
        """Return our answer that begins with *head* (:func:`head_of`); *local* is our end."""
        return f"{head}{self.before}{local.port}{self.behind}".encode()

    def settled(self, offer: Offer) -> Negotiated:
        """Return what *offer*, one of this kind, and our answer settle."""
        return replace(self.agreed, remote_address=offer.address, remote_port=offer.port)


def read_offer(body: bytes) -> Offer | None:
    """Return the parts of the offer *body*, None when it is not one of those that are remembered."""
    match = _OFFER.fullmatch(body) if len(body) <= MAX_BYTES else None
    if match is None:
        return None
    start, address, middle, port, rest = match.groups()
    if b"c=" in rest or address in _UNSPECIFIED or int(port) > 65535:  # an address of its own for a stream; hold; broken
        return None
    return Offer((start, middle, rest), address.decode("ascii"), int(port))


class FirstAnswers:
    """Remembers what offers came to, at most *limit* kinds of them."""

    def __init__(self, limit: int = MAX_KNOWN) -> None:
        self._limit = limit
        self._known: dict[tuple[object, ...], KnownAnswer] = {}

    def __len__(self) -> int:
        return len(self._known)

    @staticmethod
    def _key(offer: Offer, local: LocalMedia) -> tuple[object, ...]:
        return (offer.kind, local.direction, local.codecs, local.dtmf, local.ptime, local.address_type)

    def find(self, offer: Offer, local: LocalMedia) -> KnownAnswer | None:
        """Return what offers like *offer* came to at our end *local*, None for a kind that is not known."""
        return self._known.get(self._key(offer, local))

    def learn(self, offer: Offer, local: LocalMedia, head: str, answer: str, agreed: Negotiated) -> None:
        """Remember that *offer* came to *answer* and *agreed*, unless that depends on more than its kind: another stream was chosen.

        *answer* begins with *head*, see :func:`head_of`.
        """
        before, stream, behind = answer.removeprefix(head).partition(f"m=audio {local.port} ")
        is_first = "m=" not in before and (agreed.remote_address, agreed.remote_port) == (offer.address, offer.port)
        if not (is_first and stream and answer.startswith(head)):
            return
        while len(self._known) >= self._limit:
            del self._known[next(iter(self._known))]
        self._known[self._key(offer, local)] = KnownAnswer(f"{before}m=audio ", f" {behind}", agreed)


def head_of(origin: LocalMedia, session_id: int, version: int, local: LocalMedia) -> str:
    """Return how the first description of a dialog begins, up to the ``c=`` line; *origin* is our end when the dialog was made."""
    return (
        f"v=0\r\no=- {session_id} {version} IN {origin.address_type} {origin.address}\r\n"
        f"s=-\r\nc=IN {local.address_type} {local.address}\r\n"
    )
