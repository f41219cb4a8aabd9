"""What the layer above offers the transaction layer."""

from typing import Protocol

from sipua.message import Request, Response
from sipua.transaction.server import ServerTransaction
from sipua.transport.base import Channel


class TransactionUser(Protocol):
    """The layer above. Its methods must not block; exceptions are logged, and a request whose handler raises is answered 500."""

    def on_request(self, transaction: ServerTransaction) -> None:
        """A new request came: never ACK, CANCEL, a retransmission or a merged request."""

    def on_ack(self, request: Request, channel: Channel) -> None:
        """An ACK came that belongs to no 300 to 699 response: one for a 2xx, or a stray."""

    def on_stray_response(self, response: Response, channel: Channel) -> None:
        """A 2xx to INVITE came after the end of its client transaction (RFC 6026 §6)."""
