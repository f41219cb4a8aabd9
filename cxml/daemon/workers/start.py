"""What a worker is started with: its settings and the descriptors that it inherits, as one line from its parent."""

import base64
import json
import pickle
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cxml.daemon.config import Config

_PIECE = 65536

Address = tuple[str, int, int]
"""Host, port and descriptor."""


@dataclass(frozen=True, slots=True)
class Start:
    """*config* is this worker's part; all others are descriptors, or made of them."""

    worker: int
    count: int
    config: Config
    board: int
    inbox: int
    outboxes: Sequence[int]
    udp: Sequence[Address]
    tcp: Sequence[Address]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Everything that has to be inherited."""
        return (self.board, self.inbox, *self.outboxes, *(each[2] for each in (*self.udp, *self.tcp)))

    def line(self) -> bytes:
        """Return it as a line; secrets are in it, so it goes by a socket and never by the command line or the environment."""
        values = {name: value for name, value in asdict(self).items() if name != "config"}
        values["config"] = base64.b64encode(pickle.dumps(self.config)).decode()
        return json.dumps(values).encode() + b"\n"


def read_start(control: socket.socket) -> Start:
    """Return what the parent sends first, waiting for it. Raises EOFError when the parent is gone."""
    data = b""
    while not data.endswith(b"\n"):
        waiting = control.recv(_PIECE, socket.MSG_PEEK)
        if not waiting:
            raise EOFError("the daemon is gone")
        data += control.recv(waiting.find(b"\n") + 1 or len(waiting))  # orders may follow, and are read later
    values: dict[str, Any] = json.loads(data)
    values["config"] = pickle.loads(base64.b64decode(values["config"]))  # noqa: S301  # our parent's, by a socket that nobody else has
    for name in ("udp", "tcp"):
        values[name] = [tuple(each) for each in values[name]]
    return Start(**values)
