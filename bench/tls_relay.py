"""TLS for callers that speak TCP only: SIPp connects here, and one connection over TLS leads on to the unit under test.

    python -m bench.tls_relay PORT UNIT_PORT SOURCE_PORT FOLDER

The connection over TLS comes from SOURCE_PORT, which callers name in their Contact, and is kept when callers go and others come. FOLDER has
the certificates that :func:`write_certificates` made. It runs beside the caller, so that its processor time is nobody's under test.
"""

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path
from typing import cast

import trustme
import uvloop

CA, CERTIFICATE, KEY = "ca.pem", "certificate.pem", "key.pem"


def write_certificates(folder: Path) -> None:
    """Write an authority, and a certificate for 127.0.0.1 that both ends show."""
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    issued = ca.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
    ca.cert_pem.write_to_path(folder / CA)
    issued.cert_chain_pems[0].write_to_path(folder / CERTIFICATE)
    issued.private_key_pem.write_to_path(folder / KEY)


def context_of(folder: Path) -> ssl.SSLContext:
    """Return a client's context with the certificates in *folder*."""
    context = ssl.create_default_context(cafile=str(folder / CA))
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    return context


class Side(asyncio.Protocol):
    """One of two connections: what comes goes to the other one."""

    def __init__(self, pair: "list[Side | None]", place: int) -> None:
        self._pair, self._place = pair, place

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the place; a caller that was there is over."""
        self.transport = cast("asyncio.Transport", transport)
        self._pair[self._place] = self

    def data_received(self, data: bytes) -> None:
        """Hand on; without another side there is nobody who waits for it."""
        if (other := self._pair[1 - self._place]) is not None:
            other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's signature
        """Leave the place."""
        if self._pair[self._place] is self:
            self._pair[self._place] = None


async def relay(port: int, unit_port: int, source_port: int, folder: Path) -> None:
    """Relay until the process is ended."""
    loop = asyncio.get_running_loop()
    pair: list[Side | None] = [None, None]
    own, context = ("127.0.0.1", source_port), context_of(folder)
    await loop.create_connection(lambda: Side(pair, 1), "127.0.0.1", unit_port, ssl=context, server_hostname="127.0.0.1", local_addr=own)
    server = await loop.create_server(lambda: Side(pair, 0), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(relay(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
