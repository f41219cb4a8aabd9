"""Refusals that come after the gate are told: one line for each kind and peer in an interval, with the reason and the Call-ID."""

from collections.abc import Callable
from typing import Final

import structlog

from cxml.access.quiet import Quiet
from sipua.errors import printable
from sipua.message import Request, Response
from sipua.transport.base import Channel

log = structlog.get_logger(__name__)

OF_DOCUMENTS: Final = frozenset({480, 486, 487, 500, 603})
"""How calls end unanswered because their document, their caller or their time says so: ``call_ended`` has it."""

ORDINARY: Final = frozenset({401, 407, 408, 481, 487, 491})
"""What happens between well-meaning peers: races, and requests that come too late."""


class ToldRefusals:
    """Logs ``request_answered_with_error`` for requests that were let in and failed all the same.

    *peer_at* returns the name of the peer at an address, empty for none: requests inside a call don't bear it.
    """

    def __init__(self, peer_at: Callable[[str], str], now: Callable[[], float]) -> None:
        self._peer_at = peer_at
        self._now = now
        self._quiet = Quiet()

    def tell(self, request: Request, response: Response, channel: Channel) -> None:
        """Write the line for *response*, which refuses *request*."""
        status = response.status
        if request.method == "INVITE" and not request.to.tag and status in OF_DOCUMENTS:
            return
        peer = request.sender or self._peer_at(channel.remote.host)
        held_back = self._quiet.held_back((status, peer), self._now())
        if held_back is None:
            return
        told = log.info if status in ORDINARY else log.warning
        told(
            "request_answered_with_error",
            status=status,
            reason=printable(response.reason, 80),
            peer=peer,
            method=printable(request.method, 20),
            sip_call_id=printable(request.call_id, 80),
            source=str(channel.remote),
            held_back=held_back,
        )
