"""Pure. The four transaction machines of RFC 3261 §17 with the corrections of RFC 6026 and RFC 4320."""

from sipua.transaction.machine.base import (
    Deliver,
    DeliverAck,
    Failed,
    Failure,
    NoAck,
    SendCancel,
    State,
    TransactionMachine,
    Transmit,
)
from sipua.transaction.machine.client_invite import InviteClient
from sipua.transaction.machine.client_other import OtherClient
from sipua.transaction.machine.server_invite import InviteServer
from sipua.transaction.machine.server_other import OtherServer

__all__ = [
    "Deliver",
    "DeliverAck",
    "Failed",
    "Failure",
    "InviteClient",
    "InviteServer",
    "NoAck",
    "OtherClient",
    "OtherServer",
    "SendCancel",
    "State",
    "TransactionMachine",
    "Transmit",
]
